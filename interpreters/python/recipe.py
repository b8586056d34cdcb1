#!/usr/bin/env python3
"""Builds the Python interpreter: `python3 recipe.py --out DIR --work DIR [--jobs N]`.

Leaves module.wasm, base.tar and packages.json in --out. Every step caches its result in --work, keyed by what went into
it, so a build that was interrupted goes on where it was, and a changed guest source only links again. Installs nothing and
needs no root: Debian 12 or later, cargo, a C compiler, python3 (3.11 or later) with pip.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOTAL_STEPS = 15

if sys.version_info < (3, 11):
    sys.exit("recipe: python3 is older than 3.11; install a newer one with: apt-get install python3")

sys.path.insert(0, str(HERE.parent))  # ../shared

from building import compile as libs, cpython, extensions, layer, link, wheels as pypi  # noqa: E402
from shared import compile as shared_compile, fetch, layer as shared_layer, recipe  # noqa: E402


def cook(build, manifest):
    """All steps, in the order in which they need each other."""
    compiler = recipe.compiler(build)
    files = build.step("debian", fetch.debian_sources, pinned=True, sources=recipe.pinned(manifest, "debian-source"))
    crates = build.step("crates", fetch.crates, pinned=True, project=HERE / "crates", sources=recipe.pinned(manifest, "crate"))
    wheels = build.step("wheels", pypi.wheels, pinned=True, sources=recipe.pinned(manifest, "pypi"))
    libraries = [build.step(name, action, crates=crates, compiler=compiler)
                 for name, action in (("zlib", libs.zlib), ("bzip2", libs.bzip2), ("xz", libs.xz), ("sqlite", libs.sqlite))]
    source = build.step("source", cpython.source, files=files)
    native = build.step("native", cpython.native, cpython=source, compiler=compiler)
    library = build.step("cpython", cpython.library, cpython=source, native=native, compiler=compiler)
    built_in = build.step("extensions", extensions.extensions, cpython=source, library=library, libraries=libraries,
                          compiler=compiler)
    reactor = build.step("reactor", link.reactor, code=[shared_compile], sources=recipe.guest_sources(HERE / "guest"),
                         cpython=source, library=library, archives=[built_in, *libraries], compiler=compiler)
    base = build.step("base", layer.tree, code=[shared_layer], guest=HERE / "guest/site", cpython=source, library=library,
                      native=native, wheels=wheels, manifest={"name": manifest["name"], "version": manifest["version"]})
    return [reactor.folder / "module.wasm", base.folder / "base.tar", base.folder / "packages.json"]


if __name__ == "__main__":
    recipe.main(HERE, cook, TOTAL_STEPS)
