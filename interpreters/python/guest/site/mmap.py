"""Files as memory, without mapping: WASI has none. A map is a copy, which flush() and close() write back."""

import os

ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY = 0, 1, 2, 3
MAP_SHARED, MAP_PRIVATE, MAP_ANON, MAP_ANONYMOUS = 1, 2, 32, 32
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
ALLOCATIONGRANULARITY = PAGESIZE = 65536
error = OSError


class mmap:
    """A file's bytes, or (with -1 for a file) memory of its own."""

    def __init__(self, fileno, length, flags=MAP_SHARED, prot=PROT_READ | PROT_WRITE, access=ACCESS_DEFAULT, offset=0):
        if length < 0:
            raise OverflowError("memory mapped length must be positive")
        if offset < 0:
            raise OverflowError("memory mapped offset must be positive")
        if access == ACCESS_DEFAULT:
            access = ACCESS_COPY if flags & MAP_PRIVATE else ACCESS_WRITE if prot & PROT_WRITE else ACCESS_READ
        self._file, self._offset, self._access, self._at, self._data = fileno, offset, access, 0, None
        if fileno == -1:
            self._data = bytearray(length)
            return
        size = os.fstat(fileno).st_size
        if length == 0:
            if size == 0:
                raise ValueError("cannot mmap an empty file")
            length = size - offset
        if offset + length > size:
            raise ValueError("mmap length is greater than file size")
        self._data = bytearray(self._each(lambda part, at: os.pread(fileno, part, at), length))

    def _each(self, read, length):
        found = bytearray()
        while len(found) < length and (part := read(length - len(found), self._offset + len(found))):
            found += part
        return found.ljust(length, b"\0")

    def _open(self):
        if self._data is None:
            raise ValueError("mmap closed or invalid")
        return self._data

    def _writable(self):
        if self._access == ACCESS_READ:
            raise TypeError("mmap can't modify a readonly memory map.")
        return self._open()

    def __buffer__(self, _flags):
        view = memoryview(self._open())
        return view.toreadonly() if self._access == ACCESS_READ else view

    def __len__(self):
        return len(self._open())

    def __getitem__(self, index):
        part = self._open()[index]
        return bytes(part) if isinstance(index, slice) else part

    def __setitem__(self, index, value):
        data = self._writable()
        if isinstance(index, slice) and len(data[index]) != len(value):
            raise IndexError("mmap slice assignment is wrong size")
        data[index] = value

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def __iter__(self):
        return (bytes([byte]) for byte in self._open())

    @property
    def closed(self):
        return self._data is None

    def close(self):
        if self._data is not None:
            self.flush()
            self._data = None

    def __del__(self):
        try:
            self.close()
        except (OSError, AttributeError):
            pass

    def flush(self, offset=0, size=None):
        data = self._open()
        if self._file != -1 and self._access == ACCESS_WRITE:
            at, end = offset, len(data) if size is None else offset + size
            while at < end:
                at += os.pwrite(self._file, data[at:end], self._offset + at)

    def find(self, sub, start=None, end=None):
        return self._open().find(sub, self._at if start is None else start, len(self._data) if end is None else end)

    def rfind(self, sub, start=None, end=None):
        return self._open().rfind(sub, self._at if start is None else start, len(self._data) if end is None else end)

    def read(self, count=None):
        data = self._open()
        end = len(data) if count is None or count < 0 else min(self._at + count, len(data))
        part, self._at = bytes(data[self._at:end]), max(end, self._at)
        return part

    def read_byte(self):
        part = self.read(1)
        if not part:
            raise ValueError("read byte out of range")
        return part[0]

    def readline(self):
        end = self._open().find(b"\n", self._at)
        return self.read(-1 if end < 0 else end + 1 - self._at)

    def write(self, data):
        here = self._writable()
        if self._at + len(data) > len(here):
            raise ValueError("data out of range")
        here[self._at:self._at + len(data)] = data
        self._at += len(data)
        return len(data)

    def write_byte(self, byte):
        self.write(bytes([byte]))

    def move(self, dest, src, count):
        data = self._writable()
        data[dest:dest + count] = data[src:src + count]

    def seek(self, position, whence=0):
        target = position + (0, self._at, len(self._open()))[whence]
        if not 0 <= target <= len(self._data):
            raise ValueError("seek out of range")
        self._at = target
        return target

    def seekable(self):
        return True

    def tell(self):
        return self._at

    def size(self):
        return len(self._open()) if self._file == -1 else os.fstat(self._file).st_size

    def resize(self, _size):
        raise SystemError("mmap: resizing not available")

    def madvise(self, *_advice):
        return None
