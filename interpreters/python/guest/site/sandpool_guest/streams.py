"""sys.stdout and sys.stderr: text streams over the event stream; sys.stdin, which is always at its end."""

import builtins
import io
import sys

import _sandpool

_NO_INPUT = ("input() cannot be answered: cells run without a keyboard. "
             "Put the value into the code, or read it from a file in /mnt/data.")


class BytesStream(io.RawIOBase):
    """`sys.stdout.buffer`: bytes join the text in the order in which they are written."""

    mode = "wb"

    def __init__(self, kind, name):
        self._kind = kind
        self.name = name

    def writable(self):
        return True

    def write(self, data):
        return _sandpool.write_bytes(self._kind, data)

    def flush(self):
        _sandpool.flush()

    def fileno(self):
        return self._kind

    def close(self):
        """The streams outlive whoever closes them."""
        _sandpool.flush()


class TextStream(io.TextIOBase):
    """A text stream. Subclasses set `write` to a built-in function: print() then calls no Python at all."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False
    mode = "w"
    flush = _sandpool.flush

    def __init__(self, kind, name):
        self._kind = kind
        self.name = name
        self.buffer = BytesStream(kind, name)

    def writable(self):
        return True

    def fileno(self):
        return self._kind

    def isatty(self):
        return False

    def reconfigure(self, **settings):
        """Accepted and ignored: the event stream is UTF-8."""

    def close(self):
        """The streams outlive whoever closes them."""
        _sandpool.flush()

    def __repr__(self):
        return f"<sandpool stream name={self.name!r} encoding='utf-8'>"


class Stdout(TextStream):
    write = _sandpool.write_stdout


class Stderr(TextStream):
    write = _sandpool.write_stderr


stdout = Stdout(_sandpool.STDOUT, "<stdout>")
stderr = Stderr(_sandpool.STDERR, "<stderr>")


def _input(prompt="", /):
    """input(), which raises EOFError with an explanation unless user code has replaced sys.stdin."""
    if sys.stdin is not sys.__stdin__:
        return _builtin_input(prompt)
    if prompt:
        print(prompt, end="")
    raise EOFError(_NO_INPUT)


_builtin_input = builtins.input


def install():
    sys.stdout = sys.__stdout__ = stdout
    sys.stderr = sys.__stderr__ = stderr
    _input.__name__ = _input.__qualname__ = "input"
    builtins.input = _input
