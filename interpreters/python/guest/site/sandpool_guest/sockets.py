"""What stands in for sockets: enough of `socket` for libraries that speak HTTP over it, each of whose connections is an
`exchange.Exchange`. Names are kept as they are, because the host resolves them. Everything else says that it is not there."""

import errno
import itertools
import socket as standard

from . import network
from .exchange import ONLY_HTTP, Exchange

NO_RESOLVER = "names are not resolved in this sandbox: the host does it for HTTP and HTTPS requests, which work by name"

# Far from the descriptors that files have. SSLSocket takes a connection over by its number.
_numbers = itertools.count(1 << 20)
_descriptors = {}

_STREAM = standard.SOCK_STREAM
_FAMILIES = {standard.AF_INET, getattr(standard, "AF_INET6", standard.AF_INET)}
_PEEK = getattr(standard, "MSG_PEEK", 0)


class _Descriptor:
    """What a socket's number stands for."""

    def __init__(self, family, proto):
        self.family, self.proto = family, proto
        self.exchange = None
        self.timeout = standard.getdefaulttimeout()
        self.options = {}


def _refuse(*_arguments, **_options):
    raise OSError(errno.EPROTONOSUPPORT, ONLY_HTTP)


class Socket(standard.socket):
    """A socket that connects to what the session's pool lets out, and speaks HTTP."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        self._io_refs, self._closed, self._number = 0, False, -1
        if fileno is not None:
            if fileno not in _descriptors:
                raise OSError(errno.EBADF, "no such socket")
            self._number = fileno
            return
        family = standard.AF_INET if family == -1 else family
        if family not in _FAMILIES or type not in (-1, _STREAM):
            _refuse()
        self._number = next(_numbers)
        _descriptors[self._number] = _Descriptor(family, max(proto, 0))

    def __del__(self):
        _descriptors.pop(getattr(self, "_number", -1), None)

    def __repr__(self):
        return f"<socket.socket fd={self.fileno()}>"

    @property
    def _descriptor(self):
        try:
            return _descriptors[self._number]
        except KeyError:
            raise OSError(errno.EBADF, "the socket is closed") from None

    @property
    def _exchange(self):
        exchange = self._descriptor.exchange
        if exchange is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return exchange

    @property
    def family(self):
        return standard.AddressFamily(self._descriptor.family)

    @property
    def type(self):
        return standard.SocketKind(_STREAM)

    @property
    def proto(self):
        return self._descriptor.proto

    @property
    def timeout(self):
        return self._descriptor.timeout

    def connect(self, address):
        if self._descriptor.exchange is not None:
            raise OSError(errno.EISCONN, "the socket is connected")
        if not isinstance(address, tuple) or len(address) < 2:
            raise TypeError("an address is a tuple of host and port")
        host, port = _name(address[0]) or "localhost", address[1]
        if not isinstance(port, int):
            raise TypeError("a port is a number")
        if not 0 < port < 65536:
            raise OverflowError("a port is from 1 to 65535")
        network.probe(host, port)
        self._descriptor.exchange = Exchange(host, port)

    def connect_ex(self, address):
        try:
            self.connect(address)
        except OSError as failure:
            return failure.errno or errno.EIO
        return 0

    def getpeername(self):
        exchange = self._exchange
        return exchange.host, exchange.port

    def getsockname(self):
        self._descriptor
        return "0.0.0.0", 0

    def send(self, data, flags=0):
        data = memoryview(data).cast("B")
        self._exchange.write(data, self.timeout or None)
        return data.nbytes

    def sendall(self, data, flags=0):
        self.send(data, flags)

    def sendmsg(self, buffers, ancdata=(), flags=0, address=None):
        return sum(self.send(data) for data in buffers)

    def recv(self, bufsize, flags=0):
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        exchange = self._exchange
        if self.timeout == 0 and not exchange.complete:
            raise BlockingIOError(errno.EAGAIN, "the request is not complete")
        return exchange.read(bufsize, bool(flags & _PEEK))

    def recv_into(self, buffer, nbytes=0, flags=0):
        room = memoryview(buffer).cast("B")
        part = self.recv(nbytes or len(room), flags)
        room[:len(part)] = part
        return len(part)

    def recvfrom(self, bufsize, flags=0):
        return self.recv(bufsize, flags), self.getpeername()

    def settimeout(self, value):
        if value is not None:
            value = float(value)
            if value < 0:
                raise ValueError("Timeout value out of range")
        self._descriptor.timeout = value

    def gettimeout(self):
        return self.timeout

    def setblocking(self, flag):
        self.settimeout(None if flag else 0.0)

    def getblocking(self):
        return self.timeout != 0

    def setsockopt(self, level, optname, value=None, optlen=None):
        self._descriptor.options[level, optname] = value

    def getsockopt(self, level, optname, buflen=0):
        if (level, optname) == (standard.SOL_SOCKET, standard.SO_TYPE):
            return int(_STREAM)
        value = self._descriptor.options.get((level, optname), 0)
        return value if isinstance(value, int) else 0

    def shutdown(self, how):
        self._exchange

    def fileno(self):
        return self._number

    def _real_close(self, *_):
        _descriptors.pop(self._number, None)
        self._number = -1

    def detach(self):
        self._closed = True
        number, self._number = self._number, -1
        return number

    bind = listen = accept = _accept = sendto = recvfrom_into = recvmsg = recvmsg_into = dup = sendfile_fd = _refuse


Socket.__module__, Socket.__name__, Socket.__qualname__ = "socket", "socket", "socket"


def _name(host):
    if host is None:
        return ""
    return host.decode("ascii") if isinstance(host, (bytes, bytearray)) else str(host)


_SERVICES = {"http": 80, "https": 443}


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """One entry whose address is the name itself: connecting to it has the host resolve it."""
    host = _name(host) or "localhost"
    number = _name(port) or "0"
    if number not in _SERVICES and not number.isdecimal():
        raise standard.gaierror(standard.EAI_SERVICE, f"unknown service {number}")
    number = _SERVICES.get(number) or int(number)
    six = getattr(standard, "AF_INET6", None)
    family = family or (six if six and ":" in host else standard.AF_INET)
    address = (host, number, 0, 0) if family == six else (host, number)
    kind = type or _STREAM
    return [(standard.AddressFamily(family), standard.SocketKind(kind), proto or 6, "", address)]


def _no_resolver(*_arguments, **_options):
    raise standard.gaierror(standard.EAI_FAIL, NO_RESOLVER)


def install():
    """Put the stand-ins into the standard module, before anything else imports it."""
    for name, number in {"EAI_NONAME": -2, "EAI_FAIL": -4, "EAI_SERVICE": -8}.items():
        if not hasattr(standard, name):
            setattr(standard, name, number)
    standard.socket = standard.SocketType = Socket
    standard.getaddrinfo = getaddrinfo
    standard.gethostname = lambda: "sandpool"
    standard.getfqdn = lambda name="": name or "sandpool"
    for name in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        setattr(standard, name, _no_resolver)
    for name in ("socketpair", "create_server", "fromfd"):
        setattr(standard, name, _refuse)
    # Libraries choose by it between two ways of saying the same.
    standard.has_ipv6 = False
