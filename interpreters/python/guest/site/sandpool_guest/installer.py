"""`pip` in a cell. What it tells of the packages here is answered from their metadata; what is not here is installed by pip itself,
for this session, where the pool's network lets it reach the package index. Pure wheels only: nothing can be compiled.
"""

import contextlib
import importlib
import logging
import os
import re
import site
import sys
import sysconfig
import urllib.parse
import warnings
from importlib import metadata

from . import network

_USER_BASE = "/home/user/.local"
_OTHERS = "Its operator can allow that ([pool.egress]) or put packages into the pool (packages), or use a container session pool."
_NO_WAY = "pip cannot install {names} here: {host} cannot be reached ({reason}). " + _OTHERS + " %pip list tells what is here."
_NO_ACTION = "pip {action} is not possible here; there are: install, uninstall, list, freeze, show."

# A name alone, with extras: anything beyond that is for pip to judge.
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?$")
# What pip would ask a person, build, cache, or draw with threads.
_ALWAYS = ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--retries", "1",
           # TLS is done by the host, by its own authorities.
           "--use-deprecated", "legacy-certs"]
_INSTALL = ["--user", "--only-binary", ":all:", "--no-compile", "--progress-bar", "off", "--no-warn-script-location"]


def pip(words):
    """Carry out `pip WORDS`: what it has to say, unless pip itself has said it. OSError when it fails."""
    arguments = [word for word in words if not word.startswith("-")]
    if not arguments:
        return "pip here can: install, uninstall, list, freeze, show\n"
    action, names = arguments[0], arguments[1:]
    installed = {_normal(dist.name): dist for dist in metadata.distributions()}
    if action in ("list", "freeze"):
        return _list(installed) if action == "list" else _freeze(installed)
    if action == "show":
        return "".join(_show(installed.get(_normal(name)), name) for name in names)
    if action == "install":
        return _install(words[words.index(action) + 1:], names, installed)
    if action == "uninstall":
        return _run(["uninstall", "--yes", *words[words.index(action) + 1:]])
    raise OSError(_NO_ACTION.format(action=action))


def _list(installed):
    ordered = _ordered(installed)
    width = max(len(dist.name) for dist in ordered)
    head = f"{'Package':{width}} Version\n{'-' * width} -------\n"
    return head + "".join(f"{dist.name:{width}} {dist.version}\n" for dist in ordered)


def _freeze(installed):
    return "".join(f"{dist.name}=={dist.version}\n" for dist in _ordered(installed))


def _ordered(installed):
    return sorted(installed.values(), key=lambda dist: dist.name.lower())


def _show(dist, name):
    if dist is None:
        return f"WARNING: Package(s) not found: {name}\n"
    return f"Name: {dist.name}\nVersion: {dist.version}\nSummary: {dist.metadata.get('Summary', '')}\n---\n"


def _install(words, names, installed):
    """Generated code installs what it imports, whether it is there or not: that is answered without waking pip."""
    if names and all((match := _NAME.match(name)) and _normal(match[1]) in installed for name in names) \
            and all(word in ("-q", "--quiet", "--user") for word in words if word.startswith("-")):
        told = ((name, installed[_normal(_NAME.match(name)[1])].version) for name in names)
        return "".join(f"Requirement already satisfied: {name} ({version})\n" for name, version in told)
    host, port = _index(words)
    try:
        network.probe(host, port)
    except OSError as failure:
        raise OSError(_NO_WAY.format(names=", ".join(names), host=host, reason=failure.strerror or failure)) from None
    return _run(["install", *_INSTALL, *words])


def _index(words):
    """Host and port of the package index that pip will ask first."""
    from pip._internal.models.index import PyPI

    url = os.environ.get("PIP_INDEX_URL", PyPI.simple_url)
    for word, following in zip(words, [*words[1:], ""]):
        if word in ("-i", "--index-url"):
            url = following
        elif word.startswith("--index-url="):
            url = word.partition("=")[2]
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or url, parts.port or (80 if parts.scheme == "http" else 443)


def _run(words):
    _settle()
    from pip._internal.cli.main import main

    _hush()
    with _as_it_was():
        status = main([*words, *_ALWAYS])
    importlib.invalidate_caches()
    if status:
        raise OSError("pip did not finish; what it said stands above.")
    return ""


def _settle():
    """Packages of the session go where a user's go, and come before the image's, as CPython has it."""
    folder = f"{_USER_BASE}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if folder in sys.path:
        return
    # CPython's sysconfig and site say that WASI has no users, so that pip has no place of theirs.
    library = "{userbase}/lib/python{py_version_short}"
    sysconfig._INSTALL_SCHEMES["posix_user"] = {
        "stdlib": library, "platstdlib": library, "purelib": library + "/site-packages", "platlib": library + "/site-packages",
        "include": "{userbase}/include/python{py_version_short}", "scripts": "{userbase}/bin", "data": "{userbase}"}
    os.environ["PYTHONUSERBASE"] = sysconfig.get_config_vars()["userbase"] = site.USER_BASE = _USER_BASE
    site.USER_SITE, site.ENABLE_USER_SITE = folder, True
    os.makedirs(folder, exist_ok=True)
    before = next((at for at, path in enumerate(sys.path) if path.endswith("site-packages")), len(sys.path))
    sys.path.insert(before, folder)


@contextlib.contextmanager
def _as_it_was():
    """pip takes over logging, warnings and imports, for a process that ends with it."""
    root, show, finders = logging.getLogger(), warnings.showwarning, sys.meta_path[:]
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        warnings.showwarning, sys.meta_path[:] = show, finders


def _hush():
    """pip warns of every import after it, as if its process were to end; and of a Python program that scripts would start."""
    logging.getLogger("pip._vendor.distlib.scripts").disabled = True
    logging.getLogger("pip._internal.commands.install").addFilter(_is_of_use)


def _is_of_use(record):
    return not record.msg.startswith("Unsafe import")


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
