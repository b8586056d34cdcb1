"""What every client's test needs: where the gateway is, a fresh session, a picture that a session can show.

No test framework beyond unittest, and nothing of the clients themselves.
"""

import faulthandler
import os
import struct
import tempfile
import unittest
import uuid
import zlib
from pathlib import Path

# A pool with the defaults.
POOL = os.environ["SANDPOOL_POOL"]
# One whose executions end after two seconds unless they ask for more.
BRIEF_POOL = os.environ["SANDPOOL_BRIEF_POOL"]
# The gateway of the tests asks for no key; every client sends one all the same.
TOKEN = "static-token"
# A client that hangs tells where, and ends.
faulthandler.dump_traceback_later(600, exit=True)


def fresh(kind="client"):
    """An identifier that nobody has used."""
    return f"{kind}-{uuid.uuid4()}"


def picture():
    """A PNG of two by two red pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(b"\0\xff\0\0\xff\0\0" * 2)
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def show(png):
    """Code whose result is that picture."""
    return f"from IPython.display import Image\nImage(data={png!r}, format='png')"


class WithFolder(unittest.TestCase):
    """A test with a folder of its own on this side."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, name, data):
        """A local file; its path as text, as the clients want it."""
        path = self.folder / name
        path.write_bytes(data)
        return str(path)
