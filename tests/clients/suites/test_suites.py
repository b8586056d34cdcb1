"""numpy's and pandas' own tests, in sessions, against the record of what passed before.

Each file runs in a fork of one session that has the tests. Fewer passes in a file than the record has, or a failure that no
reason in reasons.toml accounts for, fail this. In the environment:

    SANDPOOL_SUITES         packages, separated by commas (all)
    SANDPOOL_SUITE_FILES    patterns of files below the package, separated by commas (all)
    SANDPOOL_SUITE_RECORD   if set, the record of these files is written anew instead of being compared
"""

import concurrent.futures
import contextlib
import fnmatch
import io
import json
import os
import re
import shutil
import sys
import tomllib
import traceback
import types
import urllib.error
import urllib.request
import uuid
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTERPRETERS = HERE.parents[2] / "interpreters"
sys.path[:0] = [str(INTERPRETERS), str(INTERPRETERS / "python")]

from building import sources  # noqa: E402  (the recipe's own downloads: the same sdists, pinned once)

POOL = os.environ["SANDPOOL_POOL"]
VERSION = "api-version=2025-10-02-preview"
# A file may run so long; the slowest takes some minutes on an idle machine.
SECONDS = 3600
JOBS = 2
# A test that ends its session is left out when the file runs again; more of them than this is no suite.
DEATHS = 20
# pytest's exit code when a file skips itself as a whole.
NOTHING_COLLECTED = 5

OPTIONS = {
    "numpy": ["-m", "not slow"],
    "pandas": ["-m", "not slow and not network and not db and not clipboard"],
}
# Run a compiler, or read type stubs: nothing of that is in a session.
LEFT_OUT = {
    "numpy": ["*/f2py/*", "*/typing/*", "*/_pyinstaller/*", "*/distutils/*", "*/pythoncapi-compat/*"],
    "pandas": [],
}


def main():
    chosen = os.environ.get("SANDPOOL_SUITES", "numpy,pandas").split(",")
    patterns = os.environ.get("SANDPOOL_SUITE_FILES", "*").split(",")
    problems = []
    for package in chosen:
        problems += Suite(package).check(patterns, "SANDPOOL_SUITE_RECORD" in os.environ)
    print("\n".join(problems))
    sys.exit(bool(problems))


class Suite:
    def __init__(self, package):
        self.package = package
        self.record_file = HERE / f"{package}.json"
        self.reasons = tomllib.loads((HERE / "reasons.toml").read_text()).get("reason", [])
        with (INTERPRETERS / f"python/packages/{package}/package.toml").open("rb") as file:
            (self.source,) = [s for s in tomllib.load(file)["source"] if s["name"] == package]
        self.parent = f"suite-{uuid.uuid4()}"

    def check(self, patterns, record):
        files = self.prepare()
        chosen = [f for f in files if any(fnmatch.fnmatch(f.split("/", 1)[1], p) for p in patterns)]
        if not chosen:
            return [f"no file of {self.package} fits {patterns}: nothing was compared"]
        known = json.loads(self.record_file.read_text()) if self.record_file.exists() else {"files": {}}
        problems = []
        with concurrent.futures.ThreadPoolExecutor(JOBS) as jobs:
            running = {jobs.submit(self.file, path): path for path in chosen}
            for done in concurrent.futures.as_completed(running):
                path = running[done]
                counts, unexplained = self.weigh(done.result())
                print(f"{path}: {counts}", flush=True)
                problems += [f"{path}: no reason is known for {test}: {told}" for test, told in unexplained]
                before = known["files"].get(path, {}).get("passed", 0)
                if record:
                    known["files"][path] = counts
                    self.write(known, files)
                elif path not in known["files"]:
                    print(f"{path} is not in the record", flush=True)
                elif counts["passed"] < before:
                    problems.append(f"{path}: {counts['passed']} tests pass, and {before} did")
        end(self.parent)
        return problems

    def prepare(self):
        """The parent session, with the tests; their files."""
        folder = download(self.source)
        names = [p for p in sorted(folder.glob(f"{self.package}/**/*"))
                 if p.is_file() and ("tests" in p.relative_to(folder).parts or p.name == "conftest.py")]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            parents = set()
            for path in names:
                packed.write(path, path.relative_to(folder))
                parents.update(p for p in path.relative_to(folder).parents if p.parts)
            for parent in parents:
                if not (folder / parent / "__init__.py").exists() or "tests" not in parent.parts:
                    packed.writestr(f"{parent}/__init__.py", "")
            settings = next(f for f in ("pytest.ini", "pyproject.toml") if (folder / f).exists())
            packed.writestr(f"{self.package}.ini", ini((folder / settings)))
            for library in sys.path:
                for path in Path(library).glob("**/*.py") if (Path(library) / "hypothesis").is_dir() else ():
                    packed.write(path, f"site/{path.relative_to(library)}")
        upload(self.parent, "suite.zip", archive.getvalue())
        upload(self.parent, "suite_session.py", (HERE / "session.py").read_bytes())
        ran = execute(self.parent, "import zipfile\nzipfile.ZipFile('suite.zip').extractall('suite')\nimport os\n"
                                   "os.unlink('suite.zip')\nimport suite_session")
        assert ran["status"] == "Succeeded", ran
        files = [str(p.relative_to(folder)) for p in names if re.fullmatch(r"test_.*\.py", p.name)]
        return [f for f in files if not any(fnmatch.fnmatch(f, pattern) for pattern in LEFT_OUT[self.package])]

    def file(self, path):
        """What became of each test of a file: a map of its id to (what, why)."""
        found, dead = {}, []
        while len(dead) < DEATHS:
            session = f"suite-{uuid.uuid4()}"
            fork(self.parent, session)
            try:
                ran = execute(session, f"suite_session.run({self.package!r}, {path!r}, {dead!r}, "
                                       f"{OPTIONS[self.package]!r})")
            finally:
                end(session)
            running = None
            for line in ran["result"]["stdout"].splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if not isinstance(event, dict):
                        continue
                    if "begins" in event:
                        running = event["begins"]
                    elif "test" in event:
                        found[event["test"]] = (event["became"], event.get("told", ""))
                        running = None
                    elif "ended" in event:
                        if event["ended"] not in (0, 1, NOTHING_COLLECTED):
                            found[f"{path} as a whole"] = ("failed", ran["result"]["stdout"][-600:])
                        return found
            why = ran["result"]["stderr"][-600:] or json.dumps(ran.get("error", ran["status"]))
            if running is None:
                found[f"{path} as a whole"] = ("failed", why)
                return found
            dead.append(running)
            found[running] = ("failed", f"the session ended: {why}")
        return found

    def weigh(self, found):
        """How many tests became what, and the failures that no reason accounts for."""
        counts = {"passed": 0, "skipped": 0, "xfailed": 0, "failed": {}}
        unexplained = []
        for test, (became, told) in sorted(found.items()):
            if became != "failed":
                counts[became] += 1
                continue
            reason = self.reason(test, told)
            if reason is None:
                unexplained.append((test, told))
            name = reason or "unexplained"
            counts["failed"][name] = counts["failed"].get(name, 0) + 1
        return counts, unexplained

    def reason(self, test, told):
        for reason in self.reasons:
            if re.search(reason.get("test", ""), test) and re.search(reason.get("told", ""), told):
                return reason["name"]
        return None

    def write(self, known, files):
        known["version"] = self.source["version"]
        known["files"] = {path: known["files"][path] for path in files if path in known["files"]}
        lines = ",\n".join(f"    {json.dumps(path)}: {json.dumps(counts)}" for path, counts in known["files"].items())
        self.record_file.write_text(f'{{\n  "version": "{known["version"]}",\n  "files": {{\n{lines}\n  }}\n}}\n')


