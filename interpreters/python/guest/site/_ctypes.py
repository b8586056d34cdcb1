"""What CPython's ctypes is built on, without foreign functions: there are no shared libraries here to call.

Types have their sizes, values and layouts, in memory of their own, so libraries that describe data with them (or only import
them) work. Addresses do not exist: what needs one says so.
"""

import struct
import sys

__version__ = "1.1.0"
RTLD_LOCAL, RTLD_GLOBAL = 0, 256
FUNCFLAG_CDECL, FUNCFLAG_PYTHONAPI, FUNCFLAG_USE_ERRNO, FUNCFLAG_USE_LASTERROR = 1, 4, 8, 16
SIZEOF_TIME_T = 8
CTYPES_MAX_ARGCOUNT = 1024

_WHY = ("ctypes cannot call foreign functions or use addresses: this Python runs in WebAssembly, where there are no shared "
        "libraries. Use a container session pool for code that needs them.")
# Types that struct knows by another name when their size is said; pointers have 4 bytes.
_ADDRESS = "I" if struct.calcsize("P") == 4 else "Q"
_FORMATS = {"z": _ADDRESS, "Z": _ADDRESS, "P": _ADDRESS, "O": _ADDRESS, "u": "I", "g": "d", "v": "h",
            "l": "i" if struct.calcsize("l") == 4 else "q", "L": "I" if struct.calcsize("l") == 4 else "Q"}
_pointer_type_cache = {}
_errno = 0


class ArgumentError(Exception):
    pass


def _refuse(*_arguments, **_options):
    raise OSError(_WHY)


