"""Anthropic's errors: `{"type": "error", "error": {"type": ..., "message": ...}}`, in answers and in streams."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.wire_errors import MESSAGE_LIMIT, error_from_answer, is_retryable, retry_after

STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_UNKNOWN_STATUS: Final = 502
_TYPES: Final = {status: kind for kind, status in STATUSES.items() if kind != "request_too_large"}
_OTHER_TYPES: Final = {503: "overloaded_error"}


class Detail(msgspec.Struct):
    type: str = ""
    message: str = ""


class ErrorBody(msgspec.Struct):
    """Also an event of a stream."""

    error: Detail | None = None


_body: Final = msgspec.json.Decoder(ErrorBody)


def error_from_messages(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error in an answer with an error status. Never raises."""
    try:
        detail = _body.decode(body).error
    except msgspec.DecodeError:
        detail = None  # a proxy's page, or a cloud's own shape
    if detail is None:
        return error_from_answer(status, headers, body)
    return UpstreamError(
        status=status,
        message=detail.message[:MESSAGE_LIMIT] or f"The provider answered {status}.",
        code=detail.type,
        type=detail.type,
        retry_after_s=retry_after(headers),
        retryable=is_retryable(status),
    )


def error_inside(detail: Detail) -> UpstreamError:
    """An error inside an answer that began with 200."""
    status = STATUSES.get(detail.type, _UNKNOWN_STATUS)
    return UpstreamError(
        status=status,
        message=detail.message[:MESSAGE_LIMIT]
        or "The provider reported an error in the middle of its answer.",
        code=detail.type,
        type=detail.type,
        retryable=is_retryable(status),
    )


def error_json(status: int, message: str, kind: str = "") -> bytes:
    """An error as Anthropic's clients read it. `kind` counts where it is one that they know."""
    if kind not in STATUSES:
        general = "api_error" if status >= 500 else "invalid_request_error"
        kind = _TYPES.get(status) or _OTHER_TYPES.get(status, general)
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
