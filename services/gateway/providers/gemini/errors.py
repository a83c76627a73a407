"""Google's errors: a `google.rpc.Status` in JSON, alone, in an array, or as an event of a stream."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.wire_errors import MESSAGE_LIMIT, error_from_answer, is_retryable

_UNKNOWN_STATUS: Final = 502
_STATUSES: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_BAD_KEY: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"})


class Detail(msgspec.Struct, rename="camel"):
    """Of the many kinds of details the two that mean something here."""

    reason: str = ""
    retry_delay: str = ""


class Status(msgspec.Struct):
    code: int = 0
    message: str = ""
    status: str = ""
    details: list[Detail] = []


class _Document(msgspec.Struct):
    error: Status


_document: Final = msgspec.json.Decoder(_Document | list[_Document], strict=False)
_status: Final = msgspec.json.Decoder(Status, strict=False)


def error_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error in an answer with an error status, whatever its body is."""
    plain = error_from_answer(status, headers, body)
    try:
        document = _document.decode(body)
    except msgspec.DecodeError:
        return plain  # a proxy's answer
    if isinstance(document, list):
        if not document:
            return plain
        document = document[0]
    return _mapped(document.error, status, plain.retry_after_s)


def error_inside(raw: bytes) -> UpstreamError | None:
    """The error in the `error` field of something that began as a success; None when there is none."""
    if not raw or raw == b"null":
        return None
    try:
        status = _status.decode(raw)
    except msgspec.DecodeError:
        status = Status()
    return _mapped(status, 0, None)


def error_in_text(body: bytes) -> UpstreamError | None:
    """The error in a plain JSON body where a stream was expected; None when it is something else."""
    try:
        document = _document.decode(body)
    except msgspec.DecodeError:
        return None
    if isinstance(document, list):
        return _mapped(document[0].error, 0, None) if document else None
    return _mapped(document.error, 0, None)


def empty_answer(reason: str, message: str = "") -> UpstreamError:
    """The model ended without an answer that could be passed on."""
    why = f"{reason}: {message}" if message else reason
    return UpstreamError(
        status=_UNKNOWN_STATUS,
        message=f"The model gave no answer ({why}).",
        code=reason.lower(),
        retryable=True,
        of_model=True,
    )


def _mapped(error: Status, http_status: int, retry_after_s: float | None) -> UpstreamError:
    named = error.code if 400 <= error.code <= 599 else _STATUSES.get(error.status, _UNKNOWN_STATUS)
    status = http_status or named
    # A wrong key is told as a bad request, but it is the gateway's key, not the client's request.
    if any(detail.reason in _BAD_KEY for detail in error.details):
        status = 401
    delay = next((detail.retry_delay for detail in error.details if detail.retry_delay), "")
    return UpstreamError(
        status=status,
        message=error.message[:MESSAGE_LIMIT] or f"The provider reported the error {error.status or status}.",
        code=error.status,
        type=error.status.lower(),
        retry_after_s=retry_after_s if retry_after_s is not None else _seconds(delay),
        retryable=is_retryable(status),
    )


def _seconds(duration: str) -> float | None:
    """A duration in protobuf's JSON: `34.5s`."""
    value = duration.removesuffix("s")
    return float(value) if value and value.replace(".", "", 1).isdecimal() else None
