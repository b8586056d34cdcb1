"""What the image holds besides the interpreter: modules already imported, and code already warm.

Importing costs a session nothing if the image has done it. Running code once lets CPython specialise its bytecode, so that
sessions do not write to those pages.
"""

import importlib
import linecache
import sys
import warnings

import _sandpool

from . import cell, session, warm

# What generated code reaches for first, and what that imports.
MODULES = """
abc argparse array ast asyncio base64 bisect builtins bz2 calendar cmath codecs collections collections.abc colorsys
concurrent.futures configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib dis doctest
email.message email.mime.multipart email.mime.text enum errno fnmatch fractions functools gc getpass glob graphlib gzip hashlib
heapq hmac html html.parser http.client importlib.metadata importlib.resources inspect io ipaddress itertools json keyword
linecache locale logging lzma math mimetypes numbers operator os os.path pathlib pickle pkgutil platform pprint queue random re
sched secrets select selectors shelve shlex shutil signal socket sqlite3 ssl stat statistics string stringprep struct subprocess
sys sysconfig tarfile tempfile textwrap threading time timeit token tokenize tomllib traceback types typing unicodedata
unittest unittest.mock urllib.error urllib.parse urllib.request uuid warnings weakref xml.dom.minidom xml.etree.ElementTree
zipfile zlib zoneinfo
IPython IPython.display IPython.lib.pretty pkg_resources tzdata
"""

# Cells that touch what most cells touch. Errors are part of it.
WARM_UP = [
    "print(1 + 1)",
    "x = [1, 2, 3]\nx",
    "print('a', 2.5, {'b': [1, None]}); x",
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(10)",
    "class A:\n    def __init__(self, v): self.v = v\n    def __repr__(self): return f'A({self.v!r})'\nA(3)",
    "import json, math, random, datetime, collections, re, os\njson.dumps({'a': [1, 2, math.pi]}), re.findall(r'\\w+', 'a b')",
    "[i * i for i in range(50)]",
    "{i: str(i) for i in range(200)}",
    "'text'", "2.5", "True", "None", "x = 5;", "10",
    "import asyncio\nawait asyncio.sleep(0)",
    "from IPython.display import display, HTML, Markdown\ndisplay(HTML('<b>x</b>'))\nMarkdown('# x')",
    "1 / 0",
    "undefined_name",
    "x = = 1",
    "import no_such_module",
    "%who",
    "import sys\nprint('to stderr', file=sys.stderr)",
    "with open('/tmp/.warm', 'w') as file:\n    file.write('x')\nos.remove('/tmp/.warm')",
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 0\nP(1)",
]


def import_modules():
    """Import everything above that this build has."""
    # IPython's process helpers import pexpect, which needs terminals; Emscripten's do without.
    sys.modules["IPython.utils._process_posix"] = importlib.import_module("IPython.utils._process_emscripten")
    for name in MODULES.split():
        try:
            with warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
        except ImportError as failure:
            print(f"preload: {failure}", file=sys.__stderr__)
    warm.load()
    _forget_vendored()


def _forget_vendored():
    """pkg_resources lists what is installed, not what setuptools carries inside it."""
    import pkg_resources

    sys.path[:] = [path for path in sys.path if not path.endswith("/_vendor")]
    with warnings.catch_warnings(action="ignore"):
        pkg_resources._initialize_master_working_set()


def warm_up():
    """Run typical cells, then forget that they ran."""
    _sandpool.mute(True)
    shell = cell.shell
    before = dict(shell.user_ns)
    warm.warm_up()
    cells = WARM_UP + warm.cells()
    for _ in range(4):
        for source in cells:
            cell.run_cell(source)
        session.prepare()
        _sandpool.mute(True)
    _forget(shell, before)
    warm.forget()
    _sandpool.mute(False)


def _forget(shell, before):
    """Leave the namespace, the history and the caches as they were before the warm-up."""
    ns, history, hook = shell.user_ns, shell.history_manager, shell.displayhook
    ns.clear()
    ns.update(before)
    ns.update({"_": "", "__": "", "___": "", "_i": "", "_ii": "", "_iii": ""})
    ns["_oh"].clear()
    del history.input_hist_parsed[1:], history.input_hist_raw[1:]
    history.outputs.clear()
    hook._ = hook.__ = hook.___ = ""
    shell.execution_count = 1
    for name in [name for name in linecache.cache if name.startswith("Cell In[")]:
        del linecache.cache[name]
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
