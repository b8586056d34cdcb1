"""pybind11's headers: include/. Nothing of it is in the image."""

import shutil
import zipfile


def build(build, folder, context):
    with zipfile.ZipFile(next((context.sources.folder / "wheels").glob("*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    shutil.copytree(folder / "wheel/pybind11/include", folder / "include")
    shutil.rmtree(folder / "wheel")
    del build
