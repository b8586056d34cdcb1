"""The command line of every recipe, and the steps that all begin with."""

import argparse
import os
import shutil
import sys
import tomllib
from pathlib import Path

from . import fetch
from .compile import Compiler
from .steps import Build, RecipeError

HERE = Path(__file__).resolve().parent


def main(folder, cook, steps):
    """Run `cook(build, manifest)`, which gives the files to publish, for the interpreter in `folder`."""
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    arguments = _arguments(manifest["name"])
    root = arguments.work.resolve()
    build = Build(root, manifest["name"], max(1, arguments.jobs), steps)
    for needed in (arguments.out, build.work, build.shared):
        needed.mkdir(parents=True, exist_ok=True)
    try:
        for path in cook(build, manifest):
            _publish(path, arguments.out)
    except RecipeError as error:
        sys.exit(f"recipe: {error}")
    except KeyboardInterrupt:
        sys.exit("recipe: interrupted; run it again to go on")


def _arguments(name):
    parser = argparse.ArgumentParser(description=f"Build the interpreter {name} for Sandpool.")
    parser.add_argument("--out", type=Path, required=True, help="where module.wasm, base.tar and packages.json go")
    parser.add_argument("--work", type=Path, required=True,
                        help="cache of downloads and results, for all interpreters (about 1 GB)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers to run at once")
    return parser.parse_args()


def _publish(path, out):
    """Copy beside the target and rename, so that a reader never sees half a file."""
    temporary = out / f".{path.name}.new"
    shutil.copyfile(path, temporary)
    os.replace(temporary, out / path.name)


def pinned(manifest, *kinds):
    """The manifest's sources of these kinds."""
    return [source for source in manifest["source"] if source["kind"] in kinds]


def guest_sources(*folders):
    """The C files and headers of an interpreter's guest, after those that all guests share (guest/ here)."""
    return [path for folder in (HERE / "guest", *folders) for path in sorted(folder.glob("*.[ch]"))]


def compiler(build):
    """Two steps: the toolchain and the C library. All interpreters have them in common."""
    sources = tomllib.loads((HERE / "sources.toml").read_text())["source"]
    toolchain = build.step("toolchain", fetch.toolchain, pinned=True, shared=True, settings=fetch.TOOLCHAIN)
    sysroot = build.step("sysroot", fetch.sysroot, pinned=True, shared=True, sources=sources)
    return Compiler(build, toolchain, sysroot)
