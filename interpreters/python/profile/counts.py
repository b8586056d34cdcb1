#!/usr/bin/env python3
"""`counts.py FOLDER OUT`: what counters.c left in FOLDER, as the text that `llvm-profdata merge` reads.

The formats are LLVM's raw profile data, version 10 (compiler-rt/include/profile/InstrProfData.inc), on a 32-bit machine.
"""

import collections
import hashlib
import struct
import sys
from pathlib import Path

# Functions that ran less often at their hottest are not worth their lines.
LEAST_COUNT = 1000
# Larger counts are rounded to so many digits: more would only change with every recording.
DIGITS = 3
# Values kept for each place where one is watched (targets of indirect calls, sizes of copies).
VALUES_KEPT = 8

# name hash, structure hash, counters, bitmap, function, values, number of counters, value sites of three kinds, bitmap bytes
RECORD = struct.Struct("<8sQ4II3HHI")
RECORD_BYTES = 48
NODE = struct.Struct("<2I2Q")
INDIRECT_CALL, COPY_SIZE = 0, 1


def names(data):
    """Function names by the hash that the records have."""
    found, at = {}, 0
    while at < len(data):
        if data[at] == 0:  # padding
            at += 1
            continue
        length, at = uleb128(data, at)
        compressed, at = uleb128(data, at)
        if compressed:
            sys.exit("counts: the names are compressed; this reads plain ones")
        for name in data[at:at + length].split(b"\1"):
            found[hashlib.md5(name).digest()[:8]] = without_folder(name.decode())
        at += length
    return found


def uleb128(data, at):
    """A variable-length number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at


def without_folder(name):
    """Static functions are called `FILE;NAME`; the file's folder differs from machine to machine."""
    file, separator, function = name.partition(";")
    return f"{Path(file).name};{function}" if separator else name


def rounded(count):
    text = str(count)
    return count if len(text) <= DIGITS else int(text[:DIGITS]) * 10 ** (len(text) - DIGITS)


class Recording:
    """The five files of counters.c."""

    def __init__(self, folder):
        def read(name):
            return (folder / f"prof.{name}").read_bytes()

        self.records_at, self.counters_at = struct.unpack("<2I", read("at"))
        self.records, self.counters = read("data"), read("cnts")
        self.names = names(read("names"))
        self.values = collections.defaultdict(list)
        for record, site, value, count in NODE.iter_unpack(read("nodes")):
            if count:
                self.values[record, site].append((count, value))

    def functions(self):
        """Lines of each function that ran often enough, by name."""
        called = {}
        for at in range(0, len(self.records), RECORD_BYTES):
            fields = RECORD.unpack_from(self.records, at)
            called[fields[4]] = self.names.get(fields[0])
        seen = {}
        for at in range(0, len(self.records), RECORD_BYTES):
            name, shape, counters, _, _, _, number, calls, copies, *_ = RECORD.unpack_from(self.records, at)
            offset = (self.records_at + at + counters - self.counters_at) % (1 << 32)
            counts = struct.unpack_from(f"<{number}Q", self.counters, offset)
            key = (self.names[name], shape)
            if key in seen or max(counts, default=0) < LEAST_COUNT:
                continue
            sites = {INDIRECT_CALL: calls, COPY_SIZE: copies}
            seen[key] = [key[0], shape, number, *map(rounded, counts), *self._values(self.records_at + at, sites, called)]
        return [seen[key] for key in sorted(seen)]

    def _values(self, record, sites, called):
        lines, base = [], 0
        kinds = [kind for kind, number in sites.items() if number]
        if kinds:
            lines.append(len(kinds))
        for kind in kinds:
            lines += [kind, sites[kind]]
            for site in range(sites[kind]):
                values = sorted(self.values.get((record, base + site), []), reverse=True)[:VALUES_KEPT]
                if kind == INDIRECT_CALL:
                    values = [(count, called[value]) for count, value in values if called.get(value)]
                lines.append(len(values))
                lines += [f"{value}:{count}" for count, value in values]
            base += sites[kind]
        return lines


def main():
    folder, out = map(Path, sys.argv[1:3])
    functions = Recording(folder).functions()
    out.write_text(":ir\n" + "".join("\n".join(map(str, lines)) + "\n\n" for lines in functions))
    print(f"{len(functions)} functions")


if __name__ == "__main__":
    main()
