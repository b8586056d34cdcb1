"""Connections of asyncio over an `exchange.Exchange`. The loop stands still while the host carries a request out: nothing else
could run in this interpreter that would not wait for the same thread."""

import asyncio
import errno

from . import sockets, tls
from .exchange import ONLY_HTTP

_PART_BYTES = 256 << 10


class Transport(asyncio.Transport):
    """Takes a request, and gives its protocol the answer."""

    def __init__(self, loop, protocol, sock):
        super().__init__({"peername": sock.getpeername(), "sockname": sock.getsockname(), "socket": sock})
        self._loop, self._protocol, self._socket, self._exchange = loop, protocol, sock, sock._exchange
        self._closing = self._paused = self._answering = False

    def write(self, data):
        if self._closing:
            return
        try:
            self._exchange.write(data)
        except OSError as failure:
            self._end(failure)
            return
        if self._exchange.complete and not self._answering:
            self._answering = True
            self._loop.call_soon(self._answer)

    def _answer(self):
        """Hand over the next part, and come again for the one after it."""
        if self._closing or self._paused:
            return
        try:
            part = self._exchange.read(_PART_BYTES)
        except OSError as failure:
            self._end(failure)
            return
        if part:
            self._hand_over(part)
            self._loop.call_soon(self._answer)
        else:
            self._protocol.eof_received()
            self._end(None)

    def _hand_over(self, part):
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(part)
            return
        while part:
            room = self._protocol.get_buffer(len(part))
            taken = min(len(room), len(part))
            memoryview(room)[:taken] = part[:taken]
            self._protocol.buffer_updated(taken)
            part = part[taken:]

    def _end(self, failure):
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, failure)

    def _lose(self, failure):
        self._protocol.connection_lost(failure)
        self._socket.close()

    def pause_reading(self):
        self._paused = True

    def resume_reading(self):
        if self._paused:
            self._paused = False
            if self._answering:
                self._loop.call_soon(self._answer)

    def is_reading(self):
        return not self._paused and not self._closing

    def close(self):
        self._end(None)

    abort = close

    def is_closing(self):
        return self._closing

    def get_protocol(self):
        return self._protocol

    def set_protocol(self, protocol):
        self._protocol = protocol

    def can_write_eof(self):
        return False

    def get_write_buffer_size(self):
        return 0

    def get_write_buffer_limits(self):
        return 0, 0

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def secure(self, context, server_hostname):
        """From here on it asks by https."""
        import ssl

        context = ssl.create_default_context() if context is True else context
        self._exchange.tls = True
        self._extra |= {"sslcontext": context, "ssl_object": tls.Connection(context, False, server_hostname)}


async def create_connection(loop, factory, host=None, port=None, *, ssl=None, sock=None, server_hostname=None, **_options):
    """Stands in for the event loop's method of this name."""
    if sock is None:
        if host is None or port is None:
            raise OSError(errno.EPROTONOSUPPORT, ONLY_HTTP)
        sock = sockets.Socket()
        sock.connect((host, int(port)))
    protocol = factory()
    transport = Transport(loop, protocol, sock)
    if ssl:
        transport.secure(ssl, server_hostname or sock.getpeername()[0])
    protocol.connection_made(transport)
    return transport, protocol


async def start_tls(loop, transport, protocol, sslcontext, *, server_side=False, server_hostname=None, **_options):
    """Stands in for the event loop's method of this name."""
    transport.secure(sslcontext, server_hostname)
    transport.set_protocol(protocol)
    return transport
