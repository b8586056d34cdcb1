"""Requests to the outside. The host carries them out, under the policy of the session's pool; there is no other way out."""

import errno
import json
from typing import NamedTuple

import _sandpool


class Response(NamedTuple):
    status: int
    reason: str
    headers: list  # of [name, value]
    body: bytes


def request(method, url, headers, body=b"", timeout=None):
    """Ask for a URL and wait for the whole answer. Redirects are answers. `timeout` in seconds; the pool has one of its own.

    Raises OSError, or what is below it, as a socket would; the message says what came in the way.
    """
    head = {"method": method, "url": url, "headers": headers}
    if timeout is not None:
        head["timeout_ms"] = max(1, int(timeout * 1000))
    answer, content = _ask(head, body)
    return Response(answer["status"], answer["reason"], answer["headers"], content)


def probe(host, port):
    """Raise PermissionError unless the pool lets something go to this host and port. Nothing is sent."""
    _ask({"probe": True, "method": "", "url": f"http://{bracketed(host)}:{port}/"}, b"")


def bracketed(host):
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _ask(head, body):
    answer, content = _sandpool.http(json.dumps(head).encode(), body)
    answer = json.loads(answer)
    if (error := answer.get("error")) is not None:
        raise _exception(error["kind"], error["message"])
    return answer, content


_EXCEPTIONS = {
    "refused": (PermissionError, errno.EACCES),
    "limit": (OSError, errno.EDQUOT),
    "invalid": (OSError, errno.EINVAL),
    "connect": (ConnectionRefusedError, errno.ECONNREFUSED),
    "timeout": (TimeoutError, errno.ETIMEDOUT),
    "protocol": (ConnectionResetError, errno.ECONNRESET),
    "interrupted": (InterruptedError, errno.EINTR),
}


def _exception(kind, message):
    if kind == "resolve":
        import socket

        return socket.gaierror(socket.EAI_NONAME, message)
    if kind == "connect" and "certificate" in message:
        import ssl

        failure = ssl.SSLCertVerificationError(1, message)
        failure.reason, failure.library, failure.verify_code, failure.verify_message = "CERTIFICATE_VERIFY_FAILED", "SSL", 1, message
        return failure
    cls, number = _EXCEPTIONS.get(kind, (OSError, errno.EIO))
    return cls(number, message)
