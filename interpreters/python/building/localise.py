"""One object of many, whose symbols nobody else sees: what a shared library is on other platforms.

Statically linked packages share one name space: numpy and pandas bring copies of the same C files, and packages use the
same short names for different functions. So each module's objects are merged, and what the merged object defines is made
local to it, except its PyInit function. (`wasm-ld -r` merges; no tool of LLVM's makes symbols of a wasm object local.)

Also a program, for build systems that link through a driver: `python3 localise.py OBJECT KEPT...`.
"""

import sys
from pathlib import Path

CUSTOM_SECTION = 0
SYMBOL_TABLE = 8
KIND_DATA, KIND_SECTION = 1, 3
BINDING_MASK, BINDING_LOCAL = 3, 2
UNDEFINED, EXPLICIT_NAME = 0x10, 0x40


def merge(compiler, target, objects, keep):
    """Merge `objects` to `target`, leaving only the symbols `keep` visible."""
    compiler.build.run([compiler.bin / "wasm-ld", "-r", "-o", target, *objects], target.parent / "log")
    target.write_bytes(localise(target.read_bytes(), keep))


def localise(module, keep):
    """The object file `module` with every strong symbol that it defines made local, except those in `keep`.

    Weak ones (C++ inline functions, templates) stay: they are the same in every object that has them.
    """
    changed = bytearray(module)
    reader = _Reader(module, 8)
    while reader.position < len(module):
        kind, size = reader.byte(), reader.number()
        end = reader.position + size
        if kind == CUSTOM_SECTION and reader.name() == b"linking":
            reader.number()  # the version of the section
            while reader.position < end:
                part, size = reader.byte(), reader.number()
                after = reader.position + size
                if part == SYMBOL_TABLE:
                    _symbols(reader, changed, {name.encode() for name in keep})
                reader.position = after
        reader.position = end
    return bytes(changed)


def _symbols(reader, changed, keep):
    for _ in range(reader.number()):
        kind = reader.byte()
        place = reader.position
        flags = reader.number()
        name = b""
        if kind == KIND_SECTION:
            reader.number()
        elif kind == KIND_DATA:
            name = reader.name()
            if not flags & UNDEFINED:
                for _ in range(3):  # segment, offset, size
                    reader.number()
        else:
            reader.number()
            if not flags & UNDEFINED or flags & EXPLICIT_NAME:
                name = reader.name()
        if not flags & (UNDEFINED | BINDING_MASK) and kind != KIND_SECTION and name not in keep:
            # The binding is in the lowest bits: the first byte of the number.
            changed[place] |= BINDING_LOCAL


class _Reader:
    """Numbers and names of the WebAssembly binary format."""

    def __init__(self, data, position):
        self.data = data
        self.position = position

    def byte(self):
        self.position += 1
        return self.data[self.position - 1]

    def number(self):
        """An unsigned LEB128."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def name(self):
        size = self.number()
        self.position += size
        return self.data[self.position - size:self.position]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(localise(path.read_bytes(), set(sys.argv[2:])))
