"""Magics that mean something else here: what would start a process, install a package or open a window."""

import shlex
import sys

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from . import installer

_SCRIPT = "%%{name} cannot run: this Python runs in WebAssembly and has no other programs. Use Python, or a container session pool."


@magics_class
class SandpoolMagics(Magics):
    """Registered over IPython's own."""

    @line_magic
    def pip(self, line):
        """%pip install | uninstall | list | freeze | show: see `installer`."""
        sys.stdout.write(installer.pip(shlex.split(line)))

    @line_magic
    def conda(self, line):
        """%conda: not here, nor its relatives."""
        raise OSError("conda is not here; %pip list tells what is, and %pip install may add to it.")

    mamba = line_magic("mamba")(conda)
    micromamba = line_magic("micromamba")(conda)
    uv = line_magic("uv")(conda)

    @line_magic
    def matplotlib(self, line=""):
        """%matplotlib: figures are always shown inline."""


def _refusal(name):
    def refuse(self, line, cell=""):
        raise OSError(_SCRIPT.format(name=name))

    refuse.__name__ = name
    refuse.__doc__ = f"%%{name}: not here, there are no processes."
    return cell_magic(refuse)


@magics_class
class ScriptMagics(Magics):
    """Cell magics that would run another program."""

    bash, sh, script, perl, ruby, cmd = (_refusal(name) for name in ("bash", "sh", "script", "perl", "ruby", "cmd"))
