"""What build systems take for a C or C++ compiler: `python3 driver.py SETTINGS c|c++ ARGUMENTS...`.

Build systems for extension modules make shared libraries, which this platform does not have. So the driver
- compiles position-dependent code for the guest, and gives each module's PyInit function its full dotted name;
- makes of a "shared library" one object whose symbols are its own (see localise.py), under the same file name;
- passes anything else on, so that what a build system finds out about the compiler is true of the guest.

SETTINGS is a JSON file: {"cc": [...], "flags": [...], "c++": [...], "link": [...], "link c++": [...], "wasm-ld": "..."}.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import localise  # noqa: E402  (a program beside this one)

# Not for this target, or (trapping math) in the way of SIMD to no purpose: the guest's floating point does not trap.
DROPPED = {"-fPIC", "-fPIE", "-pthread", "-march=native", "-ftrapping-math", "-g", "-Wl,--as-needed", "-Wl,--no-undefined",
           "-Wl,--start-group", "-Wl,--end-group", "-Wl,--allow-shlib-undefined", "-Wl,-O1", "-lm"}


def module_of(path):
    """The dotted name of the module that an output belongs to: `pandas/_libs/lib.so.p/x.o` is `pandas._libs.lib`'s."""
    head, found, _ = path.partition(".so")
    return head.replace("/", ".") if found else None


def symbol_of(module):
    return "PyInit_" + module.replace(".", "_")


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    arguments = [part for part in sys.argv[3:] if part not in DROPPED]
    cxx = sys.argv[2] == "c++"
    output = arguments[arguments.index("-o") + 1] if "-o" in arguments else ""
    if "-shared" in arguments:
        sys.exit(merge(settings, arguments, output))
    command = [*settings["cc"], *settings["flags"], *(settings["c++"] if cxx else [])]
    if "-c" in arguments and (module := module_of(output)):
        leaf = module.rpartition(".")[2]
        command.append(f"-DPyInit_{leaf}={symbol_of(module)}")
    command += arguments
    if not {"-c", "-E", "-S", "--version", "-dumpversion", "--print-search-dirs"} & set(arguments):
        command += settings["link"] + (settings["link c++"] if cxx else [])
    os.execv(command[0], command)


def merge(settings, arguments, output):
    """One object of the objects and archives among the arguments."""
    parts = [part for part in arguments if part.endswith((".o", ".a")) and part != output]
    status = subprocess.run([settings["wasm-ld"], "-r", "-o", output, *parts]).returncode
    if status == 0:
        path = Path(output)
        path.write_bytes(localise.localise(path.read_bytes(), {symbol_of(module_of(output))}))
    return status


if __name__ == "__main__":
    main()
