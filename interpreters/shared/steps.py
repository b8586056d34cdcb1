"""Steps with cached results: a step whose inputs have not changed is not run again.

A step owns the folder `WORK/<interpreter>/<name>`, or `WORK/shared/<name>` where it is the same for all interpreters. The
folder's key is a hash of everything that went in: the step's own code, its declared inputs, and the keys of the steps it
builds on. Does not lock: one build per work folder.
"""

import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

# A long step says something at least this often, in seconds.
HEARTBEAT_SECONDS = 5

# What would otherwise make two builds of the same sources differ: the date in the module (this one is also the date of the
# base layer's files), and the order of sets in bytecode.
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "1735689600", "PYTHONHASHSEED": "0", "LC_ALL": "C"}


class RecipeError(Exception):
    """What is missing or wrong, in one line, with the command that helps."""


class Step:
    """The finished result of a step: where it lies, and the key of what went into it."""

    def __init__(self, folder, key):
        self.folder = folder
        self.key = key


class Build:
    """One run of an interpreter's recipe over the work folder that all recipes have in common."""

    def __init__(self, root, interpreter, jobs, total):
        self.work = root / interpreter
        self.shared = root / "shared"
        self.jobs = jobs
        self.total = total
        self.number = 0
        self.current = "start"

    def say(self, what):
        print(f"[step {self.number}/{self.total}] {self.current}: {what}", flush=True)

    def step(self, name, action, after=(), settings=None, code=(), pinned=False, shared=False, **inputs):
        """Run `action(build, folder, **inputs)` unless its result is there; return the Step.

        The key has the inputs (Paths by their content), the steps in `after`, the `settings` (values that the
        action's module reads for itself), and the code of the action's module and of the modules in `code`. A `pinned`
        step leaves the code out: what it leaves behind is checked against pins, so how it was fetched does not matter.
        A `shared` step must be declared alike by every recipe.
        """
        self.number += 1
        self.current = name
        modules = [] if pinned else [inspect.getmodule(action), *code]
        key = _key(name, modules, {"after": after, "settings": settings, **inputs})
        room = self.shared if shared else self.work
        folder = room / name
        stamp = room / f"{name}.key"
        if folder.is_dir() and stamp.is_file() and stamp.read_text() == key:
            self.say("unchanged")
            return Step(folder, key)
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.say("started")
        began = time.monotonic()
        action(self, folder, **inputs)
        stamp.write_text(key)
        self.say(f"done in {time.monotonic() - began:.0f} s")
        return Step(folder, key)

    def run(self, command, log, cwd=None, env=None):
        """Run a command with its output in the file `log`, reporting that it is alive."""
        command = [str(part) for part in command]
        environment = {**os.environ, **REPRODUCIBLE, **(env or {})}
        with open(log, "ab") as output:
            process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.STDOUT)
            self._wait(process, log)
        if process.returncode != 0:
            raise RecipeError(f"{Path(command[0]).name} failed ({process.returncode}): "
                              f"{_last_line(log)} (the whole log: {log})")

    def _wait(self, process, log):
        while True:
            try:
                process.wait(HEARTBEAT_SECONDS)
                return
            except subprocess.TimeoutExpired:
                self.say(_last_line(log)[-100:] or "working")

    def each(self, function, items):
        """`function(item)` for all items on `jobs` threads; the first failure is raised."""
        queue, failures = list(items), []
        count = len(queue)
        told = time.monotonic()

        def worker():
            while queue and not failures:
                try:
                    function(queue.pop())
                except Exception as failure:  # whatever it is, the caller's thread must see it
                    failures.append(failure)

        threads = [threading.Thread(target=worker) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
                if time.monotonic() - told > HEARTBEAT_SECONDS:
                    told = time.monotonic()
                    self.say(f"{max(count - len(queue), 0)} of {count}")
        if failures:
            raise failures[0]


def _key(name, modules, inputs):
    code = [_digest(Path(inspect.getfile(module))) for module in modules]
    described = {"name": name, "code": code, "inputs": {label: describe(value) for label, value in inputs.items()}}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def describe(value):
    """A value as it goes into a key; files and folders by their content, steps by their keys."""
    if isinstance(value, Step):
        return value.key
    if isinstance(value, Path):
        return _describe_path(value)
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    return getattr(value, "key", value)


def _describe_path(path):
    if not path.is_dir():
        return _digest(path)
    return {str(file.relative_to(path)): _digest(file) for file in sorted(path.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts}


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_digest(path, wanted):
    """Stop the recipe when a downloaded file is not the pinned one."""
    found = _digest(path)
    if found != wanted:
        raise RecipeError(f"{path.name} has SHA-256 {found}, but the manifest pins {wanted}")


def _last_line(log):
    """The last line of a log that says something."""
    with open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - 4000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def need(program, package):
    """The path of a program that the machine must have."""
    found = shutil.which(program)
    if found is None:
        raise RecipeError(f"{program} is missing; install it with: apt-get install {package}")
    return found
