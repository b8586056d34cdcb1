"""pandas, by its own meson build, against our numpy: `np.intp` is 64 bits wide in both, so its code is what it is on Linux."""

import shutil

from building import meson, modules

LEFT_OUT = {"tests", "__pycache__", "meson.build", "conftest.py"}


def build(build, folder, context):
    source = modules.copy_source(context.sdist("pandas"), folder / "src")
    # It asks versioneer for a version that the sdist has written down.
    stubs = folder / "stubs"
    stubs.mkdir()
    (stubs / "versioneer.py").write_text("")
    project = meson.Project(build, folder, context, source, [context.needs["numpy"].folder / "dev", stubs])
    project.configure([project.tools / "bin/meson"], [])
    project.compile()
    project.collect()
    _site(source, folder / "site")
    modules.metadata(source, folder / "site", "pandas", "2.3.3")


def _site(source, site):
    """Its Python files. (The ones that meson generates are in the sdist already.)"""
    def unwanted(_, names):
        return [name for name in names
                if name in LEFT_OUT or name.endswith((".pyx", ".pxd", ".pyi", ".in", ".h", ".c")) or name in ("src", "include")]

    shutil.copytree(source / "pandas", site / "pandas", ignore=unwanted)
    # It asks because of numpy's integers, which have 64 bits here.
    modules.replace(site / "pandas/compat/_constants.py", ("IS64 = sys.maxsize > 2**32\n", "IS64 = True\n"))
    shutil.copyfile(source / "_version_meson.py", site / "pandas/_version_meson.py")
    shutil.copyfile(source / "pyproject.toml", site / "pandas/pyproject.toml")
