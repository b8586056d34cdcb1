"""What this platform does not have (threads, processes) says so, and says what to use instead. Sockets: see `sockets`.

Every replacement raises what CPython would raise on a machine that is out of the resource, so that libraries that know how
to do without still do.
"""

import errno
import os
import signal
import sys
import time

import _sandpool

from . import inline

_ELSEWHERE = "Use a container session pool for code that needs it."
NO_THREADS = ("can't start new thread: this Python runs in WebAssembly, without threads. Use asyncio, or "
              "concurrent.futures.ThreadPoolExecutor, which runs its work in the calling thread here. " + _ELSEWHERE)
NO_PROCESSES = ("no processes can be started: this Python runs in WebAssembly, alone. multiprocessing.Pool runs its work in the "
                "calling thread here. " + _ELSEWHERE)


def install():
    """What must be in place before other modules are imported."""
    _install_interrupt()
    _install_sleep()
    _install_os()
    _install_network()


def finish():
    """What needs the modules themselves."""
    _install_builtins()
    _install_threads()
    _install_processes()
    _install_asyncio()
    _install_inspect()


def _install_interrupt():
    signal.signal(signal.SIGINT, _sandpool.interrupted)


def _install_sleep():
    real_sleep, flush = time.sleep, _sandpool.flush

    def sleep(seconds, /):
        """sleep(seconds): delay execution; what was printed is sent before."""
        flush()
        real_sleep(seconds)

    time.sleep = sleep


def _refuse_process(*_arguments, **_options):
    raise OSError(errno.ENOTSUP, NO_PROCESSES)


_PROCESS_NAMES = {"fork", "forkpty", "execv", "execve", "execvp", "execvpe", "execl", "execle", "execlp", "execlpe", "spawnl",
                  "spawnle", "spawnlp", "spawnlpe", "spawnv", "spawnve", "spawnvp", "spawnvpe", "posix_spawn", "posix_spawnp",
                  "kill", "killpg", "wait", "waitpid"}


def _install_os():
    """Libraries ask hasattr(os, "fork"), so it stays absent, but says why."""
    def explain(name):
        why = f": {NO_PROCESSES}" if name in _PROCESS_NAMES else ""
        raise AttributeError(f"module 'os' has no attribute {name!r}{why}", name=name)

    os.__getattr__ = explain
    for name in _PROCESS_NAMES & vars(os).keys():
        delattr(os, name)
    os.system = os.popen = _refuse_process
    os.cpu_count = os.process_cpu_count = lambda: 1
    if not hasattr(os, "getuid"):
        os.getuid = os.geteuid = os.getgid = os.getegid = lambda: 1000
    # Files have no modes here; whoever asks for the mask must get one.
    if not hasattr(os, "umask"):
        os.umask = _umask
    if not hasattr(os, "chmod"):
        os.chmod = lambda path, mode, *, dir_fd=None, follow_symlinks=True: None


_mask = 0o022


def _umask(mask, /):
    """umask(mask): remember it, and give back the one before; nothing else comes of it."""
    global _mask
    before, _mask = _mask, mask & 0o777
    return before


def _install_network():
    """Before anything imports `ssl` or looks whether it is there."""
    from . import sockets, tls

    sys.modules["_ssl"] = tls
    sockets.install()


def _install_builtins():
    """What `site` would have put there; it is not run, because it looks for files that are not there."""
    import site

    site.setcopyright()
    site.sethelper()
    site.setquit()


def _install_threads():
    import _thread
    import concurrent.futures
    import concurrent.futures.thread
    import threading

    def refuse(*_arguments, **_options):
        raise RuntimeError(NO_THREADS)

    _thread.start_new_thread = _thread.start_new = _thread.start_joinable_thread = refuse
    threading._start_new_thread = threading._start_joinable_thread = refuse
    executor = inline.executor()
    concurrent.futures.ThreadPoolExecutor = concurrent.futures.thread.ThreadPoolExecutor = executor
    concurrent.futures.ProcessPoolExecutor = executor


