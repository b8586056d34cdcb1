"""Packages from PyPI, with pip."""

import subprocess

from shared.fetch import repeat
from shared.steps import RecipeError, need


def wheels(build, folder, sources):
    """Pure wheels from PyPI, checked by pip against the manifest's hashes."""
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{s['name']}=={s['version']} --hash=sha256:{s['sha256']}\n" for s in sources))
    command = [need("python3", "python3"), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
               "--disable-pip-version-check", "--only-binary", ":all:", "--python-version", "3.13",
               "--implementation", "py", "--dest", folder / "files", "-r", requirements]
    if subprocess.run(command[:3] + ["--version"], capture_output=True).returncode != 0:
        raise RecipeError("pip is missing; install it with: apt-get install python3-pip")
    repeat(lambda: build.run(command, folder / "pip.log"))
