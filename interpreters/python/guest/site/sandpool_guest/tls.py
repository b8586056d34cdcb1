"""What stands in for `_ssl`, so that the standard library's `ssl` works unmodified: settings are taken and remembered, and the
TLS itself is done by the host, which checks certificates against its own authorities whatever the settings say.

Deliberately does not: encrypt, hold certificates, or let code switch the checking off.
"""

import errno
import os

from .exchange import TLS_MARK

OPENSSL_VERSION = "OpenSSL 3.0.0 (stand-in: TLS is done by the host of the sandbox)"
OPENSSL_VERSION_INFO = _OPENSSL_API_VERSION = (3, 0, 0, 0, 0)
OPENSSL_VERSION_NUMBER = 0x30000000
_DEFAULT_CIPHERS = "DEFAULT"

# OpenSSL's numbers. The `ssl` module makes its enumerations of them, and libraries or them together.
_CONSTANTS = """
PROTOCOL_SSLv23 2 PROTOCOL_TLS 2 PROTOCOL_TLS_CLIENT 16 PROTOCOL_TLS_SERVER 17 PROTOCOL_TLSv1 3 PROTOCOL_TLSv1_1 4 PROTOCOL_TLSv1_2 5
PROTO_MINIMUM_SUPPORTED -2 PROTO_MAXIMUM_SUPPORTED -1 PROTO_SSLv3 768 PROTO_TLSv1 769 PROTO_TLSv1_1 770 PROTO_TLSv1_2 771
PROTO_TLSv1_3 772 CERT_NONE 0 CERT_OPTIONAL 1 CERT_REQUIRED 2 ENCODING_PEM 1 ENCODING_DER 2
OP_ALL 2147483728 OP_NO_SSLv2 0 OP_NO_SSLv3 33554432 OP_NO_TLSv1 67108864 OP_NO_TLSv1_1 268435456 OP_NO_TLSv1_2 134217728
OP_NO_TLSv1_3 536870912 OP_CIPHER_SERVER_PREFERENCE 4194304 OP_SINGLE_DH_USE 0 OP_NO_TICKET 16384 OP_SINGLE_ECDH_USE 0
OP_NO_COMPRESSION 131072 OP_ENABLE_MIDDLEBOX_COMPAT 1048576 OP_NO_RENEGOTIATION 1073741824 OP_IGNORE_UNEXPECTED_EOF 128
OP_ENABLE_KTLS 8 OP_LEGACY_SERVER_CONNECT 4
VERIFY_DEFAULT 0 VERIFY_CRL_CHECK_LEAF 4 VERIFY_CRL_CHECK_CHAIN 12 VERIFY_X509_STRICT 32 VERIFY_ALLOW_PROXY_CERTS 64
VERIFY_X509_TRUSTED_FIRST 32768 VERIFY_X509_PARTIAL_CHAIN 524288
HOSTFLAG_ALWAYS_CHECK_SUBJECT 1 HOSTFLAG_NO_WILDCARDS 2 HOSTFLAG_NO_PARTIAL_WILDCARDS 4 HOSTFLAG_MULTI_LABEL_WILDCARDS 8
HOSTFLAG_SINGLE_LABEL_SUBDOMAINS 16 HOSTFLAG_NEVER_CHECK_SUBJECT 32
HAS_SNI 1 HAS_ECDH 1 HAS_NPN 0 HAS_ALPN 1 HAS_SSLv2 0 HAS_SSLv3 0 HAS_TLSv1 0 HAS_TLSv1_1 0 HAS_TLSv1_2 1 HAS_TLSv1_3 1 HAS_PSK 0
HAS_TLS_UNIQUE 0
SSL_ERROR_SSL 1 SSL_ERROR_WANT_READ 2 SSL_ERROR_WANT_WRITE 3 SSL_ERROR_WANT_X509_LOOKUP 4 SSL_ERROR_SYSCALL 5
SSL_ERROR_ZERO_RETURN 6 SSL_ERROR_WANT_CONNECT 7 SSL_ERROR_EOF 8 SSL_ERROR_INVALID_ERROR_CODE 10
ALERT_DESCRIPTION_CLOSE_NOTIFY 0 ALERT_DESCRIPTION_UNEXPECTED_MESSAGE 10 ALERT_DESCRIPTION_BAD_RECORD_MAC 20
ALERT_DESCRIPTION_HANDSHAKE_FAILURE 40 ALERT_DESCRIPTION_BAD_CERTIFICATE 42 ALERT_DESCRIPTION_CERTIFICATE_EXPIRED 45
ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN 46 ALERT_DESCRIPTION_UNKNOWN_CA 48 ALERT_DESCRIPTION_PROTOCOL_VERSION 70
ALERT_DESCRIPTION_INTERNAL_ERROR 80 ALERT_DESCRIPTION_UNRECOGNIZED_NAME 112
""".split()
globals().update((name, bool(int(number)) if name.startswith("HAS_") else int(number))
                 for name, number in zip(_CONSTANTS[::2], _CONSTANTS[1::2]))

