"""meson, ninja and cython, in a folder of their own: `tools/`, with programs in `tools/bin`."""

from building.sources import pip


def build(build, folder, context):
    wheels = sorted((context.sources.folder / "wheels").glob("*.whl"))
    build.run([*pip(), "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check",
               "--target", folder / "tools", *wheels], folder / "log")
