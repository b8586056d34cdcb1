"""Compiling a package's extension modules from lists of their sources, as its own build system would.

For packages whose build system is a list of files with flags. (Those that generate sources run their own: see meson.py.)
"""

import json
import re
import shutil
import tarfile

from shared.compile import CFLAGS, EMULATION
from shared.steps import RecipeError

from . import cxx, localise

CXX_SUFFIXES = {".cc", ".cpp", ".cxx"}
# What a package's folder has for building it and for type checkers.
SOURCE_SUFFIXES = (".c", ".cpp", ".h", ".pyx", ".pxd", ".pxi", ".pyi", ".build")

# WebAssembly traps when a function is called through a pointer of another type, where other machines only ignore an
# argument or a result. So the compiler tells of each such cast.
CAST_WARNING = ["-Wno-everything", "-Wcast-function-type-mismatch"]
CAST = re.compile(r"^(\S+:\d+):\d+: warning: cast from '.*?'(?: \(aka '(.*?)'\))? to '(\w+)'.*function-type-mismatch",
                  re.MULTILINE)
# CPython calls functions with METH_KEYWORDS, which its method tables keep as a PyCFunction, with three arguments.
WITH_KEYWORDS = re.compile(r"struct _object \*\(\*\)\([^,]*, struct _object \*, struct _object \*\)")


class Module:
    """One extension module: its full name, its sources, and what they are compiled with."""

    def __init__(self, name, sources, flags=(), standard="c++17"):
        self.name = name
        self.sources = sources
        self.flags = list(flags)
        self.standard = standard

    @property
    def symbol(self):
        """Its PyInit function. Modules of different packages may have the same last name, so it has the full one."""
        return f"PyInit_{self.name.replace('.', '_')}"


def compile_modules(build, folder, context, modules):
    """Compile all of them; leaves `objects/` and `modules.json`."""
    room = folder / "obj"
    room.mkdir()
    jobs = []
    for module in modules:
        for number, source in enumerate(module.sources):
            jobs.append((module, source, room / f"{module.name}-{number:03}-{source.stem}.o"))

    def compile_one(job):
        module, source, target = job
        log = target.with_suffix(".log")
        build.run([*context.compiler.cc, *options(context, module, source), "-c", source, "-o", target], log)
        _check_casts(source, log.read_text("utf-8", "replace"))

    # The longest first would be best; the last in the list are taken first, and C++ takes longer.
    build.each(compile_one, sorted(jobs, key=lambda job: (job[1].suffix in CXX_SUFFIXES, job[2].name)))
    (folder / "objects").mkdir(exist_ok=True)
    for module in modules:
        objects = [target for owner, _, target in jobs if owner is module]
        localise.merge(context.compiler, folder / "objects" / f"{module.name}.o", objects, {module.symbol})
    shutil.rmtree(room)
    listed = {module.name: module.symbol for module in modules}
    (folder / "modules.json").write_text(json.dumps(listed, indent=1) + "\n")


def options(context, module, source):
    """The compiler's options for one source of a module."""
    leaf = module.name.rpartition(".")[2]
    found = [*CFLAGS, *EMULATION, *CAST_WARNING, *context.python_flags, f"-DPyInit_{leaf}={module.symbol}"]
    if source.suffix in CXX_SUFFIXES:
        found += [f"-std={module.standard}", *cxx.flags(context.cxx.folder), "-fvisibility=hidden"]
    return [*found, *module.flags]


def _check_casts(source, output):
    for place, actual, wanted in CAST.findall(output):
        if not (wanted == "PyCFunction" and WITH_KEYWORDS.fullmatch(actual)):
            raise RecipeError(f"{source.name} has a function of type {actual} used as {wanted}, which traps when "
                              f"called: patch it ({place})")


def copy_source(source, target):
    """A package's source where it may be changed."""
    shutil.copytree(source, target, symlinks=True)
    return target


def unpack(archive, folder):
    """Unpack an archive that holds one folder; that folder, as `folder/src`."""
    room = folder / "unpacked"
    with tarfile.open(archive) as tar:
        # Debian 12's python3 has no extractall(filter=...); the archive's hash has been checked.
        tar.extractall(room)
    (content,) = room.iterdir()
    content.rename(folder / "src")
    room.rmdir()
    return folder / "src"


def replace(path, *changes):
    """Replace texts in a source file, `(before, after)` or `(before, after, count)`; stop when it is not as expected."""
    text = path.read_text()
    for before, after, *count in changes:
        expected = count[0] if count else 1
        if text.count(before) != expected:
            raise RecipeError(f"{path.name} has {text.count(before)} times, not {expected} times, the text that the "
                              f"recipe changes: {before.strip().splitlines()[0]!r}")
        text = text.replace(before, after)
    path.write_text(text)


def include_pybind11(context):
    """Flags that find pybind11's headers, for a package that needs pybind11."""
    return [f"-I{context.needs['pybind11'].folder}/include"]


def copy_python(source, target, left_out=("tests", "test", "__pycache__")):
    """A package's Python files and data, without what only a build or a test reads."""
    def unwanted(folder, names):
        return [name for name in names if name in left_out or name.endswith(SOURCE_SUFFIXES)]

    shutil.copytree(source, target, ignore=unwanted, dirs_exist_ok=True)


def metadata(source, site, name, version):
    """What tells pip, importlib.metadata and our list of packages that it is there: the sdist's PKG-INFO."""
    target = site / f"{name.replace('-', '_')}-{version}.dist-info"
    target.mkdir(parents=True)
    text = (source / "PKG-INFO").read_text("utf-8")
    if f"\nVersion: {version}\n" not in text:
        raise RecipeError(f"{name}'s PKG-INFO is not that of version {version}")
    (target / "METADATA").write_text(text, "utf-8")
    (target / "INSTALLER").write_text("sandpool\n")
