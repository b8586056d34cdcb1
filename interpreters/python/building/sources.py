"""Downloads of packages' sources, each pinned by SHA-256, by kind:

    pypi-sdist      the source archive on PyPI, unpacked to `sdist/<name>`; with `crates = true` also the Rust crates that its
                    Cargo.lock pins, unpacked to `vendor/<name>/<crate>`
    pypi            a wheel on PyPI, left in `wheels/`; `sha256` may be a list: one for each machine it exists for
    debian-source   the upstream archive of Debian's source package, left in `debian/files`
    crate           a Rust crate, unpacked to `crates/vendor/<name>`
"""

import os
import shutil
import subprocess

from shared import fetch as base
from shared.steps import RecipeError, need

from .layer import unpack_wheel


def fetch(build, folder, sources):
    """All sources of one package."""
    for source in sources:
        build.say(f"{source['name']} {source['version']}")
        if source["kind"] == "pypi-sdist":
            base.repeat(lambda source=source: _sdist(build, folder, source))
            if source.get("crates"):
                base.repeat(lambda source=source: _locked_crates(build, folder, source["name"]))
    for kind, action in (("pypi", _wheels), ("debian-source", _debian), ("crate", _crates)):
        chosen = [source for source in sources if source["kind"] == kind]
        if chosen:
            action(build, folder, chosen)


def pure(build, folder, sources):
    """The wheels of packages/pure.toml, unpacked to `site/`."""
    _wheels(build, folder, sources, ["--python-version", "3.13", "--implementation", "py"])
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        unpack_wheel(wheel, folder / "site")


def pip():
    """pip's command line."""
    command = [need("python3", "python3"), "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True).returncode != 0:
        raise RecipeError("pip is missing; install it with: apt-get install python3-pip")
    return command


def _requirement(source):
    hashes = source["sha256"] if isinstance(source["sha256"], list) else [source["sha256"]]
    return f"{source['name']}=={source['version']} " + " ".join(f"--hash=sha256:{digest}" for digest in hashes) + "\n"


def _wheels(build, folder, sources, options=()):
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(map(_requirement, sources)))
    command = [*pip(), "download", "--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check",
               "--only-binary", ":all:", *options, "--dest", folder / "wheels", "-r", requirements]
    base.repeat(lambda: build.run(command, folder / "pip.log"))


def _sdist(build, folder, source):
    """An sdist, unpacked, without running any of its code.

    pip checks the hash, unpacks, and then asks the package's build backend for metadata. It is given a backend that
    fails, and what it has unpacked is kept. (pip has no way to stop after the download.)
    """
    room = folder / "pip"
    shutil.rmtree(room, ignore_errors=True)
    for name in ("temporary", "stubs/setuptools", "stubs/mesonpy"):
        (room / name).mkdir(parents=True)
    # Whatever backend a package names, it is one of these, or built on one, or not there at all.
    for name in ("setuptools", "mesonpy"):
        (room / "stubs" / name / "__init__.py").write_text("raise ImportError('the recipe builds this itself')\n")
    requirements = room / "requirements.txt"
    requirements.write_text(_requirement(source))
    command = [*pip(), "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--no-clean",
               "--require-hashes", "--disable-pip-version-check", "--dest", room / "files", "-r", requirements]
    environment = {"TMPDIR": str(room / "temporary"), "PYTHONPATH": str(room / "stubs")}
    log = folder / "pip.log"
    try:
        build.run(command, log, env=environment)
    except RecipeError as failure:
        problem = failure
    else:
        problem = RecipeError(f"pip left no source of {source['name']} (the whole log: {log})")
    found = [path.parent for path in (room / "temporary").glob("pip-*/*/PKG-INFO") if _is(path, source["version"])]
    if len(found) != 1:
        raise problem
    target = folder / "sdist" / source["name"]
    target.parent.mkdir(exist_ok=True)
    os.rename(found[0], target)
    shutil.rmtree(room)


def _is(metadata, version):
    return f"Version: {version}" in metadata.read_text("utf-8", "replace").splitlines()


def _debian(build, folder, sources):
    (folder / "debian").mkdir()
    base.debian_sources(build, folder / "debian", sources)


def debian_file(files, name):
    """The archive of a source package among downloaded files."""
    return next(path for path in sorted(files.glob(f"{name}_*.orig.tar.*")) if not path.name.endswith(".asc"))


def _locked_crates(build, folder, name):
    """The crates that an sdist's Cargo.lock names; cargo checks them against the checksums in it."""
    command = [need("cargo", "cargo"), "vendor", "--locked", "--manifest-path", folder / "sdist" / name / "Cargo.toml",
               folder / "vendor" / name]
    build.run(command, folder / "vendor.log", cwd=folder)


def _crates(build, folder, sources):
    """Crates' sources; cargo checks them against its index, and this against the pins."""
    project = folder / "crates"
    (project / "src").mkdir(parents=True)
    (project / "src/lib.rs").write_text("")
    lines = "".join(f'{source["name"]} = "={source["version"]}"\n' for source in sources)
    (project / "Cargo.toml").write_text(
        f'[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n[dependencies]\n{lines}')
    command = [need("cargo", "cargo"), "vendor", "--manifest-path", project / "Cargo.toml", project / "vendor"]
    base.repeat(lambda: build.run(command, folder / "vendor.log", cwd=project))
    lock = (project / "Cargo.lock").read_text()
    for source in sources:
        if f'checksum = "{source["sha256"]}"' not in lock:
            raise RecipeError(f"the crate {source['name']} {source['version']} does not have the pinned SHA-256")
