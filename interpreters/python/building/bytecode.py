"""What the native Python lacks to compile bytecode: `unicodedata`, for which the compiler asks when a text has `\\N{...}`.

A step of its own, since everything that is compiled depends on the native Python, and only the base layer on this.
"""

import shutil
import subprocess

from shared.steps import RecipeError


def unicodedata(build, folder, cpython, native):
    """A folder for PYTHONPATH. Empty where the native Python is a whole one."""
    python = native.folder / "bin/python"
    if subprocess.run([python, "-I", "-S", "-c", "import unicodedata"], capture_output=True).returncode == 0:
        return
    if not shutil.which("cc"):
        raise RecipeError("a C compiler is missing; install it with: apt-get install gcc libc6-dev")
    source = cpython.folder / "src"
    build.run(["cc", "-shared", "-fPIC", "-O1", f"-I{native.folder}/build", f"-I{source}/Include", f"-I{source}/Include/internal",
               source / "Modules/unicodedata.c", "-o", folder / "unicodedata.so"], folder / "log")