def _align(offset, alignment):
    return -(-offset // alignment) * alignment


class _Meta(type):
    """The class of all types: they have a size, and `type * n` is an array type."""

    def __mul__(cls, count):
        if not isinstance(count, int):
            raise TypeError(f"can't multiply sequence by non-int of type {type(count).__name__!r}")
        if count < 0:
            raise ValueError("Array length must be >= 0, not %d" % count)
        known = cls.__dict__.get("_arrays")
        if known is None:
            known = cls._arrays = {}
        if count not in known:
            known[count] = type(Array)(f"{cls.__name__}_Array_{count}", (Array,), {"_type_": cls, "_length_": count})
        return known[count]

    __rmul__ = __mul__

    def from_buffer(cls, source, offset=0):
        view = memoryview(source).cast("B")
        if view.readonly:
            raise TypeError("underlying buffer is not writable")
        return cls._over(view, offset)

    def from_buffer_copy(cls, source, offset=0):
        return cls._over(memoryview(bytearray(memoryview(source).cast("B"))), offset)

    def _over(cls, view, offset, owner=None):
        if offset < 0:
            raise ValueError("offset cannot be negative")
        if len(view) - offset < cls._size:
            raise ValueError(f"Buffer size too small ({len(view)} instead of at least {cls._size + offset} bytes)")
        self = cls.__new__(cls)
        self._memory, self._owner = view[offset:offset + cls._size], owner
        return self

    def from_param(cls, value):
        if isinstance(value, cls):
            return value
        return cls(value)

    from_address = in_dll = _refuse


class _Data(metaclass=_Meta):
    _size, _alignment = 0, 1

    def __new__(cls, *_arguments, **_options):
        self = object.__new__(cls)
        self._memory, self._owner, self._b_base_ = memoryview(bytearray(cls._size)), None, None
        return self

    def __buffer__(self, _flags):
        return memoryview(self._memory)

    def __ctypes_from_outparam__(self):
        return self

    def _get(self):
        """The value that an item or field of this type has in Python."""
        return self

    @classmethod
    def _store(cls, memory, value):
        """Put `value`, an instance or what one is made from, into memory."""
        if not isinstance(value, cls):
            value = cls(*value) if isinstance(value, tuple) else cls(value)
        memory[:] = value._memory


class _SimpleMeta(_Meta):
    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        code = getattr(cls, "_type_", None)
        if code is None:
            return
        cls._format = "=" + _FORMATS.get(code, code)
        cls._alignment = cls._size = struct.calcsize(cls._format)
        native, foreign = ("__ctype_le__", "__ctype_be__")[::1 if sys.byteorder == "little" else -1]
        setattr(cls, native, cls)
        if not namespace.get("_swapped"):
            other = type(cls)(cls.__name__, (_SimpleCData,), {"_type_": code, "_swapped": True})
            other._format = ("<>"[sys.byteorder == "little"]) + cls._format[1:]
            setattr(cls, foreign, other)
            setattr(other, native, cls)
            setattr(other, foreign, other)


class _SimpleCData(_Data, metaclass=_SimpleMeta):
    _objects = {}

    def __init__(self, value=None):
        if value is not None:
            self.value = value

    @property
    def value(self):
        code = self._type_
        if code in "zZPO":
            return self._owner
        value = struct.unpack(self._format, self._memory)[0]
        return chr(value) if code == "u" else bool(value) if code == "v" else value

    @value.setter
    def value(self, value):
        code = self._type_
        if code in "zZPO":
            if code == "z" and not isinstance(value, (bytes, int, type(None))):
                raise TypeError(f"bytes or integer address expected instead of {type(value).__name__} instance")
            self._owner = value
            return
        if code in "fdg":
            if not isinstance(value, (int, float)):
                raise TypeError(f"must be real number, not {type(value).__name__}")
        elif code == "c":
            value = bytes([value]) if isinstance(value, int) else bytes(value)
        elif code == "u":
            value = ord(value)
        elif code in "?v":
            value = bool(value)
        else:
            if not isinstance(value, int):
                raise TypeError(f"an integer is required (got type {type(value).__name__})")
            value &= (1 << 8 * self._size) - 1
            if code in "bhilq" and value >> 8 * self._size - 1:
                value -= 1 << 8 * self._size
        self._memory[:] = struct.pack(self._format, value)

    def _get(self):
        # Subclasses of the simple types are not converted.
        return self.value if type(self).__bases__ == (_SimpleCData,) else self

    def __bool__(self):
        return bool(self.value)

    def __repr__(self):
        if type(self).__bases__ != (_SimpleCData,):
            return object.__repr__(self)
        return f"{type(self).__name__}({self.value!r})"


class _ArrayMeta(_Meta):
    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        if hasattr(cls, "_type_") and hasattr(cls, "_length_"):
            cls._size, cls._alignment = cls._type_._size * cls._length_, cls._type_._alignment


class Array(_Data, metaclass=_ArrayMeta):
    def __init__(self, *items):
        if len(items) > self._length_:
            raise IndexError("invalid index")
        for index, item in enumerate(items):
            self[index] = item

    def __len__(self):
        return self._length_

    def _place(self, index):
        if index < 0:
            index += self._length_
        if not 0 <= index < self._length_:
            raise IndexError("invalid index")
        return index * self._type_._size

    def __getitem__(self, index):
        if isinstance(index, slice):
            items = [self[i] for i in range(*index.indices(self._length_))]
            code = getattr(self._type_, "_type_", None)
            return b"".join(items) if code == "c" else "".join(items) if code == "u" else items
        return self._type_._over(self._memory, self._place(index), self)._get()

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            places = range(*index.indices(self._length_))
            if len(places) != len(value):
                raise ValueError("Can only assign sequence of same size")
            for place, item in zip(places, value):
                self[place] = item
            return
        place = self._place(index)
        self._type_._store(self._memory[place:place + self._type_._size], value)

    @classmethod
    def _store(cls, memory, value):
        if isinstance(value, (bytes, str)):
            cls._over(memory, 0).value = value
        else:
            super()._store(memory, value)

    def _text(self):
        return getattr(self._type_, "_type_", None)

    def __buffer__(self, _flags):
        """Numbers with their format and shape, anything else as bytes."""
        kind, shape = type(self), []
        while isinstance(kind, _ArrayMeta):
            shape.append(kind._length_)
            kind = kind._type_
        code = {"l": "i", "L": "I"}.get(getattr(kind, "_type_", ""), getattr(kind, "_type_", ""))
        if code not in tuple("bBhHiIqQfd?c") or 0 in shape or "_swapped" in kind.__dict__:
            return memoryview(self._memory)
        return self._memory.cast(code, shape)

    def _get(self):
        return self.value if self._text() in ("c", "u") else self

    @property
    def raw(self):
        return bytes(self._memory)

    @raw.setter
    def raw(self, value):
        self._memory[:len(value)] = value

    @property
    def value(self):
        if self._text() == "c":
            return bytes(self._memory).split(b"\0", 1)[0]
        if self._text() == "u":
            return self[:].split("\0", 1)[0]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute 'value'")

    @value.setter
    def value(self, value):
        if len(value) > self._length_:
            raise ValueError("byte string too long" if self._text() == "c" else "string too long")
        for index, item in enumerate(value):
            self[index] = item
        if len(value) < self._length_:
            self[len(value)] = b"\0" if self._text() == "c" else "\0"


class _Field:
    """A field of a structure."""

    def __init__(self, name, kind, offset, bits=None):
        self.name, self.kind, self.offset, self.bits = name, kind, offset, bits
        self.size = kind._size

    def __get__(self, owner, cls=None):
        if owner is None:
            return self
        value = self.kind._over(owner._memory, self.offset, owner)._get()
        if self.bits:
            low, width = self.bits
            value = value >> low & (1 << width) - 1
        return value

    def __set__(self, owner, value):
        memory = owner._memory[self.offset:self.offset + self.size]
        if self.bits:
            low, width = self.bits
            mask = (1 << width) - 1 << low
            value = self.kind._over(memory, 0)._get() & ~mask | value << low & mask
        self.kind._store(memory, value)


class _StructMeta(_Meta):
    _union = False

    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        if "_fields_" in namespace:
            # Structures of the other byte order override __setattr__.
            cls._fields_ = namespace["_fields_"]

    def __setattr__(cls, name, value):
        super().__setattr__(name, value)
        if name == "_fields_":
            cls._lay_out(value)

    def _lay_out(cls, fields):
        base = next((kind for kind in cls.__mro__[1:] if "_names" in kind.__dict__), None)
        names, offset, alignment = (list(base._names), base._size, base._alignment) if base else ([], 0, 1)
        pack, unit, used, largest = getattr(cls, "_pack_", 0), None, 0, offset
        for field in fields:
            name, kind, *width = field
            step = min(kind._alignment, pack) if pack else kind._alignment
            if width and unit is kind and used + width[0] <= 8 * kind._size and not cls._union:
                place, low = offset - kind._size, used
            else:
                place = 0 if cls._union else _align(offset, step)
                offset, low = place + kind._size, 0
            unit, used = (kind, low + width[0]) if width else (None, 0)
            alignment, largest = max(alignment, step), max(largest, offset)
            type.__setattr__(cls, name, _Field(name, kind, place, (low, width[0]) if width else None))
            names.append(name)
        type.__setattr__(cls, "_names", names)
        type.__setattr__(cls, "_alignment", alignment)
        type.__setattr__(cls, "_size", _align(largest, alignment))


class Structure(_Data, metaclass=_StructMeta):
    def __init__(self, *values, **named):
        names = getattr(self, "_names", [])
        if len(values) > len(names):
            raise TypeError("too many initializers")
        for name, value in (*zip(names, values), *named.items()):
            setattr(self, name, value)


class _UnionMeta(_StructMeta):
    _union = True


class Union(_Data, metaclass=_UnionMeta):
    __init__ = Structure.__init__


class _PointerMeta(_Meta):
    pass


class _Pointer(_Data, metaclass=_PointerMeta):
    """Points at an object of Python's; there are no addresses."""

    _size = _alignment = struct.calcsize("P")

    def __init__(self, target=None):
        self._owner = target

    @property
    def contents(self):
        if self._owner is None:
            raise ValueError("NULL pointer access")
        return self._owner

    @contents.setter
    def contents(self, target):
        self._owner = target

    def __bool__(self):
        return self._owner is not None

    def __getitem__(self, index):
        target = self.contents
        if isinstance(target, Array):
            return target[index]
        if index != 0:
            raise OSError(_WHY)
        return target._get()

    def __setitem__(self, index, value):
        target = self.contents
        if isinstance(target, Array):
            target[index] = value
        elif index != 0:
            raise OSError(_WHY)
        else:
            type(target)._store(target._memory, value)


class CFuncPtr(_Data, metaclass=_PointerMeta):
    _size = _alignment = struct.calcsize("P")
    _flags_ = FUNCFLAG_CDECL
    restype = argtypes = errcheck = None

    def __init__(self, *arguments):
        if arguments and isinstance(arguments[0], tuple):
            raise AttributeError(f"function {arguments[0][0]!r} not found: {_WHY}")
        self._function = arguments[0] if arguments and callable(arguments[0]) else None

    def __bool__(self):
        return True

    def __call__(self, *arguments, **named):
        if self._function is None:
            raise OSError(_WHY)
        return self._function(*arguments, **named)


def POINTER(kind):
    if kind not in _pointer_type_cache:
        name = kind if isinstance(kind, str) else "c_void" if kind is None else kind.__name__
        _pointer_type_cache[kind] = type(_Pointer)(f"LP_{name}", (_Pointer,), {"_type_": kind})
    return _pointer_type_cache[kind]


def pointer(target):
    return POINTER(type(target))(target)


def byref(target, offset=0):
    if not isinstance(target, _Data):
        raise TypeError(f"byref() argument must be a ctypes instance, not {type(target).__name__!r}")
    if offset:
        raise OSError(_WHY)
    return pointer(target)


def sizeof(kind):
    if isinstance(kind, _Data):
        return len(kind._memory)
    if isinstance(kind, _Meta):
        return kind._size
    raise TypeError("this type has no size")


def alignment(kind):
    if isinstance(kind, (_Data, _Meta)):
        return kind._alignment
    raise TypeError("no alignment info")


def resize(target, size):
    if size < type(target)._size:
        raise ValueError(f"minimum size is {type(target)._size}")
    memory = bytearray(size)
    memory[:len(target._memory)] = target._memory[:size]
    target._memory = memoryview(memory)


def get_errno():
    return _errno


def set_errno(value):
    global _errno
    before, _errno = _errno, value
    return before


def dlopen(name, _flags=0):
    if name is None:
        return 0
    raise OSError(f"{name}: {_WHY}")


addressof = dlsym = dlclose = call_function = call_cdeclfunction = PyObj_FromPtr = _refuse
buffer_info = _unpickle = _refuse
# ctypes makes functions of these "addresses" when it is imported.
_memmove_addr = _memset_addr = _string_at_addr = _cast_addr = _wstring_at_addr = _memoryview_at_addr = 0
