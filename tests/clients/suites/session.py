"""Runs one file of a package's own tests in a session, and prints what became of each test, a line of JSON each.

A line comes before a test begins, too: whoever reads it knows which test a session died of.
"""

import json
import os
import sys

import pytest

# Unpacked here by the driver: the tests, and what they import that the image does not have.
ROOT = "/mnt/data/suite"
# How much is kept of what a failing test says: enough to tell one reason from another.
TOLD_CHARACTERS = 600


def open_packages(package):
    """Lets the tests be imported as the parts of the package that they are, though they lie elsewhere."""
    for folder, folders, _ in os.walk(f"{ROOT}/{package}"):
        if "tests" not in folders and folder != f"{ROOT}/{package}":
            continue
        name = os.path.relpath(folder, ROOT).replace("/", ".")
        try:
            __import__(name)
        except ImportError:
            continue
        path = sys.modules[name].__path__
        if folder not in path:
            path.append(folder)


class Told:
    """A pytest plugin that prints."""

    def say(self, **what):
        # Past pytest's capturing, and on a line of its own among its dots.
        os.write(1, f"\n{json.dumps(what)}\n".encode())

    def pytest_runtest_logstart(self, nodeid):
        self.say(begins=nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.say(test=report.nodeid or "collection", became="failed", told=text(report))

    def pytest_runtest_logreport(self, report):
        if hasattr(report, "wasxfail"):
            became = "xfailed" if report.skipped else "passed"
        elif report.failed:
            became = "failed"
        elif report.skipped:
            became = "skipped"
        elif report.when == "call":
            became = "passed"
        else:
            return
        self.say(test=report.nodeid, became=became, **({"told": text(report)} if became == "failed" else {}))


def text(report):
    """The end of what a failure says, where the exception is."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr))[-TOLD_CHARACTERS:]


def run(package, path, deselected, options):
    sys.path.insert(0, f"{ROOT}/site")
    # The packages are in the image; pytest would complain that the files around the tests are others.
    os.environ["PY_IGNORE_IMPORTMISMATCH"] = "1"
    # Those of other packages in the image.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["NPY_AVAILABLE_MEM"] = "1GB"
    open_packages(package)
    os.makedirs("/mnt/data/work", exist_ok=True)
    os.chdir("/mnt/data/work")
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--tb=no", "-rN", "--capture=sys",
                 # What pytest is going to drop, which is none of the packages' matters.
                 "-W", "ignore::pytest.PytestRemovedIn10Warning", "--import-mode=append", "--rootdir", ROOT, "--basetemp=/mnt/data/temporary", "-c", f"{ROOT}/{package}.ini", *options]
    arguments += [part for test in deselected for part in ("--deselect", test)]
    code = pytest.main([*arguments, f"{ROOT}/{path}"], plugins=[Told()])
    Told().say(ended=int(code))
