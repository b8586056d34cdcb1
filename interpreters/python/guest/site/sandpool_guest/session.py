"""A new session: clones of one image must not share what is random, and their first cell should find its memory touched."""

import linecache
import random
import sys

import _sandpool

from . import cell, streams, warm


def prepare():
    """Make this memory a session of its own; emits nothing. True, for the reactor."""
    _sandpool.mute(True)
    try:
        reseed()
        _touch()
    finally:
        _sandpool.mute(False)
    return True


def reseed():
    """Reseed everything random that the image has already seeded. `secrets`, `uuid4` and `os.urandom` ask the host each time.
    True, for the reactor."""
    random.seed()
    modules = sys.modules
    if (tempfile := modules.get("tempfile")) is not None:
        tempfile._name_sequence = None
    if (uuid := modules.get("uuid")) is not None:
        uuid._node = uuid._last_timestamp = None
    warm.reseed()
    return True


# What IPython keeps of the last inputs and results.
_SHORT = ("_i", "_ii", "_iii", "_", "__", "___")

# Whose callbacks draw and show the figures that a cell has left; there are none here.
_FIGURES = ("matplotlib.pyplot", "matplotlib_inline.backend_inline")

# Names nothing: in a restored session the user may have given every name another meaning.
_TOUCHED = "[1, 2.5, 'three', (4,)]"


def _would_show():
    """Whether a cell of ours would be seen by what a user has put around cells (in a session that is a copy of another)."""
    shell = cell.shell
    callbacks = [callback for registered in shell.events.callbacks.values() for callback in registered]
    return shell.has_transformers() or any(getattr(callback, "__module__", None) not in _FIGURES for callback in callbacks)


def _touch():
    """Do what a first cell does, so that its pages are private by then, and leave no trace of it."""
    if _would_show():
        return
    shell = cell.shell
    print(1 + 1, "touched", file=streams.stdout)
    warm.touch()
    ns, hook, history, number = shell.user_ns, shell.displayhook, shell.history_manager, shell.execution_count
    inputs = {name: ns[name] for name in _SHORT if name in ns}
    results, last = (hook._, hook.__, hook.___), shell.last_source
    cell.run_cell(_TOUCHED)
    for name in (f"_i{number}", f"_{number}", *_SHORT):
        ns.pop(name, None)
    ns.update(inputs)
    (hook._, hook.__, hook.___), shell.last_source = results, last
    shell.execution_count = number
    del history.input_hist_parsed[-1:], history.input_hist_raw[-1:]
    if type(outputs := ns.get("_oh")) is dict:
        outputs.pop(number, None)
    linecache.cache.pop(f"Cell In[{number}]", None)
