"""Events to the host, encoded. The kinds and payloads are those of interpreters/README.md."""

import base64
import json
from json.encoder import encode_basestring

import _sandpool

_emit = _sandpool.emit


def plain_result(text):
    """The value of the last expression, when all there is to it is text."""
    _emit(6, '{"data":{"text/plain":' + encode_basestring(text) + '},"metadata":{}}')


def result(data, metadata):
    _emit(6, encode({"data": data, "metadata": metadata or {}}))


def display(data, metadata, display_id=None, update=False):
    payload = {"data": data, "metadata": metadata or {}}
    if display_id is not None:
        payload["display_id"] = str(display_id)
    _emit(_sandpool.UPDATE_DISPLAY if update else _sandpool.DISPLAY, encode(payload))


def clear_output(wait):
    _emit(_sandpool.CLEAR_OUTPUT, encode({"wait": bool(wait)}))


def error(name, value, traceback):
    _emit(_sandpool.ERROR, encode({"name": name, "value": value, "traceback": traceback}))


def encode(payload):
    """Strict JSON: bytes as base64, NaN and infinities (which JSON lacks) as null, unknown objects as their text."""
    try:
        return json.dumps(payload, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(payload), ensure_ascii=False, default=_plain, skipkeys=True)


def _plain(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return str(value)


def _finite(value):
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
