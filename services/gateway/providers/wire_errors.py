"""Errors on the wire: the many shapes that OpenAI-compatible servers answer with, and the one that clients get."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError

MESSAGE_LIMIT: Final = 2_000
LONGEST_WAIT_S: Final = 30 * 86_400.0
"""A longer pause is a mistake of the server's."""
_RETRYABLE: Final = frozenset({401, 402, 403, 408, 409, 425, 429})
_UNKNOWN_STATUS: Final = 502
_NO_ADDRESS: Final = frozenset({404, 405, 501})


def error_from_answer(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error in an answer with an error status, whatever its body is."""
    try:
        document: object = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = _plain_text(headers, body)
    message, kind, param, code = _described(document)
    return UpstreamError(
        status=status,
        message=message or f"The provider answered {status} {_phrase(status)}.",
        code=_name(code),
        type=kind,
        param=param,
        retry_after_s=retry_after(headers),
        retryable=is_retryable(status),
    )


def error_in(fields: Mapping[str, msgspec.Raw], *, named: bool) -> UpstreamError | None:
    """The error inside an answer (or event) that began as a success; None when it holds none.

    `named`: the event called itself an error, so that any shape of it counts.
    """
    document = _error_document(fields, named=named)
    if document is None:
        return None
    message, kind, param, code = _described(document)
    status = int(code) if _is_number(code) and 400 <= int(code) <= 599 else _UNKNOWN_STATUS
    return UpstreamError(
        status=status,
        message=message or "The provider reported an error in the middle of its answer.",
        code=_name(code),
        type=kind,
        param=param,
        retryable=is_retryable(status),
    )


def error_body(error: UpstreamError) -> bytes:
    """OpenAI's error object."""
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.upstream_code or error.code,
            }
        }
    )


def is_retryable(status: int) -> bool:
    """Another attempt, credential or provider may succeed where this one answered with `status`."""
    return status >= 500 or status in _RETRYABLE


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date, read against the `Date` header)."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdecimal():
            return min(float(value) / scale, LONGEST_WAIT_S)
    until, now = _date(headers.get("retry-after")), _date(headers.get("date"))
    if until is None or now is None:
        return None
    return min(max(0.0, (until - now).total_seconds()), LONGEST_WAIT_S)


def knows_no_address(error: UpstreamError) -> bool:
    """Whether what answered does not have the address at all, which it tells in no words of the provider's."""
    return error.status in _NO_ADDRESS and not error.upstream_code


def stream_cut() -> UpstreamError:
    return UpstreamError(
        status=_UNKNOWN_STATUS,
        message="The provider ended its answer before it was complete.",
        retryable=True,
    )


def unreadable_stream(reason: str) -> UpstreamError:
    return UpstreamError(
        status=_UNKNOWN_STATUS,
        message=f"The provider did not answer with a stream: {reason}.",
        retryable=True,
    )


def unreadable_answer() -> UpstreamError:
    return UpstreamError(
        status=_UNKNOWN_STATUS,
        message="The provider's answer is not the JSON that was expected.",
        retryable=True,
    )


def _error_document(fields: Mapping[str, msgspec.Raw], *, named: bool) -> object:
    error = _decoded(fields.get("error"))
    if error:
        # xAI: {"code": ..., "error": "text"}; the rest of the object is needed for the code.
        return {"message": error, "code": _decoded(fields.get("code"))} if isinstance(error, str) else error
    if named or _decoded(fields.get("object")) == "error":
        return {name: _decoded(value) for name, value in fields.items()}
    choices = _decoded(fields.get("choices"))
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and (choice.get("error") or choice.get("finish_reason") == "error"):
            return choice.get("error") or {}
    return None


def _decoded(raw: msgspec.Raw | None) -> object:
    if raw is None:
        return None
    try:
        value: object = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None  # invalid UTF-8 inside a string: nothing that could be shown
    return value


def _described(document: object) -> tuple[str, str, str | None, str]:
    """Message, type, param and code in an error document of any shape; empty where there is none."""
    if isinstance(document, list):
        document = document[0] if document else None
    if isinstance(document, str):
        return document[:MESSAGE_LIMIT], "", None, ""
    if not isinstance(document, dict):
        return "", "", None, ""
    inner = document.get("error")
    if isinstance(inner, dict):
        document = inner
    message = next(
        (text for name in ("message", "error", "detail", "msg") if (text := _text(document.get(name)))), ""
    )
    param = document.get("param")
    code = document.get("code")
    return (
        message[:MESSAGE_LIMIT],
        _text(document.get("type")),
        param if isinstance(param, str) else None,
        str(code) if isinstance(code, int | str) else "",
    )


def _name(code: str) -> str:
    """A code that says something. A bare number (OpenRouter, vLLM) only repeats a status."""
    return "" if _is_number(code) else code


def _is_number(code: str) -> bool:
    return code.isascii() and code.isdecimal()


def _text(value: object) -> str:
    """A message that is a text, FastAPI's list of complaints, or either inside `detail` (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("detail") or value.get("message") or value.get("msg"))
    if isinstance(value, list):
        return "; ".join(filter(None, (_complaint(item) for item in value)))
    return ""


def _complaint(item: object) -> str:
    """`{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}` as one phrase."""
    if not isinstance(item, dict):
        return _text(item)
    place = item.get("loc")
    where = ".".join(str(step) for step in place if step != "body") if isinstance(place, list) else ""
    return f"{where}: {_text(item)}" if where else _text(item)


def _plain_text(headers: Mapping[str, str], body: bytes) -> str:
    """A text body. A web page is a proxy's, not a message for people."""
    text = body[: 4 * MESSAGE_LIMIT].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") or "html" in headers.get("content-type", "") else text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"


def _date(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
