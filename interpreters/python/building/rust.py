"""Extension modules written in Rust, built by the machine's own cargo for wasm32-wasip1.

A crate becomes a static library, and of that one object like those of C modules (see localise.py): two packages may bring
different versions of one crate, and of Rust's standard library. Memory, files and numbers wider than the machine's are the
guest's own C library's and compiler's: Rust's standard library for WASI is made for wasi-libc, and calls its malloc.

The crates that it needs are those of the package's Cargo.lock, which lies in the pinned source and has their checksums
(`crates = true` of a `pypi-sdist`, see sources.py).
"""

import json
import shutil
import subprocess
from pathlib import Path

from shared.steps import RecipeError, need

from . import localise

TARGET = "wasm32-wasip1"

# What PyO3 would ask an interpreter for.
_PYTHON = """\
implementation=CPython
version=3.13
shared=false
pointer_width=32
build_flags=
suppress_build_script_link_lines=true
"""

# Packages' own profiles optimise the whole program as one unit, which takes several times as long.
_PROFILE = {"OPT_LEVEL": "3", "LTO": "thin", "CODEGEN_UNITS": "4", "DEBUG": "false", "STRIP": "debuginfo", "PANIC": "abort"}


def compile_module(build, folder, context, package, name, crate):
    """The module `name` out of the sdist of `package`, whose library crate is called `crate`; leaves `objects/` and
    `modules.json`. Its PyInit function is named by its last part, as PyO3 does."""
    _check_target(folder)
    settings = folder / "pyo3.txt"
    settings.write_text(_PYTHON)
    build.run(["cargo", "rustc", "--release", "--lib", "--crate-type", "staticlib", "--target", TARGET, "--locked", "--offline",
               f"--jobs={build.jobs}", "--manifest-path", context.sdist(package) / "Cargo.toml",
               "--config", "source.crates-io.replace-with='vendored'",
               "--config", f"source.vendored.directory='{context.sources.folder}/vendor/{package}'"],
              folder / "log", cwd=folder, env=_environment(build, folder, settings))
    symbol = f"PyInit_{name.rpartition('.')[2]}"
    (folder / "objects").mkdir()
    _merge(context, folder, folder / f"target/{TARGET}/release/lib{crate}.a", crate, folder / f"objects/{name}.o", symbol)
    shutil.rmtree(folder / "target")
    (folder / "modules.json").write_text(json.dumps({name: symbol}, indent=1) + "\n")


def _environment(build, folder, settings):
    # Paths of the building machine stay out of the module.
    flags = ["-Ctarget-feature=+simd128", f"--remap-path-prefix={build.work}=/build"]
    return {
        "PYO3_CONFIG_FILE": str(settings), "CARGO_TARGET_DIR": str(folder / "target"), "CARGO_INCREMENTAL": "0",
        # Wins over every other way of giving flags, those of a user's configuration among them.
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        **{f"CARGO_PROFILE_RELEASE_{key}": value for key, value in _PROFILE.items()},
    }


def _check_target(folder):
    """Stop when Rust cannot compile for WASI; add what is missing where rustup is there to do it."""
    need("cargo", "cargo")
    # From where cargo will be run: the folder may decide about the toolchain.
    found = subprocess.run(["rustc", "--print", "target-libdir", "--target", TARGET], cwd=folder, capture_output=True, text=True)
    if found.returncode == 0 and any(Path(found.stdout.strip()).glob("libstd-*.rlib")):
        return
    if shutil.which("rustup"):
        ran = subprocess.run(["rustup", "target", "add", TARGET], cwd=folder, capture_output=True, text=True)
        if ran.returncode == 0:
            return
    raise RecipeError(f"Rust's standard library for {TARGET} is missing; install it with: rustup target add {TARGET}")


def _merge(context, folder, archive, crate, target, symbol):
    """One object of the archive's members, but for Rust's copy of the compiler's runtime library: its functions have the names
    of clang's, and would take their place for all other modules."""
    room = folder / "members"
    room.mkdir()
    context.compiler.build.run([context.compiler.bin / "llvm-ar", "x", archive], folder / "log", cwd=room)
    members = sorted(path for path in room.iterdir() if path.name.startswith(crate))
    localise.merge(context.compiler, target, members, {symbol})
    shutil.rmtree(room)
