"""Downloads by package name, with the machine's ordinary clients: apt-get, cargo.

Nothing is installed, and the machine's own apt state is neither read (it may be empty) nor changed: both suites below
have lists of their own in the work folder. Mirror addresses come from the machine's sources at run time.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from .steps import RecipeError, check_digest, need

# Debian's stable suite keeps its files: the pinned sources are taken from there on every machine.
SOURCE_SUITE = "trixie"
TRIES = 3

# clang, wasm-ld and the llvm archive tools, with the compiler's runtime for wasm32.
TOOLCHAIN = ["clang-22", "lld-22", "llvm-22", "libclang-cpp22", "libllvm22", "libclang1-22", "libclang-common-22-dev",
             "llvm-22-linker-tools", "libz3-4", "libclang-rt-22-dev-wasm32"]

PROGRAMS = ["clang", "llvm-ar", "llvm-ranlib", "llvm-nm", "llvm-profdata", "wasm-ld"]


class Apt:
    """apt with lists and caches of its own."""

    def __init__(self, build, folder, lines):
        self.build = build
        self.folder = folder
        self.log = folder / "apt.log"
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        self.config = folder / "apt.conf"
        self.config.write_text(_configuration(folder))

    def update(self):
        self._get(["update"], self.folder)

    def download(self, packages, into):
        self._get(["download", *packages], into)

    def source(self, package, into):
        """The upstream archive of the suite's version of a source package."""
        self._get(["source", "--download-only", "--tar-only", package], into)

    def missing(self, packages):
        """What the machine would have to install, beyond what it has, to run `packages`."""
        answer = subprocess.run(["apt-get", "-s", "install", "--no-install-recommends", *packages], text=True,
                                capture_output=True, env={**os.environ, "APT_CONFIG": str(self.config), "LC_ALL": "C"})
        if answer.returncode != 0:
            raise RecipeError(f"Debian's {packages[0]} is not to be had here: {answer.stderr.strip().splitlines()[-1]}")
        return re.findall(r"^Inst (\S+)", answer.stdout, re.MULTILINE)

    def _get(self, arguments, cwd):
        command = ["apt-get", "-q", *arguments]
        repeat(lambda: self.build.run(command, self.log, cwd=cwd, env={"APT_CONFIG": str(self.config)}))


def _configuration(folder):
    return "\n".join([
        f'Dir::State::lists "{folder}/lists";',
        f'Dir::Cache "{folder}/cache";',
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        'Dir::Etc::sourceparts "/dev/null";',
        'Acquire::Languages "none";',
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
        # Errors of single index files must stop the recipe, or a later step says something misleading.
        'APT::Update::Error-Mode "any";',
        # Root's apt would otherwise try to become a user that cannot write here.
        'APT::Sandbox::User "root";',
        ""])


def repeat(action):
    """Try a download again: mirrors have bad moments."""
    for attempt in range(TRIES):
        try:
            return action()
        except RecipeError:
            if attempt == TRIES - 1:
                raise
            time.sleep(2 * (attempt + 1))


