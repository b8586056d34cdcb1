"""A connection that is none: gathers the HTTP/1.1 request that a library writes, has the host carry it out, and gives the
answer back as the bytes that a server would have sent.

A connection serves one request, and says so in its answer (`Connection: close`), which every library understands.
"""

import errno
import re

from . import network

ONLY_HTTP = ("only HTTP and HTTPS requests go out of this sandbox: there are no sockets, and no other protocol. "
             "Use a container session pool for code that needs one.")

# What stands in for the handshake where a library does its TLS over buffers: the bytes after it are to go by TLS. It
# begins as a TLS record does, so that no request looks like it.
TLS_MARK = b"\x16sandpool: https from here on\n"

_MOST_HEAD_BYTES = 256 << 10
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.[01]")
# How an answer is framed is ours to say; the host has taken its frame off.
_FRAMING = {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Exchange:
    """One request and its answer."""

    def __init__(self, host, port):
        self.host, self.port, self.tls = host, port, False
        self._written = bytearray()
        self._request = None  # method, target, headers
        self._body, self._body_left, self._chunked = bytearray(), 0, False
        self._expects = self.complete = False
        self._answer = []  # parts that have not been read
        self._failure = None

    def write(self, data, timeout=None):
        """Take bytes that were written. The last ones carry the request out: what a library meets as it connects, or as it
        sends, it meets here (OSError); a timeout, and what comes after a connection, it meets as it reads."""
        if self.complete:
            raise BrokenPipeError(errno.EPIPE, "the connection is closed after its first request")
        self._written += data
        if self._request is None and not self._read_head():
            return
        self.complete = self._read_chunks() if self._chunked else self._read_body()
        if self.complete:
            self._carry_out(timeout)

    def read(self, most, peek=False):
        """At most so many bytes of the answer; none at its end."""
        if not self.complete:
            return self._interim()
        if self._failure is not None:
            raise self._failure
        while self._answer:
            part = self._answer[0][:most]
            if not peek:
                self._answer[0] = self._answer[0][len(part):]
                if not self._answer[0]:
                    del self._answer[0]
            return bytes(part)
        return b""

    def _interim(self):
        if self._expects:
            self._expects = False
            return b"HTTP/1.1 100 Continue\r\n\r\n"
        raise OSError(errno.EPROTONOSUPPORT, ONLY_HTTP)

    def _read_head(self):
        written = self._written
        while written.startswith(TLS_MARK):
            self.tls = True
            del written[:len(TLS_MARK)]
        if not written or TLS_MARK.startswith(written):
            return False
        line_end = written.find(b"\r\n")
        line = _REQUEST_LINE.fullmatch(written, 0, line_end) if line_end >= 0 else None
        if line is None and (line_end >= 0 or len(written) > _MOST_HEAD_BYTES or not written[:1].isalpha()):
            raise OSError(errno.EPROTONOSUPPORT, ONLY_HTTP)
        end = written.find(b"\r\n\r\n")
        if end < 0:
            if len(written) > _MOST_HEAD_BYTES:
                raise OSError(errno.EMSGSIZE, "the request's headers are too long")
            return False
        fields = bytes(written[line_end + 2:end]).decode("latin-1")
        self._take_head(line[1].decode(), line[2].decode("latin-1"), fields)
        del written[:end + 4]
        return True

    def _take_head(self, method, target, fields):
        headers = []
        for field in fields.split("\r\n") if fields else ():
            name, colon, value = field.partition(":")
            if not colon:
                raise OSError(errno.EPROTO, "a header of the request is malformed")
            value = value.strip(" \t")
            match name.lower():
                case "transfer-encoding":
                    self._chunked = value.lower().endswith("chunked")
                case "content-length":
                    if not value.isdecimal():
                        raise OSError(errno.EPROTO, "the request's Content-Length is no number")
                    self._body_left = int(value)
                case "expect":
                    self._expects = value.lower() == "100-continue"
                case _:
                    headers.append([name, value])
        if not target.startswith("/"):
            raise OSError(errno.EPROTONOSUPPORT, "proxies are not supported: requests go out through the sandbox's host")
        self._request = method, target, headers

    def _read_body(self):
        part = self._written[:self._body_left]
        self._body += part
        self._body_left -= len(part)
        del self._written[:len(part)]
        return self._body_left == 0

    def _read_chunks(self):
        while (end := self._written.find(b"\r\n")) >= 0:
            try:
                size = int(self._written[:end].partition(b";")[0], 16)
            except ValueError:
                raise OSError(errno.EPROTO, "a chunk of the request is malformed") from None
            if size == 0:
                # Trailers, if any, end with an empty line.
                return self._written.find(b"\r\n\r\n", end) >= 0
            if len(self._written) < end + 2 + size + 2:
                return False
            self._body += self._written[end + 2:end + 2 + size]
            del self._written[:end + 2 + size + 2]
        return False

    def _carry_out(self, timeout):
        method, target, headers = self._request
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        port = "" if self.port == usual else f":{self.port}"
        url = f"{scheme}://{network.bracketed(self.host)}{port}{target}"
        try:
            response = network.request(method, url, headers, self._body, timeout)
        except (TimeoutError, ConnectionResetError) as failure:
            self._failure = failure
        except OSError as failure:
            # Some libraries write on regardless, and look for the reason as they read.
            self._failure = failure
            raise
        else:
            self._answer = [memoryview(part) for part in (_head(method, response), response.body) if part]


def _head(method, response):
    """The answer's head, as a server that closes the connection after it sends it."""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    # There is no body after these, whatever length they tell.
    bodiless = method == "HEAD" or response.status in (204, 304)
    for name, value in response.headers:
        if name not in _FRAMING or (bodiless and name == "content-length"):
            lines.append(f"{name}: {value}")
    if not bodiless:
        lines.append(f"content-length: {len(response.body)}")
    return "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1", "replace")
