#!/usr/bin/env python3
"""Builds the JavaScript interpreter: `python3 recipe.py --out DIR --work DIR [--jobs N]`. See ../shared/recipe.py."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOTAL_STEPS = 7

if sys.version_info < (3, 11):
    sys.exit("recipe: python3 is older than 3.11; install a newer one with: apt-get install python3")

sys.path.insert(0, str(HERE.parent))  # ../shared

from building import javascript, stack  # noqa: E402
from shared import compile as shared_compile, fetch, layer as shared_layer, recipe  # noqa: E402


def cook(build, manifest):
    """All steps, in the order in which they need each other."""
    compiler = recipe.compiler(build)
    crates = build.step("crates", fetch.crates, pinned=True, project=HERE / "crates",
                        sources=recipe.pinned(manifest, "crate"))
    library = build.step("library", javascript.library, code=[stack], crates=crates, compiler=compiler)
    engine = build.step("engine", javascript.engine, code=[stack], guest=HERE / "guest/engine", crates=crates,
                        compiler=compiler)
    reactor = build.step("reactor", javascript.reactor, code=[shared_compile], sources=recipe.guest_sources(HERE / "guest"),
                         headers=HERE / "guest/engine", crates=crates, engine=engine, library=library, compiler=compiler)
    base = build.step("base", javascript.tree, code=[shared_layer], lib=HERE / "guest/lib",
                      manifest={"name": manifest["name"], "version": manifest["version"]})
    return [reactor.folder / "module.wasm", base.folder / "base.tar", base.folder / "packages.json"]


if __name__ == "__main__":
    recipe.main(HERE, cook, TOTAL_STEPS)
