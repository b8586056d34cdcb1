"""IPython's shell, with the event stream in place of a terminal: display protocol, results, tracebacks, magics."""

import builtins
import linecache
import sys

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell
from traitlets import Type
from traitlets.config import Config

from . import commands, errors, events, quick

# How a formatter's tables may name the types of plain values: the types, what they inherit, and names of what is not imported yet.
_PLAIN_IN_TABLES = quick.KINDS | {object} | {("builtins", kind.__name__) for kind in (*quick.KINDS, object)}


class Publisher(DisplayPublisher):
    """display(), update_display() and clear_output() as events."""

    def __init__(self, shell=None, *args, **kwargs):
        # Not the parent's: it would register callbacks that keep a copy of every output.
        super(DisplayPublisher, self).__init__(*args, **kwargs)
        self.shell = shell
        self._is_publishing = False
        self._in_post_execute = False

    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_kwargs):
        self._validate_data(data, metadata)
        events.display(data, metadata, (transient or {}).get("display_id"), update)

    def clear_output(self, wait=False):
        events.clear_output(wait)


class ResultHook(DisplayHook):
    """sys.displayhook: the value of an expression as a result event. For code that IPython itself runs."""

    def __call__(self, result=None):
        if result is not None and not self.quiet():
            if self.exec_result is not None:
                self.exec_result.result = result
            self.shell.show(result, self.shell.execution_count - 1)


class Shell(InteractiveShell):
    """The one shell of a session."""

    displayhook_class = Type(ResultHook)
    display_pub_class = Type(Publisher)

    # An error event has been emitted for the running cell.
    failed = False

    # The source of the last cell: `_i` of the next one.
    last_source = ""

    # %store, %bookmark and the like keep what they know for as long as the session lives.
    _db = {}

    def init_ipython_dir(self, ipython_dir):
        """No profile on disk."""

    def init_profile_dir(self, profile_dir):
        """No profile on disk."""

    def init_virtualenv(self):
        """No virtual environments."""

    def enable_gui(self, gui=None):
        """No windows; `%gui` and `%matplotlib` may still ask."""

    def ready(self):
        """Settle what never changes, so that a cell need not ask."""
        self._cleanups = len(self.input_transformers_cleanup)
        self.automagics = frozenset(self.magics_manager.magics["line"]) | {name for name, _ in self.alias_manager.aliases}
        self._watch_printers()
        # Each cell clears the registry anyway; without callbacks there is nothing to trigger.
        self.events.unregister("pre_execute", self._clear_warning_registry)
        self.builtin_trap.activate()
        builtins.exit = builtins.quit = leave
        self.user_ns.pop("exit", None)
        self.user_ns.pop("quit", None)
        sys.displayhook = self.displayhook

    def ask_exit(self):
        leave()

    def run_cell_magic(self, magic_name, line, cell):
        if magic_name in ("time", "timeit", "prun"):
            # Gives the traceback of a timed cell its source lines.
            linecache.cache["<timed exec>"] = (len(cell), None, cell.splitlines(True), "<timed exec>")
        return super().run_cell_magic(magic_name, line, cell)

    def has_transformers(self):
        """Whether the user has added transformers to IPython's own."""
        return bool(self.input_transformers_post or self.ast_transformers
                    or len(self.input_transformers_cleanup) != self._cleanups)

    def execution_info(self, source):
        return ExecutionInfo(source, True, False, True, None, transformed_cell=source)

    def format(self, value):
        """`(data, metadata)` of a value, as IPython's formatters make it; for plain text alone, `(text, None)`."""
        if type(value) in quick.KINDS and self._prints_plainly():
            text = quick.text_of(value)
            if text is not None:
                return text, None
        return self.display_formatter.format(value)

    def _prints_plainly(self):
        """Whether nobody has registered other printers for plain values, or wants them shown in other ways."""
        return (self._default_layout and self._printers == self._printers_at_start
                and all(map(_PLAIN_IN_TABLES.isdisjoint, self._other_printers)))

    def _watch_printers(self):
        """Look at the formatters' tables and options once; asking traitlets for each would take most of a cell's time."""
        formatter = self.display_formatter
        plain = formatter.formatters["text/plain"]
        self._printers, self._printers_at_start = plain.type_printers, dict(plain.type_printers)
        others = [other for mime, other in formatter.formatters.items() if mime != "text/plain"]
        others += [formatter.ipython_display_formatter, formatter.mimebundle_formatter]
        self._other_printers = [table for other in others for table in (other.type_printers, other.deferred_printers)]
        options = ("float_format", "pprint", "max_seq_length", "max_width")
        at_start = [getattr(plain, name) for name in options]

        def changed(_):
            self._default_layout = [getattr(plain, name) for name in options] == at_start

        plain.observe(changed, options)
        self._default_layout = True

    def show(self, value, number):
        """Emit a value as the cell's result and remember it in Out, `_` and `_N`."""
        data, metadata = self.format(value)
        self._remember_result(value, number)
        if metadata is None:
            events.plain_result(data)
        elif data:
            events.result(data, metadata)

    def _remember_result(self, value, number):
        ns, hook = self.user_ns, self.displayhook
        outputs = ns.get("_oh")
        if value is outputs or outputs is None:
            return
        if len(outputs) >= hook.cache_size:
            hook.cull_cache()
        # Somebody who uses _ for something else (gettext, a loop) keeps it.
        mine = ns.get("_", hook._) is hook._ and ns.get("__", hook.__) is hook.__ and ns.get("___", hook.___) is hook.___
        hook.___, hook.__, hook._ = hook.__, hook._, value
        if mine and "_" not in builtins.__dict__:
            ns["_"], ns["__"], ns["___"] = hook._, hook.__, hook.___
        ns[f"_{number}"] = value
        outputs[number] = value

    def showtraceback(self, exc_tuple=None, filename=None, tb_offset=None, exception_only=False, running_compiled_code=False):
        """Report an exception of code that IPython ran for the cell (a %%time cell, get_ipython().run_cell)."""
        try:
            _, value, _ = self._get_exc_info(exc_tuple)
        except ValueError:
            print("No traceback available to show.", file=sys.stderr)
            return
        self.failed = True
        errors.report(value)

    def showsyntaxerror(self, filename=None, running_compiled_code=False):
        self.showtraceback()

    def showindentationerror(self):
        self.showtraceback()

    def show_usage_error(self, exc):
        self.failed = True
        errors.report(exc)

    def system(self, cmd):
        """`!command`: the few commands that need no process, or an explanation."""
        self.user_ns["_exit_code"] = 0
        text = commands.run(self.var_expand(cmd, depth=1))
        sys.stdout.write(text)

    system_piped = system_raw = system

    def getoutput(self, cmd, split=True, depth=0):
        """`x = !command`."""
        from IPython.utils.text import SList

        text = commands.run(self.var_expand(cmd, depth=depth + 1))
        return SList(text.splitlines()) if split else text


def leave(code=None, /):
    """exit() and quit(): the end of the cell; the session goes on."""
    raise SystemExit(code)


def create_shell():
    """The shell over `__main__`, without colours, history files, threads or a terminal."""
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.Completer.use_jedi = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.autoindent = False
    config.InteractiveShell.separate_in = ""
    config.InteractiveShell.banner1 = ""
    main = sys.modules["__main__"]
    shell = Shell.instance(config=config, user_module=main, user_ns=main.__dict__)
    from . import magics

    shell.register_magics(magics.SandpoolMagics, magics.ScriptMagics)
    shell.ready()
    return shell
