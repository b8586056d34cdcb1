"""SciPy, by its own meson build, with the Fortran that it still has translated to C, over our BLAS and LAPACK.

What is changed in its source: sources.py. Leaves `dev/scipy`, the .pxd files that other packages' Cython code imports.
"""

import json
import re
import shutil
from pathlib import Path

from building import cxx, fortran, meson, modules
from shared.steps import RecipeError

from . import sources

HERE = Path(__file__).resolve().parent
VERSION = "1.17.1"

# Qhull and f2py's callbacks jump. (C++ has the flags for exceptions already, and nothing there jumps.)
OPTIONS = ["use-pythran=false", "blas=none", "lapack=none", "python.bytecompile=-1", f"c_args={cxx.SETJMP}",
           f"cpp_args={['-include', str(HERE / 'fstream.h')]}"]
# Modules that are installed elsewhere than they are built, which is where `collect` takes their names from.
INSTALLED_AS = {"scipy.sparse.sparsetools._sparsetools": "scipy.sparse._sparsetools",
                "scipy.sparse.linalg._propack._propack": "scipy.sparse.linalg._propack"}
# Files that only a compiler or a type checker reads.
NOT_PYTHON = (".so", ".pxd", ".pyi", ".pyx", ".pxi", ".h", ".c", ".cpp")


def build(build, folder, context):
    source = modules.copy_source(context.sdist("scipy"), folder / "src")
    f2c = context.needs["f2c"]
    _fortran(build, folder, f2c, source / "scipy")
    sources.change(source, modules.include_pybind11(context), HERE)
    stubs = _numpy(folder, context)
    project = meson.Project(build, folder, context, source, [stubs])
    project.environment["PATH"] = f"{stubs}/bin:{project.environment['PATH']}"
    project.configure([project.tools / "bin/meson"], OPTIONS, ["-O2", f"-I{f2c.folder}/include"])
    project.compile()
    _check_links(project.log)
    known = json.loads((context.needs["lapack"].folder / "dev/arguments.json").read_text())
    known |= fortran.arguments(sorted((folder / "f2c").rglob("*.c")))
    for name in ("_fblas", "_flapack", "_dfitpack"):
        (wrappers,) = (project.room / "scipy").rglob(f"{name}module.c")
        fortran.check_calls(wrappers, known)
    project.collect()
    _rename(folder / "modules.json")
    for part in context.compiler.objects(folder, [HERE / "npymath.c", HERE / "threads.c"], []):
        part.rename(folder / f"objects/scipy-{part.name}")
    _site(build, project, folder)
    modules.metadata(source, folder / "site", "scipy", VERSION)
    _dev(source, project.room, folder / "dev/scipy")


def _check_links(log):
    """Stop at what the linker of a module's parts only warns of."""
    found = re.findall(r"function signature mismatch: (\w+)", log.read_text("utf-8", "replace"))
    if found:
        raise RecipeError(f"called with another signature than defined: {', '.join(sorted(set(found)))} (see {log})")


def _rename(listed):
    modules_built = json.loads(listed.read_text())
    for built, installed in INSTALLED_AS.items():
        modules_built[installed] = modules_built.pop(built)
    listed.write_text(json.dumps(modules_built, indent=1) + "\n")


def _fortran(build, folder, f2c, package):
    """C beside the Fortran files of FITPACK and ODRPACK."""
    for room in ("interpolate/fitpack", "odr/odrpack"):
        files = [path for path in sorted((package / room).glob("*.f")) if path.name != "d_test.f"]
        made = fortran.translate(build, folder / "f2c" / room.replace("/", "-"), f2c, files)
        for path in made.values():
            shutil.copyfile(path, package / room / path.name)


def _numpy(folder, context):
    """What the build imports as numpy: headers and .pxd files of ours, and f2py."""
    target = folder / "stubs"
    shutil.copytree(context.needs["numpy"].folder / "dev/numpy", target / "numpy")
    shutil.copytree(context.sdist("numpy") / "numpy/f2py", target / "numpy/f2py", ignore=shutil.ignore_patterns("tests"))
    with open(target / "numpy/__init__.py", "a") as file:
        # For Fortran 90 modules only, which SciPy does not have.
        file.write("\n\nclass intp:\n    itemsize = 4\n")
    (target / "numpy/exceptions.py").write_text("class VisibleDeprecationWarning(UserWarning):\n    pass\n")
    (target / "numpy/version.py").write_text('version = "2.3.5"\n')
    (target / "bin").mkdir()
    program = target / "bin/f2py"
    program.write_text('#!/bin/sh\nexec python3 -P -m numpy.f2py "$@"\n')
    program.chmod(0o755)
    return target


def _site(build, project, folder):
    """The Python files and data, where meson would install them."""
    stage = folder / "stage"
    build.run([project.tools / "bin/meson", "install", "-C", project.room, "--no-rebuild", "--destdir", stage,
               "--tags", "python-runtime"], project.log, env=project.environment)
    shutil.copytree(stage / "usr/local/site/scipy", folder / "site/scipy",
                    ignore=lambda _, names: [name for name in names if name.endswith(NOT_PYTHON) or name == "tests"])
    shutil.rmtree(stage)


def _dev(source, room, target):
    for root in (source / "scipy", room / "scipy"):
        for path in sorted(root.rglob("*.pxd")):
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    for path in (target, *(path for path in sorted(target.rglob("*")) if path.is_dir())):
        (path / "__init__.py").write_text("")
