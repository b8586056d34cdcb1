"""Executors and pools without threads and processes: what is submitted runs at once, in the calling thread.

Made by functions, because the modules that they stand in for are imported after the platform is in place.
"""

import itertools


def executor():
    """For concurrent.futures."""
    from concurrent.futures import Executor, Future

    class ThreadPoolExecutor(Executor):
        """An executor without threads: submit() runs the call at once, in the calling thread."""

        def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
            if max_workers is not None and max_workers <= 0:
                raise ValueError("max_workers must be greater than 0")
            self._max_workers = max_workers or 1
            self._initializer, self._initargs = initializer, initargs
            self._shutdown = False

        def submit(self, fn, /, *args, **kwargs):
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._initializer is not None:
                initializer, self._initializer = self._initializer, None
                initializer(*self._initargs)
            future = Future()
            future.set_running_or_notify_cancel()
            try:
                future.set_result(fn(*args, **kwargs))
            except KeyboardInterrupt:
                raise
            except BaseException as failure:
                future.set_exception(failure)
            return future

        def shutdown(self, wait=True, *, cancel_futures=False):
            self._shutdown = True

    ThreadPoolExecutor.__module__ = "concurrent.futures.thread"
    ThreadPoolExecutor.__qualname__ = "ThreadPoolExecutor"
    return ThreadPoolExecutor


def pool():
    """For multiprocessing and multiprocessing.pool."""
    from multiprocessing import TimeoutError as NotReady

    class AsyncResult:
        """A result that is there already."""

        def __init__(self, call, callback=None, error_callback=None):
            self._value = self._failure = None
            try:
                self._value = call()
            except Exception as failure:
                self._failure = failure
            told, what = (callback, self._value) if self._failure is None else (error_callback, self._failure)
            if told is not None:
                told(what)

        def get(self, timeout=None):
            if self._failure is not None:
                raise self._failure
            return self._value

        def wait(self, timeout=None):
            pass

        def ready(self):
            return True

        def successful(self):
            return self._failure is None

    class Pool:
        """A pool of no processes."""

        TimeoutError = NotReady

        def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None):
            if processes is not None and processes < 1:
                raise ValueError("Number of processes must be at least 1")
            if initializer is not None:
                initializer(*initargs)
            self._processes = processes or 1
            self._open = True

        def _check(self):
            if not self._open:
                raise ValueError("Pool not running")

        def apply(self, func, args=(), kwds={}):
            self._check()
            return func(*args, **kwds)

        def map(self, func, iterable, chunksize=None):
            self._check()
            return [func(item) for item in iterable]

        def starmap(self, func, iterable, chunksize=None):
            self._check()
            return [func(*items) for items in iterable]

        def imap(self, func, iterable, chunksize=1):
            self._check()
            return map(func, iterable)

        imap_unordered = imap

        def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
            self._check()
            return AsyncResult(lambda: func(*args, **kwds), callback, error_callback)

        def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
            self._check()
            return AsyncResult(lambda: [func(item) for item in iterable], callback, error_callback)

        def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
            self._check()
            return AsyncResult(lambda: list(itertools.starmap(func, iterable)), callback, error_callback)

        def close(self):
            self._open = False

        terminate = close

        def join(self):
            if self._open:
                raise ValueError("Pool is still running")

        def __enter__(self):
            self._check()
            return self

        def __exit__(self, *_failure):
            self.terminate()

    return Pool
