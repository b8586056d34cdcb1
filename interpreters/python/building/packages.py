"""The packages of the full edition: one folder below `packages/` each, one cached step each.

A folder has `package.toml` and, when there is something to compile, `build.py`:

    packages/<name>/package.toml   needs = ["numpy"]      the packages whose steps its own builds on
                                   [[source]] ...         what it is made from, pinned (see building/sources.py)
    packages/<name>/build.py       def build(build, folder, context): ...   (context: see Context below); what it imports as
                                   `from building import x` goes into the step's key
    packages/<name>/warmup.py      what the image does with it: see guest/site/sandpool_guest/warm.py
    packages/<name>/...            whatever build.py reads

`build` leaves in `folder`:

    modules.json    {"dotted.module.name": "PyInit_symbol"}: the modules it has compiled
    objects/*.o     linked as they are
    lib/*.a         linked as far as something needs them
    site/           files for site-packages, a *.dist-info/METADATA among them
    dev/            if it is there: all that packages which need this one may read of it

Pure wheels need no folder: a [[source]] in `packages/pure.toml` is enough. A package without build.py is its wheels.
"""

import importlib.util
import json
import sys
import tomllib
import types
from pathlib import Path

from shared.steps import RecipeError, describe

from . import sources
from .layer import unpack_wheel

# Its warm-up runs in the image, and nothing is compiled from it.
NOT_COMPILED = {"warmup.py", "README.md"}


class Package:
    """One folder below `packages/`."""

    def __init__(self, folder):
        self.name = folder.name
        self.folder = folder
        self.manifest = tomllib.loads((folder / "package.toml").read_text())
        self.needs = self.manifest.get("needs", [])
        self.sources = self.manifest.get("source", [])

    @property
    def recipe(self):
        """The files that decide about what is built."""
        return [path for path in sorted(self.folder.rglob("*"))
                if path.is_file() and path.name not in NOT_COMPILED and "__pycache__" not in path.parts]

    @property
    def warmup(self):
        path = self.folder / "warmup.py"
        return path if path.exists() else None

    def builder(self):
        """Its build.py as a module, or None."""
        path = self.folder / "build.py"
        if not path.exists():
            return None
        name = f"recipe_of_{self.name.replace('-', '_')}"
        # A Python package, so that it can import other files of the folder: `from . import x`.
        spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(self.folder)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module


def helpers(module, found=()):
    """The files of the recipe's modules that `module` imports as modules (`from building import meson`), and theirs."""
    found = set(found)
    for value in vars(module).values():
        path = Path(getattr(value, "__file__", None) or "/")
        if isinstance(value, types.ModuleType) and path.parent.name in ("building", "shared") and path not in found:
            found |= {path} | helpers(value, {*found, path})
    return found


class Context:
    """What a package's build.py is given.

    `compiler`: the Compiler; `cpython`: the step with CPython's source in `src`; `library`: the one with its pyconfig.h and
    configuration data; `native`: the one with a Python for this machine, `bin/python`; `cxx`: libc++ (see building/cxx.py);
    `libraries`: the steps of the C libraries that CPython's modules need, by name (`zlib`), with their `include`;
    `sources`: the step with this package's sources; `needs`: the steps of the packages it needs, by name.
    """

    def __init__(self, compiler, cpython, library, native, cxx, libraries, sources, needs, recipe):
        self.compiler = compiler
        self.cpython = cpython
        self.library = library
        self.native = native
        self.cxx = cxx
        self.libraries = libraries
        self.sources = sources
        self.needs = needs
        # Of a package that leaves `dev/`, only a change of that is a reason to build again.
        seen = [[name, step.folder / "dev" if (step.folder / "dev").is_dir() else step] for name, step in sorted(needs.items())]
        # The native Python only runs scripts: any will do.
        self.key = describe([compiler, library, cxx, sorted(libraries.items()), sources, seen, recipe])

    @property
    def python_flags(self):
        """Flags that find CPython's headers."""
        return [f"-I{self.library.folder}", f"-I{self.cpython.folder}/src/Include"]

    def sdist(self, name):
        """The unpacked source of a `pypi-sdist`. Not to be changed: copy what is to be patched."""
        return self.sources.folder / "sdist" / name

    def crate(self, name):
        """The unpacked source of a `crate`."""
        return self.sources.folder / "crates/vendor" / name

    def debian(self, name):
        """The archive of a `debian-source`."""
        return sources.debian_file(self.sources.folder / "debian/files", name)


def find(folder, only=()):
    """The packages below `folder`, each after those that it needs; of these, `only` some and what they need, if given."""
    known = {path.parent.name: Package(path.parent) for path in sorted(folder.glob("*/package.toml"))}
    ordered = {}

    def place(name, path=()):
        if name in path:
            raise RecipeError(f"packages need each other: {' -> '.join([*path, name])}")
        if name not in known:
            raise RecipeError(f"package {path[-1]} needs {name}, which has no folder below packages/")
        for needed in known[name].needs:
            place(needed, (*path, name))
        ordered[name] = known[name]

    for name in only or known:
        place(name, ("--only",))
    return list(ordered.values())


def steps_of(found):
    """How many steps `build_all` will take."""
    return 1 + sum((1 if package.sources else 0) + 1 for package in found)


def build_all(build, folder, found, *, compiler, cpython, library, native, cxx, libraries):
    """The steps of the packages `found`, in their order, and that of the pure wheels."""
    done = {}
    for package in found:
        fetched = None
        if package.sources:
            fetched = build.step(f"{package.name}-sources", sources.fetch, pinned=True, sources=package.sources)
        needs = {name: done[name] for name in package.needs}
        builder = package.builder()
        recipe = package.recipe + (sorted(helpers(builder)) if builder else [])
        context = Context(compiler, cpython, library, native, cxx, libraries, fetched, needs, recipe)
        done[package.name] = build.step(f"package-{package.name}", builder.build if builder else wheels_only, context=context)
    pure = tomllib.loads((folder / "pure.toml").read_text())["source"]
    return [*done.values(), build.step("package-pure", sources.pure, sources=pure)]


def wheels_only(build, folder, context):
    """The step of a package without build.py: its wheels, unpacked."""
    for wheel in sorted((context.sources.folder / "wheels").glob("*.whl")):
        unpack_wheel(wheel, folder / "site")
    del build


def modules(steps):
    """`{dotted name: PyInit symbol}` of all packages."""
    found = {}
    for step in steps:
        listed = step.folder / "modules.json"
        for name, symbol in (json.loads(listed.read_text()) if listed.exists() else {}).items():
            if name in found or symbol in found.values():
                raise RecipeError(f"two packages have the module {name} ({symbol})")
            found[name] = symbol
    return found


def objects(steps):
    """What the linker takes of all packages: objects, then archives."""
    return [path for pattern in ("objects/*.o", "lib/*.a") for step in steps for path in sorted(step.folder.glob(pattern))]


def inittab(found):
    """The C source of the table of built-in modules; `guest/packages.h` declares it."""
    declared = "".join(f"PyMODINIT_FUNC {symbol}(void);\n" for symbol in found.values())
    entries = "".join(f'    {{"{name}", {symbol}}},\n' for name, symbol in found.items())
    return (f'#include "Python.h"\n#include "packages.h"\n\n{declared}\n'
            f"struct _inittab sandpool_packages[] = {{\n{entries}    {{NULL, NULL}},\n}};\n")