def _install_processes():
    import multiprocessing.pool
    import subprocess

    def refuse(self, *_arguments, **_options):
        self.returncode = None
        self._child_created = False
        raise OSError(errno.ENOTSUP, NO_PROCESSES)

    subprocess.Popen.__init__ = refuse
    multiprocessing.process.BaseProcess.start = _refuse_process
    for name in ("Manager", "Queue", "Lock", "RLock", "Semaphore", "Event", "Pipe", "Value", "Array"):
        setattr(multiprocessing.context.BaseContext, name, _refuse_process)
        setattr(multiprocessing, name, _refuse_process)
    pool = inline.pool()
    multiprocessing.Pool = multiprocessing.pool.Pool = multiprocessing.pool.ThreadPool = pool
    multiprocessing.context.BaseContext.Pool = lambda self, *arguments, **options: pool(*arguments, **options)


def _install_asyncio():
    import asyncio
    from asyncio import events, selector_events, unix_events
    import selectors

    from . import exchange, sockets, transports

    class SleepingSelector(selectors._BaseSelectorImpl):
        """Nothing is ever ready: there are no sockets to wait for. So waiting is sleeping."""

        def select(self, timeout=None):
            if timeout is None:
                if isinstance(interrupt := sys.exception(), KeyboardInterrupt):
                    # asyncio.run() tidies up after an interrupt, which may have lost the step it waits for.
                    raise interrupt
                raise RuntimeError("the event loop would wait for ever: nothing is scheduled that could wake it")
            if timeout > 0:
                time.sleep(timeout)
            return []

    class EventLoop(selector_events.BaseSelectorEventLoop):
        """A loop without a self-pipe: nobody else could write to it."""

        def __init__(self):
            super().__init__(SleepingSelector())

        def _make_self_pipe(self):
            self._ssock = self._csock = None

        def _close_self_pipe(self):
            pass

        def _write_to_self(self):
            pass

        async def _refuse(self, *_arguments, **_options):
            raise OSError(errno.EPROTONOSUPPORT, exchange.ONLY_HTTP)

        create_server = create_datagram_endpoint = create_unix_connection = create_unix_server = _refuse
        create_connection, start_tls = transports.create_connection, transports.start_tls

        async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
            return sockets.getaddrinfo(host, port, family, type, proto, flags)

        async def subprocess_exec(self, *_arguments, **_options):
            raise OSError(errno.ENOTSUP, NO_PROCESSES)

        subprocess_shell = subprocess_exec

        def add_signal_handler(self, sig, callback, *args):
            raise NotImplementedError

        def remove_signal_handler(self, sig):
            return False

    class Policy(events.BaseDefaultEventLoopPolicy):
        _loop_factory = EventLoop

        def get_event_loop(self):
            """The cells' own loop outside of asyncio.run, so that asyncio.get_event_loop() always has an answer."""
            if self._local._loop is None:
                self.set_event_loop(self.new_event_loop())
            return self._local._loop

    asyncio.SelectorEventLoop = asyncio.EventLoop = unix_events.SelectorEventLoop = EventLoop
    asyncio.DefaultEventLoopPolicy = unix_events.DefaultEventLoopPolicy = Policy
    asyncio.set_event_loop_policy(Policy())


def _install_inspect():
    """inspect.getsource(cls) for classes of cells: their module, __main__, has no file."""
    import inspect
    import linecache

    getfile = inspect.getfile

    def getfile_of_cells(object):
        if isinstance(object, type) and object.__module__ == "__main__":
            for name in reversed(linecache.cache):
                if name.startswith("Cell In[") and _defines(linecache.cache[name][2], object):
                    return name
        return getfile(object)

    def _defines(lines, cls):
        first = cls.__dict__.get("__firstlineno__", 0)
        following = [line.strip() for line in lines[max(first - 1, 0):]]
        for line in following:
            if not line.startswith(("@", "#")) and line:
                return line.startswith(f"class {cls.__name__}")
        return False

    inspect.getfile = getfile_of_cells
