"""The base layer: the standard library, the packages, our guest code."""

import hashlib
import shutil
import zipfile

from shared.layer import pack, skeleton

STDLIB = "usr/lib/python3.13"
SITE = f"{STDLIB}/site-packages"

# No use in a session: tests, graphics, installers, and what only a terminal or Windows has.
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__", "__phello__",
            "venv", "idle_test"}
LEFT_OUT_FILES = {"turtle.py", "antigravity.py"}
# The same of wheels: tests, and what only a notebook's server reads.
LEFT_OUT_OF_WHEELS = {"tests", "labextension", "widgetbundle.js"}


def tree(build, folder, guest, cpython, library, native, names, wheels, manifest, packages=(), warmups=(), own=None,
         preload=None):
    """Lay out the tree, compile its bytecode, pack it; `base.tar` and `packages.json`. `names` is the step that completes the
    native Python, `own` are wheels that a pool adds, and `preload` is its code for the image."""
    root = folder / "root"
    skeleton(root)
    _stdlib(cpython.folder / "src/Lib", library.folder, root / STDLIB)
    for step in filter(None, (wheels, own)):
        for wheel in sorted((step.folder / "files").glob("*.whl")):
            unpack_wheel(wheel, root / SITE)
    shutil.copytree(guest, root / SITE, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    _packages(packages, warmups, root / SITE)
    if preload:
        shutil.copyfile(preload, root / SITE / "sandpool_guest/warm/pool.py")
    build.say("compiling bytecode")
    _bytecode(build, folder, native, names, root)
    pack(root, folder, manifest, _installed(root / SITE))


def _packages(steps, warmups, site):
    """The packages' own files, and their warm-ups where the guest finds them, in the packages' order."""
    for step in steps:
        if (step.folder / "site").is_dir():
            shutil.copytree(step.folder / "site", site, dirs_exist_ok=True)
    for number, path in enumerate(warmups):
        target = site / "sandpool_guest/warm" / f"p{number:02}_{path.parent.name.replace('-', '_')}.py"
        shutil.copyfile(path, target)


def _stdlib(source, library, target):
    def left_out(_, names):
        return [name for name in names if name in LEFT_OUT or name in LEFT_OUT_FILES]

    shutil.copytree(source, target, ignore=left_out)
    build_folder = (library / "pybuilddir.txt").read_text().strip()
    for name in sorted((library / build_folder).glob("_sysconfigdata*.py")):
        # The data holds the building machine's paths; the guest has no compiler to use them with.
        text = name.read_text().replace(str(library.parent), "/build")
        (target / name.name).write_text(text)
    (target / "site-packages").mkdir(exist_ok=True)


def unpack_wheel(wheel, site):
    """What pip would install of a pure wheel, without scripts and what is left out."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            if name.endswith("/") or parts[0].endswith(".data") or parts[-1].endswith(".exe"):
                continue
            if LEFT_OUT_OF_WHEELS.intersection(parts):
                continue
            archive.extract(name, site)
    for metadata in site.glob("*.dist-info"):
        (metadata / "INSTALLER").write_text("sandpool\n")


# Hash-based and unchecked: a .pyc is valid whatever times the files have, and is never compared with its source. Reads lines
# of three paths: the source, where the bytecode goes, and the source's path in the guest.
_COMPILE = """
import py_compile, sys
for line in open(sys.argv[1], encoding="utf-8"):
    path, target, shown = line.rstrip(chr(10)).split(chr(9))
    try:
        py_compile.compile(path, target, dfile=shown, doraise=True, optimize=0,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError as error:
        print("not compiled:", error)
"""


def _bytecode(build, folder, native, names, root):
    """Compile what has not been compiled in any build of this work folder, and put all bytecode in its place."""
    script = folder / "compile.py"
    script.write_text(_COMPILE)
    # One file for each path and content. The bytecode depends on nothing else but the minor version.
    cache = build.work / "bytecode-3.13"
    cache.mkdir(exist_ok=True)
    kept = {path: cache / _name_of(path, root) for path in sorted(root.rglob("*.py")) if path.is_file()}
    missing = [path for path, target in kept.items() if not target.exists()]

    def compile_part(part):
        listed = folder / f"compile-{part}.txt"
        listed.write_text("".join(f"{path}\t{kept[path]}\t/{path.relative_to(root)}\n" for path in missing[part::build.jobs]))
        build.run([native.folder / "bin/python", "-S", script, listed], folder / "log",
                  env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(names.folder)})

    build.each(compile_part, range(build.jobs))
    for path, target in kept.items():
        if target.exists():
            (path.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copyfile(target, path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc")


def _name_of(path, root):
    return hashlib.sha256(f"/{path.relative_to(root)}\n".encode() + path.read_bytes()).hexdigest()


def _installed(site):
    """Name and version of every installed distribution, sorted as people expect."""
    found = []
    for metadata in site.glob("*.dist-info/METADATA"):
        fields = dict(line.split(": ", 1) for line in metadata.read_text().split("\n\n")[0].splitlines()
                      if line.startswith(("Name: ", "Version: ")))
        found.append({"name": fields["Name"], "version": fields["Version"]})
    return sorted(found, key=lambda package: package["name"].lower())