_NO_CERTIFICATES = "TLS is done by the sandbox's host: client certificates and servers are not supported"


class SSLError(OSError):
    library = reason = None


class SSLZeroReturnError(SSLError): ...
class SSLWantReadError(SSLError): ...
class SSLWantWriteError(SSLError): ...
class SSLSyscallError(SSLError): ...
class SSLEOFError(SSLError): ...


class SSLCertVerificationError(SSLError, ValueError):
    verify_code = verify_message = None


for _error in (SSLError, SSLZeroReturnError, SSLWantReadError, SSLWantWriteError, SSLSyscallError, SSLEOFError,
               SSLCertVerificationError):
    _error.__module__ = "ssl"


def _setting(name, default=None):
    """A setting that is remembered and has no effect."""
    key = "_set_" + name
    return property(lambda self: self.__dict__.get(key, default), lambda self, value: self.__dict__.__setitem__(key, value))


class _SSLContext:
    """Remembers what it is told."""

    def __new__(cls, protocol):
        self = object.__new__(cls)
        self._protocol = int(protocol)
        self._check_hostname = protocol == PROTOCOL_TLS_CLIENT
        self._verify_mode = CERT_REQUIRED if self._check_hostname else CERT_NONE
        return self

    protocol = property(lambda self: self._protocol)
    options = _setting("options", OP_ALL | OP_NO_SSLv3 | OP_NO_COMPRESSION)
    verify_flags = _setting("verify_flags", VERIFY_X509_TRUSTED_FIRST)
    minimum_version = _setting("minimum_version", PROTO_TLSv1_2)
    maximum_version = _setting("maximum_version", PROTO_MAXIMUM_SUPPORTED)
    _host_flags = _setting("host_flags", HOSTFLAG_NO_PARTIAL_WILDCARDS)
    _msg_callback = _setting("msg_callback")
    sni_callback = _setting("sni_callback")
    keylog_filename = _setting("keylog_filename")
    post_handshake_auth = _setting("post_handshake_auth", False)
    num_tickets = _setting("num_tickets", 2)
    security_level = 2

    @property
    def check_hostname(self):
        return self._check_hostname

    @check_hostname.setter
    def check_hostname(self, value):
        self._check_hostname = bool(value)
        if value and self._verify_mode == CERT_NONE:
            self._verify_mode = CERT_REQUIRED

    @property
    def verify_mode(self):
        return self._verify_mode

    @verify_mode.setter
    def verify_mode(self, value):
        if value == CERT_NONE and self._check_hostname:
            raise ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.")
        self._verify_mode = int(value)

    def load_verify_locations(self, cafile=None, capath=None, cadata=None):
        if cafile is capath is cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        for path in (cafile, capath):
            if path is not None:
                os.stat(path)

    def load_cert_chain(self, certfile, keyfile=None, password=None):
        raise SSLError(errno.ENOTSUP, _NO_CERTIFICATES)

    def _take(self, *_arguments, **_options):
        """A setting that changes nothing here."""

    set_ciphers = set_default_verify_paths = load_dh_params = set_ecdh_curve = _take
    _set_alpn_protocols = _set_npn_protocols = set_psk_client_callback = set_psk_server_callback = _take

    def get_ciphers(self):
        return []

    def get_ca_certs(self, binary_form=False):
        return []

    def cert_store_stats(self):
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def session_stats(self):
        return dict.fromkeys(("number", "connect", "connect_good", "accept", "accept_good", "hits", "misses"), 0)

    def _wrap_socket(self, sock, server_side, server_hostname=None, *, owner=None, session=None):
        exchange = sock._exchange
        exchange.tls = True
        return OverSocket(self, server_side, server_hostname, sock, exchange)

    def _wrap_bio(self, incoming, outgoing, server_side, server_hostname=None, *, owner=None, session=None):
        return OverBuffers(self, server_side, server_hostname, incoming, outgoing)


