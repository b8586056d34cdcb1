"""The guest's side of a session: what the reactor calls (see guest/reactor.c).

`initialize` runs once while the image is made, `prepare` or `reseed` in every new session, `run_cell` for every cell. Nothing here is
trusted by the host: user code shares the interpreter and can change all of it, to nobody's harm but its own.
"""

import gc
import os
import sys
import traceback

from . import platform, streams

# Before anything else is imported: what is imported later must already find the streams and the platform as they will be.
streams.install()
platform.install()

from . import cell, preload, session  # noqa: E402

prepare = session.prepare
reseed = session.reseed
run_cell = cell.run_cell


def initialize():
    """Import and warm up everything that the image is to hold."""
    try:
        _initialize()
    except BaseException:
        # Whatever the streams are doing, this is to be read by whoever builds the image.
        os.write(2, traceback.format_exc().encode())
        raise


def _initialize():
    preload.import_modules()
    cell.start()
    platform.finish()
    preload.warm_up()
    os.chdir("/mnt/data")
    # Modules that a session writes or is sent can be imported, as in an interactive interpreter.
    sys.path.insert(0, "")
    gc.collect()


def freeze():
    """The last thing before the image is taken: collections no longer look at what is in the image."""
    gc.freeze()
