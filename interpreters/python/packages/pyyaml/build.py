"""PyYAML in Python. Its C module is not there: the sdist has only Cython source, and yaml falls back by itself."""

from building import modules

VERSION = "6.0.3"


def build(build, folder, context):
    source = context.sdist("pyyaml")
    modules.copy_python(source / "lib", folder / "site")
    modules.metadata(source, folder / "site", "PyYAML", VERSION)
    del build
