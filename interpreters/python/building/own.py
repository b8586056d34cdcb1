"""Packages of a pool's own: pure wheels that its operator names, resolved by pip beside what the edition has."""

import re
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

from shared.steps import RecipeError, need

_WHEEL = "Wheel-Version: 1.0\nGenerator: sandpool\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheels(build, folder, requirements, files, wheels, packages):
    """The wheels that `requirements` need beyond the edition's own, below `files/`. `files` are the wheels among them that lie
    on this machine: their content is part of the step's key.

    The edition's packages stand in as empty wheels, pinned: pip takes them for what they are, and says so where a requirement
    cannot live with them. What those would need themselves does not count: the edition is complete as it is.
    """
    here, got = folder / "here", folder / "files"
    here.mkdir()
    known = {}
    for metadata in _metadata(wheels, packages):
        # A local version, which no index has: it satisfies what the version satisfies.
        name, version = metadata["Name"], f"{metadata['Version']}+here"
        metadata.replace_header("Version", version)
        known[_normal(name)] = f"{name}=={version}"
        del metadata["Requires-Dist"]
        _stand_in(here, name, version, metadata.as_string())
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{pin}\n" for pin in known.values()))
    command = [need("python3", "python3"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
               "--only-binary", ":all:", "--python-version", "3.13", "--implementation", "py", "--abi", "none",
               "--platform", "any", "--find-links", here, "--constraint", constraints, "--dest", got, *requirements]
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode != 0:
        said = "\n".join(line for line in ran.stderr.splitlines() if not line.startswith(("WARNING", "[notice]")))
        raise RecipeError(f"the packages {', '.join(requirements)} cannot be had as pure wheels for this edition; pip says:\n{said}")
    for wheel in got.glob("*.whl"):
        if _normal(wheel.name.split("-")[0]) in known:
            wheel.unlink()


def _metadata(wheels, packages):
    """What the edition's packages say of themselves."""
    texts = []
    for wheel in sorted((wheels.folder / "files").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            texts += [archive.read(name).decode() for name in archive.namelist() if re.fullmatch(r"[^/]*\.dist-info/METADATA", name)]
    for step in packages:
        texts += [path.read_text() for path in sorted((step.folder / "site").glob("*.dist-info/METADATA"))]
    return [Parser().parsestr(text, headersonly=True) for text in texts]


def _stand_in(folder, name, version, metadata):
    name = re.sub(r"[-_.]+", "_", name)
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(Path(folder) / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", metadata)
        wheel.writestr(f"{about}/WHEEL", _WHEEL)
        wheel.writestr(f"{about}/RECORD", "")


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