def ini(path):
    """pytest's settings of a package, without what names plugins or other folders."""
    if path.name == "pyproject.toml":
        table = tomllib.loads(path.read_text())["tool"]["pytest"]["ini_options"]
        kept = {"filterwarnings", "xfail_strict", "markers"}
        def value(v):
            return "\n".join(["", *(f"    {line}" for line in v)]) if isinstance(v, list) else str(v).lower()
        return "[pytest]\n" + "".join(f"{name} = {value(table[name])}\n" for name in sorted(kept & table.keys()))
    return re.sub(r"(?m)^(addopts|norecursedirs|testpaths).*\n", "", path.read_text())


def download(source):
    """The sdist, unpacked in the cache."""
    cache = Path(os.environ["SANDPOOL_SUITE_CACHE"]) / f"{source['name']}-{source['version']}-{source['sha256'][:16]}"
    if not cache.exists():
        room = cache.with_suffix(".new")
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        sources.fetch(Build(), room, [source | {"kind": "pypi-sdist"}])
        os.rename(room, cache)
    return cache / "sdist" / source["name"]


class Build(types.SimpleNamespace):
    """As much of a build as the downloads ask for."""

    def say(self, text):
        print(text, flush=True)

    def run(self, command, log, env=None, cwd=None):
        import subprocess
        with open(log, "ab") as out:
            code = subprocess.run([str(part) for part in command], stdout=out, stderr=out, cwd=cwd,
                                  env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL).returncode
        if code:
            raise sources.RecipeError(f"{command[0]} failed; see {log}")


def call(method, path, body=None, kind="application/json"):
    request = urllib.request.Request(f"{POOL}{path}", data=body, method=method, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS + 60) as answer:
            return answer.read()
    except urllib.error.HTTPError as refusal:
        raise RuntimeError(f"{method} {path}: {refusal.code} {refusal.read().decode()}") from None


def execute(session, code):
    body = json.dumps({"code": code, "timeoutInSeconds": SECONDS}).encode()
    return json.loads(call("POST", f"/executions?identifier={session}&{VERSION}", body))


def upload(session, name, content):
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    call("POST", f"/files?identifier={session}&{VERSION}", body, f"multipart/form-data; boundary={boundary}")


def fork(parent, child):
    call("POST", f"/sessions/{parent}/fork?{VERSION}", json.dumps({"identifiers": [child]}).encode())


def end(session):
    with contextlib.suppress(RuntimeError):
        call("DELETE", f"/session?identifier={session}&{VERSION}")


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(2)