class Connection:
    """What is told of a TLS connection: as much as is true of every one that the host makes."""

    session = owner = None
    session_reused = False

    def __init__(self, context, server_side, server_hostname):
        if server_side:
            raise SSLError(errno.ENOTSUP, _NO_CERTIFICATES)
        self.context, self.server_side, self.server_hostname = context, False, server_hostname

    def do_handshake(self):
        pass

    def pending(self):
        return 0

    def shutdown(self):
        return None

    def getpeercert(self, binary_form=False):
        # The certificate itself stays with the host, which has found it valid for this name.
        name = self.server_hostname
        if binary_form or not name:
            return None
        return {"subject": ((("commonName", name),),), "subjectAltName": (("DNS", name),)}

    def cipher(self):
        return ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)

    def version(self):
        return "TLSv1.3"

    def compression(self):
        return None

    def selected_alpn_protocol(self):
        return "http/1.1"

    def selected_npn_protocol(self):
        return None

    def shared_ciphers(self):
        return None

    def get_channel_binding(self, cb_type="tls-unique"):
        return None

    def get_verified_chain(self):
        return None

    get_unverified_chain = get_verified_chain

    def verify_client_post_handshake(self):
        raise SSLError(errno.ENOTSUP, _NO_CERTIFICATES)


class OverSocket(Connection):
    """On a stand-in socket: what is written goes to its exchange, which asks by https."""

    def __init__(self, context, server_side, server_hostname, sock, exchange):
        super().__init__(context, server_side, server_hostname)
        self._timeout, self._exchange = sock.gettimeout, exchange

    def write(self, data):
        data = memoryview(data).cast("B")
        self._exchange.write(data, self._timeout() or None)
        return data.nbytes

    def read(self, most=1024, buffer=None):
        if self._timeout() == 0 and not self._exchange.complete:
            raise SSLWantReadError(SSL_ERROR_WANT_READ, "The operation did not complete (read)")
        return _handed(self._exchange.read(most), buffer)


class OverBuffers(Connection):
    """For libraries that move the bytes themselves. The mark tells the exchange at the other end to ask by https."""

    def __init__(self, context, server_side, server_hostname, incoming, outgoing):
        super().__init__(context, server_side, server_hostname)
        self._incoming, self._outgoing, self._marked = incoming, outgoing, False

    def do_handshake(self):
        if not self._marked:
            self._marked = True
            self._outgoing.write(TLS_MARK)

    def write(self, data):
        self.do_handshake()
        return self._outgoing.write(data)

    def read(self, most=1024, buffer=None):
        if self._incoming.pending == 0 and not self._incoming.eof:
            raise SSLWantReadError(SSL_ERROR_WANT_READ, "The operation did not complete (read)")
        return _handed(self._incoming.read(most), buffer)


def _handed(part, buffer):
    if buffer is None:
        return part
    memoryview(buffer).cast("B")[:len(part)] = part
    return len(part)


class MemoryBIO:
    """Bytes written at one end and read at the other."""

    def __init__(self):
        self._bytes, self._ended = bytearray(), False

    pending = property(lambda self: len(self._bytes))
    eof = property(lambda self: self._ended and not self._bytes)

    def read(self, size=-1):
        size = len(self._bytes) if size is None or size < 0 else size
        part = bytes(self._bytes[:size])
        del self._bytes[:size]
        return part

    def write(self, data):
        if self._ended:
            raise SSLError("cannot write() after write_eof()")
        data = memoryview(data).cast("B")
        self._bytes += data
        return data.nbytes

    def write_eof(self):
        self._ended = True


class SSLSession:
    """Never given out: each connection is a new one."""


# The two purposes that `ssl.Purpose` names: number, short and long name.
_OBJECTS = {
    "1.3.6.1.5.5.7.3.1": (129, "serverAuth", "TLS Web Server Authentication"),
    "1.3.6.1.5.5.7.3.2": (130, "clientAuth", "TLS Web Client Authentication"),
}


def txt2obj(txt, name=False):
    for oid, (number, short, long) in _OBJECTS.items():
        if txt == oid or (name and txt in (short, long)):
            return number, short, long, oid
    raise ValueError("unknown object")


def nid2obj(nid):
    for oid, (number, short, long) in _OBJECTS.items():
        if nid == number:
            return number, short, long, oid
    raise ValueError(f"unknown NID {nid}")


def get_default_verify_paths():
    return "SSL_CERT_FILE", "/etc/ssl/cert.pem", "SSL_CERT_DIR", "/etc/ssl/certs"


def RAND_bytes(n):
    return os.urandom(n)


def RAND_add(string, entropy):
    pass


def RAND_status():
    return True
