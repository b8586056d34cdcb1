"""`!command` without processes: the handful of commands that notebooks use to look around, and pip."""

import os
import re
import shlex
import stat
import sys
import time

from .installer import pip

_NO_PROCESS = ("!{name} cannot run: this Python runs in WebAssembly and has no other programs. Use Python instead (os, pathlib, "
               "shutil, zipfile, ...), or a container session pool.")


def run(command):
    """The output of a command line. OSError when it would take a process."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    if not words:
        return ""
    name = os.path.basename(words[0])
    if name in ("python", "python3") and words[1:3] == ["-m", "pip"]:
        name, words = "pip", words[2:]
    action = _COMMANDS.get(name)
    if action is None or any(word in ("|", ">", ">>", "<", "&&", "||", ";", "&") for word in words):
        raise OSError(_NO_PROCESS.format(name=name))
    return action(words[1:])


def _options(words):
    return "".join(word[1:] for word in words if word.startswith("-")), [word for word in words if not word.startswith("-")]


def _ls(words):
    options, paths = _options(words)
    lines = []
    for path in paths or ["."]:
        names = sorted(os.listdir(path)) if os.path.isdir(path) else [path]
        folder = path if os.path.isdir(path) else ""
        shown = [name for name in names if "a" in options or not name.startswith(".")]
        lines += [_ls_line(folder, name) if "l" in options else name for name in shown]
    return "".join(f"{line}\n" for line in lines)


def _ls_line(folder, name):
    status = os.stat(os.path.join(folder, name))
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.st_mtime))
    return f"{stat.filemode(status.st_mode)} {status.st_size:>10} {day} {name}"


def _cat(words):
    return "".join(_read(path) for path in _options(words)[1])


def _head(words):
    match = re.match(r"-n?\s*(\d+)\s*", " ".join(words))
    count = int(match[1]) if match else 10
    paths = [word for word in words if not word.startswith("-") and not word.isdigit()]
    return "".join("".join(_read(path).splitlines(True)[:count]) for path in paths)


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _mkdir(words):
    for path in _options(words)[1]:
        os.makedirs(path, exist_ok="p" in _options(words)[0])
    return ""


def _python(words):
    if words and words[0] in ("-V", "--version"):
        return f"Python {sys.version.split()[0]}\n"
    raise OSError(_NO_PROCESS.format(name="python"))


def _which(words):
    return "".join(f"{sys.executable}\n" for word in words if word.startswith("python"))


_COMMANDS = {
    "ls": _ls, "cat": _cat, "head": _head, "mkdir": _mkdir, "pip": pip, "pip3": pip, "python": _python, "python3": _python,
    "which": _which, "pwd": lambda words: f"{os.getcwd()}\n", "echo": lambda words: f"{' '.join(words)}\n",
    "whoami": lambda words: "user\n", "date": lambda words: time.strftime("%a %b %d %H:%M:%S UTC %Y\n", time.gmtime()),
    "true": lambda words: "", "uname": lambda words: "Sandpool wasm32\n",
}
