"""Packages that meson builds: numpy and pandas. Their build systems find out about the platform and generate sources.

meson is told of a cross compilation with the compiler of driver.py, and of a Python whose settings are the guest's.
"""

import json
import os
import shutil
from pathlib import Path

from shared.compile import CFLAGS, EMULATION

from . import cxx, driver

HERE = Path(__file__).resolve().parent

# A call through a pointer of another type is a trap in WebAssembly, and a pointer to integers of another width a wrong
# number: these stop the build. What else compilers say of other people's code is for them.
WARNINGS = ["-Wno-everything", "-Wcast-function-type-mismatch", "-Werror=incompatible-pointer-types",
            "-Werror=incompatible-function-pointer-types"]


class Project:
    """A meson project in `folder/build`, its generated files and its tools in `folder`.

    `tools` is the step with meson, ninja and cython in `tools/`; `path` has more folders for Python to import from.
    """

    def __init__(self, build, folder, context, source, path=()):
        self.build = build
        self.folder = folder
        self.context = context
        self.source = source
        self.tools = context.needs["build-tools"].folder / "tools"
        self.log = folder / "log"
        self.room = folder / "build"
        self.environment = {
            "PATH": f"{self.tools}/bin:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(str(part) for part in [*path, self.tools]),
            # Flags that a distribution or a user has set are for the machine's own compiler.
            "CFLAGS": "", "CXXFLAGS": "", "CPPFLAGS": "", "LDFLAGS": "", "PKG_CONFIG_LIBDIR": "/nonexistent",
        }

    def configure(self, meson, options, flags=()):
        """Set the project up, with `meson` (a command) and -D `options`; `flags` are the compiler's."""
        self._compilers([*CFLAGS, *EMULATION, *WARNINGS, *flags])
        self._python()
        cross = self.folder / "cross.ini"
        cross.write_text(_CROSS.format(bin=self.folder / "bin", ar=self.context.compiler.bin / "llvm-ar"))
        command = [*meson, "setup", f"--cross-file={cross}", "--buildtype=plain", "-Db_ndebug=true",
                   *(f"-D{option}" for option in options), self.source, self.room]
        self.build.run(command, self.log, cwd=self.folder, env=self.environment)

    def compile(self, targets=()):
        self.build.run([self.tools / "bin/ninja", f"-j{self.build.jobs}", *targets], self.log, cwd=self.room,
                       env=self.environment)

    def collect(self, left_out=()):
        """`objects/` and `modules.json` of the modules that were built, without those in `left_out`."""
        target = self.folder / "objects"
        target.mkdir()
        found = {}
        for path in sorted(self.room.rglob("*.so")):
            name = driver.module_of(str(path.relative_to(self.room)))
            if name not in left_out:
                found[name] = driver.symbol_of(name)
                shutil.copyfile(path, target / f"{name}.o")
        (self.folder / "modules.json").write_text(json.dumps(found, indent=1) + "\n")

    def _compilers(self, flags):
        context, tools = self.context, self.folder / "bin"
        tools.mkdir()
        settings = {
            "cc": [str(part) for part in context.compiler.cc],
            "flags": [str(flag) for flag in flags],
            "c++": [str(flag) for flag in cxx.flags(context.cxx.folder)],
            "link": ["-lwasi-emulated-signal", "-lwasi-emulated-getpid", "-lwasi-emulated-process-clocks"],
            "link c++": [str(flag) for flag in cxx.link_flags(context.cxx.folder)],
            "wasm-ld": str(context.compiler.bin / "wasm-ld"),
        }
        (self.folder / "driver.json").write_text(json.dumps(settings, indent=1) + "\n")
        for name, language in (("cc", "c"), ("c++", "c++")):
            _program(tools / name, f'exec python3 -SE "{HERE}/driver.py" "{self.folder}/driver.json" {language} "$@"')

    def _python(self):
        """A Python that says that it is the guest's, when meson asks, and runs scripts with the machine's own."""
        context = self.context
        described = {
            "variables": {"prefix": "/usr", "base_prefix": "/usr", "INCLUDEPY": f"{context.cpython.folder}/src/Include",
                          "LDVERSION": "3.13", "EXT_SUFFIX": ".so"},
            "paths": {"include": str(context.library.folder), "platinclude": str(context.library.folder)},
            "sysconfig_paths": _INSTALL, "install_paths": _INSTALL, "version": "3.13", "platform": "wasi-wasm32",
            "is_pypy": False, "is_venv": False, "link_libpython": False, "suffix": ".so", "limited_api_suffix": ".abi3.so",
            "is_freethreaded": False,
        }
        answer = self.folder / "python.json"
        answer.write_text(json.dumps(described))
        _program(self.folder / "bin/guest-python",
                 f'case "$1" in *python_info.py) exec cat "{answer}";; esac\nexec python3 "$@"')


_INSTALL = {name: "/site" for name in ("platlib", "purelib")} | {
    "include": "/include", "platinclude": "/include", "scripts": "/scripts", "data": "/data", "stdlib": "/stdlib"}

_CROSS = """[binaries]
c = '{bin}/cc'
cpp = '{bin}/c++'
ar = '{ar}'
strip = 'true'
python = '{bin}/guest-python'

[properties]
needs_exe_wrapper = true
skip_sanity_check = true
longdouble_format = 'IEEE_QUAD_LE'

[built-in options]
b_lundef = false
b_pie = false

[host_machine]
system = 'wasi'
cpu_family = 'wasm32'
cpu = 'wasm32'
endian = 'little'
"""


def _program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
