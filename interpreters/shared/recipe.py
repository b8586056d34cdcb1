"""The command line of every recipe, and the steps that all begin with."""

import argparse
import os
import shutil
import signal
import sys
import threading
import tomllib
from pathlib import Path

from . import fetch
from .compile import Compiler
from .steps import Build, RecipeError

HERE = Path(__file__).resolve().parent


def main(folder, cook, steps):
    """Run `cook(build, manifest)`, which gives the files to publish, for the interpreter in `folder`.

    An interpreter with editions gets the one to build, too, and one that takes packages gets the requirements and the file to
    preload. `steps` may be raised by `cook`.
    """
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    arguments = _arguments(manifest)
    options = {"edition": arguments.edition} if "editions" in manifest else {}
    if manifest.get("takes_packages"):
        options |= {"requirements": arguments.package, "preload": arguments.preload}
    if arguments.until_stdin_ends:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    root = arguments.work.resolve()
    build = Build(root, manifest["name"], max(1, arguments.jobs), steps)
    for needed in (arguments.out, build.work, build.shared):
        needed.mkdir(parents=True, exist_ok=True)
    try:
        for path in cook(build, manifest, **options):
            _publish(path, arguments.out)
    except RecipeError as error:
        sys.exit(f"recipe: {error}")
    except KeyboardInterrupt:
        sys.exit("recipe: interrupted; run it again to go on")


def _arguments(manifest):
    parser = argparse.ArgumentParser(description=f"Build the interpreter {manifest['name']} for Sandpool.")
    parser.add_argument("--out", type=Path, required=True, help="where module.wasm, base.tar and packages.json go")
    parser.add_argument("--work", type=Path, required=True,
                        help="cache of downloads and results, for all interpreters (about 1 GB; Python's full edition: 3 GB)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers to run at once")
    if editions := manifest.get("editions"):
        parser.add_argument("--edition", choices=editions, default=editions[0], help="how much of it")
    if manifest.get("takes_packages"):
        parser.add_argument("--package", action="append", default=[], metavar="REQUIREMENT", help="a package to add, as pip takes it")
        parser.add_argument("--preload", type=Path, help="code to run when the image is taken")
    parser.add_argument("--until-stdin-ends", action="store_true",
                        help="end, with the whole process group, when stdin does: whoever started this is gone")
    return parser.parse_args()


def _end_with_stdin():
    # Not through sys.stdin: a thread that waits there is fatal when the program ends.
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)


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
    toolchain = build.step("toolchain", fetch.toolchain, pinned=True, shared=True, settings=[fetch.TOOLCHAIN, fetch.PROGRAMS])
    sysroot = build.step("sysroot", fetch.sysroot, pinned=True, shared=True, sources=sources)
    return Compiler(build, toolchain, sysroot)
