"""Exceptions of cells as error events: plain tracebacks that show user code, with its source, and hide ours."""

import re
import sys
import traceback

from . import events

# A deep recursion keeps this many frames at either end.
_FRAMES = 20

# A traceback longer than this keeps its head and its tail, in text lines.
_MOST_LINES, _HEAD, _TAIL = 120, 40, 60

_CELL_FILE = re.compile(r'File "(Cell In\[\d+\])", line (\d+)(?:, in <module>)?')
_LEFT_OUT = re.compile(r'File "<(\d+) frames>", line 0, in ')

# Frames that are machinery, not the user's business.
_OURS = re.compile(r"/site-packages/(sandpool_guest|IPython/core)/")


def report(exception):
    """Emit the error event of an exception."""
    tb = _user_part(exception.__traceback__)
    sys.last_exc = sys.last_value = exception
    sys.last_type, sys.last_traceback = type(exception), tb
    events.error(type(exception).__name__, _message(exception), describe(exception, tb))


def _message(exception):
    try:
        return str(exception)
    except Exception:
        return "<exception str() failed>"


def _user_part(tb):
    """The traceback from the first frame of a cell on; what comes before is the way there."""
    first = tb
    while first is not None:
        if first.tb_frame.f_code.co_filename.startswith("Cell In["):
            return first
        first = first.tb_next
    # Code that a cell passed to exec() or to a magic has no frame of a cell: hide only our own.
    while tb is not None and "sandpool_guest" in tb.tb_frame.f_code.co_filename:
        tb = tb.tb_next
    return tb


def describe(exception, tb):
    """The traceback as a list of text blocks, as Python's traceback module has it."""
    renderer = getattr(exception, "_render_traceback_", None)
    if renderer is not None:
        try:
            rendered = renderer()
            if rendered is not None:
                return [str(line) for line in rendered]
        except Exception:
            pass
    described = traceback.TracebackException(type(exception), exception, tb)
    _trim(described)
    lines = [_tidy(block) for block in described.format()]
    hint = _hint(exception)
    return _shorten(lines + [hint] if hint else lines)


def _trim(described):
    """Take our own frames, IPython's, and the middle of a deep recursion out of a described exception and its causes."""
    if described is None:
        return
    stack = described.stack
    stack[:] = [frame for frame in stack if not _OURS.search(frame.filename)]
    if len(stack) > 2 * _FRAMES:
        left_out = traceback.FrameSummary(f"<{len(stack) - 2 * _FRAMES} frames>", 0, "", lookup_line=False, line="")
        stack[_FRAMES:-_FRAMES] = [left_out]
    _trim(described.__cause__)
    _trim(described.__context__)
    for part in described.exceptions or ():
        _trim(part)


def _tidy(block):
    block = _CELL_FILE.sub(_cell_place, block).rstrip("\n")
    return _LEFT_OUT.sub(r"[\1 frames left out]", block)


def _cell_place(match):
    return f"{match[1]}, line {match[2]}"


def _shorten(lines):
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_HEAD], f"  [{len(lines) - _HEAD - _TAIL} more]", *lines[-_TAIL:]]


def _hint(exception):
    """What to do about it, where this platform is the reason."""
    if isinstance(exception, ModuleNotFoundError) and exception.name:
        name = exception.name.partition(".")[0]
        if name in sys.stdlib_module_names:
            return f"Hint: the standard library's {name} does not exist on this platform (WebAssembly)."
        return (f"Hint: {name} is not among the packages of this pool (list them with %pip list). %pip install can add what is "
                "pure Python, where the pool's network allows it; for anything else use a container session pool.")
    return None
