"""Checks of schemathesis, adjusted to what a document cannot say."""

import os

import requests
import schemathesis
from schemathesis.generation import GenerationMode

POOL = os.environ["SANDPOOL_POOL"]

# A request may fit the document and be refused all the same.
REFUSALS = [
    # What the pool allows.
    ("SessionRequestValidationFailed", "pool's ceiling"),
    # What the pool runs.
    ("SessionPropertiesMissing", "not shell commands"),
    # What a file system allows: a byte count, no `..`.
    ("InvalidFileName", ""),
    # The service answers so for a session that is not there, and not with 404.
    ("SessionWithIdentifierNotFound", ""),
    # A session's file is only what was exported: any bytes are none.
    ("SnapshotInvalid", ""),
    # `InlineBase64` with any text as code.
    ("SessionRequestValidationFailed", "must be base64"),
    # Extra form fields are allowed, but schemathesis gives them names that no part's header can hold; and of an
    # empty `file` it makes a form without parts.
    ("SessionRequestValidationFailed", "the upload is invalid: failed to read headers"),
    ("SessionRequestValidationFailed", "the upload is invalid: no part is named 'file'"),
    # What a pool can be, and what its name and the names of pools can be.
    ("InvalidSessionPoolProperties", ""),
    ("InvalidResourceName", ""),
    ("SessionRequestValidationFailed", "pools:"),
    ("SessionRequestValidationFailed", "control character"),
    ("SessionRequestValidationFailed", "cannot be changed"),
    ("SessionMCPServerNotEnabled", ""),
]


@schemathesis.hook
def filter_body(context, body):
    """Leaves out bodies that name a session, which the gateway takes when the query names none: schemathesis would
    see a missing parameter go unpunished."""
    objects = [body, body.get("properties")] if isinstance(body, dict) else []
    return not any(isinstance(each, dict) and "identifier" in each for each in objects)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes what a valid request asks for: otherwise nearly every answer would be that it is not there."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE or "identifier" not in case.query:
        return
    session = {"identifier": case.query["identifier"]}
    if "name" in case.path_parameters:
        folder = {"path": case.query["path"]} if "path" in case.query else {}
        file = {"file": (case.path_parameters["name"], b"text")}
        requests.post(f"{POOL}/files", params=session | folder, files=file, timeout=30)
    elif "executionId" in case.path_parameters:
        headers = {"operation-id": case.path_parameters["executionId"]}
        requests.post(f"{POOL}/executions", params=session, headers=headers, json={"code": "1"}, timeout=30)
    elif case.operation.path.endswith("ession"):
        requests.post(f"{POOL}/executions", params=session, json={"code": "1"}, timeout=30)


@schemathesis.check
def valid_requests_are_taken(context, response, case):
    """As `positive_data_acceptance`, but it looks at why a request was refused and not only at the status."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE or response.status_code != 400:
        return
    error = response.json()["error"]
    known = any(error["code"] == code and words in error["message"] for code, words in REFUSALS)
    assert known, f"a valid request was refused: {error}"


@schemathesis.check
def errors_are_explained(context, response, case):
    """Every error of the gateway's has the documented envelope, and its code in a header too. A container's are its own."""
    if case.operation.path.endswith("/{path}") and "x-ms-error-code" not in response.headers:
        return
    if response.status_code >= 400 and case.method != "HEAD":
        error = response.json()["error"]
        assert error["message"], "an error without a message"
        assert response.headers.get("x-ms-error-code") == [error["code"]], "the header repeats the code"
