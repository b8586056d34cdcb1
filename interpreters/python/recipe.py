#!/usr/bin/env python3
"""Builds the Python interpreter: `python3 recipe.py --out DIR --work DIR [--edition base|full] [--jobs N]`.

The base edition is CPython with its standard library; the full edition has the packages of `packages/` linked in.

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
BASE_STEPS = 15
# The sources of libc++, and libc++.
CXX_STEPS = 2

if sys.version_info < (3, 11):
    sys.exit("recipe: python3 is older than 3.11; install a newer one with: apt-get install python3")

import tomllib  # noqa: E402  (3.11 has it)

from building import compile as libs, cpython, cxx, extensions, fetch, layer, link, packages  # noqa: E402
from building.steps import Build, RecipeError  # noqa: E402


def cook(build, out, manifest, edition, found):
    """All steps, in the order in which they need each other."""
    def pinned(*kinds):
        return [source for source in manifest["source"] if source["kind"] in kinds]

    toolchain = build.step("toolchain", fetch.toolchain, pinned=True, settings=fetch.TOOLCHAIN)
    files = build.step("debian", fetch.debian_sources, pinned=True, sources=pinned("debian-source", "debian-package"))
    crates = build.step("crates", fetch.crates, pinned=True, project=HERE / "crates", sources=pinned("crate"))
    wheels = build.step("wheels", fetch.wheels, pinned=True, sources=pinned("pypi"))
    sysroot = build.step("sysroot", fetch.sysroot, pinned=True, files=files)
    compiler = libs.Compiler(build, toolchain, sysroot)
    libraries = [build.step(name, action, crates=crates, compiler=compiler)
                 for name, action in (("zlib", libs.zlib), ("bzip2", libs.bzip2), ("xz", libs.xz), ("sqlite", libs.sqlite))]
    source = build.step("source", cpython.source, files=files)
    native = build.step("native", cpython.native, cpython=source, compiler=compiler)
    library = build.step("cpython", cpython.library, cpython=source, native=native, compiler=compiler)
    built_in = build.step("extensions", extensions.extensions, cpython=source, library=library, libraries=libraries,
                          compiler=compiler)
    if edition == "full":
        zig = build.step("cxx-sources", cxx.sources, pinned=True, sources=pinned("pypi-manylinux"))
        runtime = build.step("cxx", cxx.libraries, zig=zig, own=HERE / "cxx", compiler=compiler)
        compiled = packages.build_all(build, HERE / "packages", found, compiler=compiler, cpython=source, library=library,
                                      native=native, cxx=runtime,
                                      libraries={path.folder.name: path for path in libraries})
        warmups = [package.warmup for package in found if package.warmup]
        options = {"modules": compiled, "runtime": cxx.link_flags(runtime.folder)}
    else:
        compiled, warmups, options = [], [], {"modules": []}
    # Two editions in one work folder keep a result each.
    suffix = "" if edition == "base" else f"-{edition}"
    reactor = build.step(f"reactor{suffix}", link.reactor, guest_sources=sorted((HERE / "guest").glob("*.[ch]")), cpython=source,
                         library=library, archives=[built_in, *libraries], compiler=compiler, **options)
    base = build.step(f"base{suffix}", layer.tree, guest=HERE / "guest/site", cpython=source, library=library, native=native,
                      wheels=wheels, manifest={"name": manifest["name"], "version": manifest["version"]},
                      packages=compiled, warmups=warmups)
    for path in (reactor.folder / "module.wasm", base.folder / "base.tar", base.folder / "packages.json"):
        _publish(path, out)


def _publish(path, out):
    """Copy beside the target and rename, so that a reader never sees half a file."""
    temporary = out / f".{path.name}.new"
    shutil.copyfile(path, temporary)
    os.replace(temporary, out / path.name)


def main():
    manifest = tomllib.loads((HERE / "manifest.toml").read_text())
    parser = argparse.ArgumentParser(description="Build the Python interpreter for Sandpool.")
    parser.add_argument("--out", type=Path, required=True, help="where module.wasm, base.tar and packages.json go")
    parser.add_argument("--work", type=Path, required=True, help="cache of downloads and results (about 1 GB; 3 GB for the full edition)")
    parser.add_argument("--edition", choices=manifest["editions"], default=manifest["editions"][0], help="what is in it")
    parser.add_argument("--only", metavar="NAME,...", help="of the full edition's compiled packages, only these (to work on them)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers to run at once")
    arguments = parser.parse_args()
    for folder in (arguments.out, arguments.work):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        found = packages.find(HERE / "packages", arguments.only.split(",") if arguments.only else ())
        more = CXX_STEPS + packages.steps_of(found) if arguments.edition != "base" else 0
        build = Build(arguments.work.resolve(), max(1, arguments.jobs), BASE_STEPS + more)
        cook(build, arguments.out.resolve(), manifest, arguments.edition, found)
    except RecipeError as error:
        sys.exit(f"recipe: {error}")
    except KeyboardInterrupt:
        sys.exit("recipe: interrupted; run it again to go on")


if __name__ == "__main__":
    main()
