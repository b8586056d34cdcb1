#!/usr/bin/env python3
"""Builds the Python interpreter: `python3 recipe.py --out DIR --work DIR [--jobs N]`.

Leaves module.wasm, base.tar and packages.json in --out. Every step caches its result in --work, keyed by what went into
it, so a build that was interrupted goes on where it was, and a changed guest source only links again. Installs nothing and
needs no root: Debian 12 or later, cargo, a C compiler, python3 (3.11 or later) with pip.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOTAL_STEPS = 16

if sys.version_info < (3, 11):
    sys.exit("recipe: python3 is older than 3.11; install a newer one with: apt-get install python3")

import tomllib  # noqa: E402  (3.11 has it)

from building import compile as libs, cpython, extensions, faster, fetch, layer, link  # noqa: E402
from building.steps import Build, RecipeError  # noqa: E402


def cook(build, out, manifest):
    """All steps, in the order in which they need each other."""
    def pinned(*kinds):
        return [source for source in manifest["source"] if source["kind"] in kinds]

    toolchain = build.step("toolchain", fetch.toolchain, pinned=True, settings=[fetch.TOOLCHAIN, fetch.PROGRAMS])
    files = build.step("debian", fetch.debian_sources, pinned=True, sources=pinned("debian-source", "debian-package"))
    crates = build.step("crates", fetch.crates, pinned=True, project=HERE / "crates", sources=pinned("crate"))
    wheels = build.step("wheels", fetch.wheels, pinned=True, sources=pinned("pypi"))
    sysroot = build.step("sysroot", fetch.sysroot, pinned=True, files=files)
    compiler = libs.Compiler(build, toolchain, sysroot)
    libraries = [build.step(name, action, crates=crates, compiler=compiler)
                 for name, action in (("zlib", libs.zlib), ("bzip2", libs.bzip2), ("xz", libs.xz), ("sqlite", libs.sqlite))]
    source = build.step("source", cpython.source, files=files, settings=faster.CHANGES)
    native = build.step("native", cpython.native, cpython=source, compiler=compiler)
    profile = build.step("profile", cpython.profile, counts=HERE / "profile/python.proftext", compiler=compiler)
    library = build.step("cpython", cpython.library, cpython=source, native=native, profile=profile, compiler=compiler)
    built_in = build.step("extensions", extensions.extensions, cpython=source, library=library, libraries=libraries,
                          compiler=compiler)
    reactor = build.step("reactor", link.reactor, guest_sources=sorted((HERE / "guest").glob("*.[ch]")), cpython=source, library=library,
                         archives=[built_in, *libraries], compiler=compiler)
    base = build.step("base", layer.tree, guest=HERE / "guest/site", cpython=source, library=library, native=native,
                      wheels=wheels, manifest={"name": manifest["name"], "version": manifest["version"]})
    for path in (reactor.folder / "module.wasm", base.folder / "base.tar", base.folder / "packages.json"):
        _publish(path, out)


def _publish(path, out):
    """Copy beside the target and rename, so that a reader never sees half a file."""
    temporary = out / f".{path.name}.new"
    shutil.copyfile(path, temporary)
    os.replace(temporary, out / path.name)


def main():
    parser = argparse.ArgumentParser(description="Build the Python interpreter for Sandpool.")
    parser.add_argument("--out", type=Path, required=True, help="where module.wasm, base.tar and packages.json go")
    parser.add_argument("--work", type=Path, required=True, help="cache of downloads and results (about 1 GB)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers to run at once")
    arguments = parser.parse_args()
    for folder in (arguments.out, arguments.work):
        folder.mkdir(parents=True, exist_ok=True)
    manifest = tomllib.loads((HERE / "manifest.toml").read_text())
    try:
        cook(Build(arguments.work.resolve(), max(1, arguments.jobs), TOTAL_STEPS), arguments.out.resolve(), manifest)
    except RecipeError as error:
        sys.exit(f"recipe: {error}")
    except KeyboardInterrupt:
        sys.exit("recipe: interrupted; run it again to go on")


if __name__ == "__main__":
    main()
