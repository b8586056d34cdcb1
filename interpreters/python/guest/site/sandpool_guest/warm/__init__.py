"""What the packages of the full edition want done in the image, and in every new session.

The recipe puts each package's warmup.py here, in the packages' order. Importing it is the first part: what it imports is in
the image. It may define:

    CELLS        sources of cells that typical users start with; they run like any cell, several times
    warm_up()    other work that makes caches and specialised code
    forget()     called last: drop what must not be in the image, open files above all
    reseed()     called in every new session: what is random
    touch()      called in every new session that is made ready before its first cell: do what such a cell most likely does,
                 so that its pages are private by then; every ready session pays with that memory
"""

import contextlib
import importlib
import pkgutil
import sys
import warnings

# What a pool's operator wants done. It comes last, and whoever wrote it is told when it fails.
_OF_THE_POOL = "pool"

_loaded = []


def load():
    """Import the warm-ups of the packages that this edition has."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        try:
            with warnings.catch_warnings(action="ignore"):
                _loaded.append(importlib.import_module(f"{__name__}.{found.name}"))
        except ImportError as failure:
            if found.name == _OF_THE_POOL:
                raise
            print(f"preload: {found.name}: {failure}", file=sys.__stderr__)


def cells():
    return [source for module in _loaded for source in getattr(module, "CELLS", ())]


def warm_up():
    _call("warm_up")


def forget():
    _call("forget")


def reseed():
    _call_in_a_session("reseed")


def touch():
    _call_in_a_session("touch")


def _call(name):
    for module in _loaded:
        getattr(module, name, _nothing)()


def _call_in_a_session(name):
    """The session may be a copy of one whose code has put something else in the packages' places: its own matter."""
    for module in _loaded:
        with contextlib.suppress(Exception):
            getattr(module, name, _nothing)()


def _nothing():
    pass
