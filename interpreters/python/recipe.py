#!/usr/bin/env python3
"""Builds the Python interpreter: `python3 recipe.py --out DIR --work DIR [--edition base|full] [--jobs N]
[--package REQUIREMENT]... [--preload FILE]`.

The base edition is CPython with its standard library; the full edition has the packages of `packages/` linked in. Either may
get further packages, pure wheels, and code that runs once, when the image is taken.

Leaves module.wasm, base.tar and packages.json in --out. Every step caches its result in --work, keyed by what went into
it, so a build that was interrupted goes on where it was, and a changed guest source only links again. Installs nothing and
needs no root: Debian 12 or later, cargo, a C compiler, python3 (3.11 or later) with pip.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE_STEPS = 17
# The sources of libc++, and libc++.
CXX_STEPS = 2
# Of the packages' sources.
CHECKS = 1

if sys.version_info < (3, 11):
    sys.exit("recipe: python3 is older than 3.11; install a newer one with: apt-get install python3")

sys.path.insert(0, str(HERE.parent))  # ../shared

from building import (bytecode, compile as libs, cpython, cxx, extensions, faster, layer, link, own, packages,  # noqa: E402
                      signatures, wheels as pypi)
from shared import compile as shared_compile, fetch, layer as shared_layer, recipe  # noqa: E402


def cook(build, manifest, edition, requirements, preload):
    """All steps, in the order in which they need each other."""
    found = packages.find(HERE / "packages") if edition == "full" else []
    build.total += (CXX_STEPS + packages.steps_of(found) + CHECKS if found else 0) + bool(requirements)
    compiler = recipe.compiler(build)
    files = build.step("debian", fetch.debian_sources, pinned=True, sources=recipe.pinned(manifest, "debian-source"))
    crates = build.step("crates", fetch.crates, pinned=True, project=HERE / "crates", sources=recipe.pinned(manifest, "crate"))
    wheels = build.step("wheels", pypi.wheels, pinned=True, sources=recipe.pinned(manifest, "pypi"))
    libraries = [build.step(name, action, crates=crates, compiler=compiler)
                 for name, action in (("zlib", libs.zlib), ("bzip2", libs.bzip2), ("xz", libs.xz), ("sqlite", libs.sqlite))]
    source = build.step("source", cpython.source, files=files, settings=faster.CHANGES)
    native = build.step("native", cpython.native, cpython=source, compiler=compiler)
    profile = build.step("profile", cpython.profile, counts=HERE / "profile/python.proftext", compiler=compiler)
    library = build.step("cpython", cpython.library, cpython=source, native=native, profile=profile, compiler=compiler)
    names = build.step("unicodedata", bytecode.unicodedata, cpython=source, native=native)
    built_in = build.step("extensions", extensions.extensions, cpython=source, library=library, libraries=libraries,
                          compiler=compiler)
    # Two editions in one work folder keep a result each.
    suffix, options, compiled = "", {}, []
    if found:
        zig = build.step("cxx-sources", cxx.sources, pinned=True, sources=recipe.pinned(manifest, "pypi-manylinux"))
        runtime = build.step("cxx", cxx.libraries, zig=zig, own=HERE / "cxx", compiler=compiler)
        compiled = packages.build_all(build, HERE / "packages", found, compiler=compiler, cpython=source, library=library,
                                      native=native, cxx=runtime,
                                      libraries={step.folder.name: step for step in libraries})
        build.step("signatures", signatures.check, packages=compiled)
        suffix, options = f"-{edition}", {"modules": compiled, "runtime": cxx.link_flags(runtime.folder)}
    reactor = build.step(f"reactor{suffix}", link.reactor, code=[shared_compile, packages],
                         sources=recipe.guest_sources(HERE / "guest"), cpython=source, library=library,
                         archives=[built_in, *libraries], compiler=compiler, **options)
    added = {}
    if requirements:
        files = [Path(path) for path in requirements if path.endswith(".whl") and Path(path).is_file()]
        added["own"] = build.step(f"own{suffix}", own.wheels, requirements=requirements, files=files, wheels=wheels,
                                  packages=compiled)
    if preload:
        added["preload"] = preload
    base = build.step(f"{'own-' if added else ''}base{suffix}", layer.tree, code=[shared_layer], guest=HERE / "guest/site", cpython=source,
                      library=library, native=native, names=names, wheels=wheels,
                      manifest={"name": manifest["name"], "version": manifest["version"]}, packages=compiled,
                      warmups=[package.warmup for package in found if package.warmup], **added)
    return [reactor.folder / "module.wasm", base.folder / "base.tar", base.folder / "packages.json"]


if __name__ == "__main__":
    recipe.main(HERE, cook, BASE_STEPS)