def _mirrors(folder):
    """`(address, suite)` of each of the machine's Debian sources."""
    need("apt-get", "apt")
    for part in ("state/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    config = folder / "mirrors.conf"
    config.write_text(f'Dir::State::lists "{folder}/state";\nDir::Cache "{folder}/cache";\n')
    answer = subprocess.run(["apt-get", "update", "--print-uris"], text=True, capture_output=True,
                            env={**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"})
    return sorted(set(re.findall(r"^'(\S+/debian(?:-security)?)/+dists/(\S+)/InRelease'", answer.stdout, re.MULTILINE)))


def _codename():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise RecipeError("/etc/os-release names no VERSION_CODENAME; the recipe needs Debian 12 or later")


def toolchain(build, folder):
    """Unpack clang 22 for this machine's own release; apt's signature is the check, as security updates replace versions."""
    need("dpkg", "dpkg")
    codename = _codename()
    own = [f"deb {address} {suite} main" for address, suite in _mirrors(folder) if suite.startswith(codename)]
    if not own:
        raise RecipeError(f"no Debian source for {codename} among this machine's apt sources; add one to /etc/apt/sources.list")
    apt = Apt(build, folder / "apt", own)
    apt.update()
    wanted = TOOLCHAIN if shutil.which("make") else [*TOOLCHAIN, "make"]
    packages = sorted(set(wanted) | set(apt.missing(wanted)))
    debs = folder / "debs"
    debs.mkdir()
    apt.download(packages, debs)
    for deb in sorted(debs.iterdir()):
        build.run(["dpkg", "-x", deb, folder / "root"], folder / "unpack.log")
        deb.unlink()
    _wrappers(folder)


def _wrappers(folder):
    """Programs that find the unpacked libraries."""
    (folder / "bin").mkdir()
    llvm = folder / "root/usr/lib/llvm-22"
    libraries = f"{llvm}/lib:{folder}/root/usr/lib/x86_64-linux-gnu:{folder}/root/usr/lib/aarch64-linux-gnu"
    programs = {name: llvm / "bin" / name for name in PROGRAMS}
    programs["make"] = folder / "root/usr/bin/make"
    for name, program in programs.items():
        if not program.exists():
            continue
        wrapper = folder / "bin" / name
        # Debian's clang looks for its linker, wasm-ld-22, on PATH.
        wrapper.write_text(f'#!/bin/sh\nPATH="{folder}/root/usr/bin:$PATH" LD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
        wrapper.chmod(0o755)


def debian_sources(build, folder, sources):
    """The pinned Debian files: source archives, and packages that are the same on every machine."""
    mirrors = [address for address, suite in _mirrors(folder) if address.endswith("/debian")]
    if not mirrors:
        raise RecipeError("no Debian mirror among this machine's apt sources; add one to /etc/apt/sources.list")
    lines = [f"{kind} {mirrors[0]} {SOURCE_SUITE} main" for kind in ("deb", "deb-src")]
    apt = Apt(build, folder / "apt", lines)
    apt.update()
    files = folder / "files"
    files.mkdir()
    for source in sources:
        if source["kind"] == "debian-source":
            apt.source(source["name"], files)
        else:
            apt.download([f"{source['name']}={source['version']}"], files)
        check_digest(_downloaded(files, source), source["sha256"])


def _downloaded(files, source):
    pattern = f"{source['name']}_{source['version'] if source['kind'] == 'debian-source' else ''}*"
    pattern += ".orig.tar.*" if source["kind"] == "debian-source" else ".deb"
    found = [path for path in sorted(files.glob(pattern)) if not path.name.endswith(".asc")]
    if not found:
        raise RecipeError(f"apt gave no file for {source['name']} {source['version']}")
    return found[0]


def sysroot(build, folder, sources):
    """Unpack wasi-libc. It is architecture-independent, so `dpkg -x` is all it takes."""
    room = folder / "debian"
    room.mkdir()
    debian_sources(build, room, sources)
    for deb in sorted((room / "files").glob("*.deb")):
        build.run(["dpkg", "-x", deb, folder], folder / "unpack.log")


def crates(build, folder, project, sources):
    """C sources that crates carry. Cargo checks them against Cargo.lock, which must agree with the manifest."""
    need("cargo", "cargo")
    lock = (project / "Cargo.lock").read_text()
    for source in sources:
        if f'checksum = "{source["sha256"]}"' not in lock:
            raise RecipeError(f"crates/Cargo.lock does not have the manifest's SHA-256 of {source['name']}")
    command = ["cargo", "vendor", "--locked", "--manifest-path", project / "Cargo.toml", folder / "vendor"]
    repeat(lambda: build.run(command, folder / "vendor.log", cwd=folder))


def vendored(crates, name):
    """The folder of a vendored crate."""
    folder = crates.folder / "vendor" / name
    if not folder.is_dir():
        raise RecipeError(f"cargo vendored no {name}")
    return folder
