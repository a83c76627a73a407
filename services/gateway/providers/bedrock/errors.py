"""Bedrock's errors: the exception's name in a header, in the body or in a stream's frame; a message beside it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.wire_errors import MESSAGE_LIMIT, error_from_answer, is_retryable, retry_after

_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "throttlingexception": 429,
        "toomanyrequestsexception": 429,
        "servicequotaexceededexception": 429,
        "serviceunavailableexception": 503,
        # Announced as 429, but another credential would meet the same model, and waiting helps.
        "modelnotreadyexception": 503,
        "internalserverexception": 500,
        # 424 on the wire: the model failed, not the caller.
        "modelerrorexception": 502,
        "modelstreamerrorexception": 502,
        "modeltimeoutexception": 504,
        "validationexception": 400,
        "resourcenotfoundexception": 404,
        "accessdeniedexception": 403,
        "unrecognizedclientexception": 403,
        "expiredtokenexception": 403,
        "invalidsignatureexception": 403,
    }
)
_UNKNOWN_STATUS: Final = 502


_BROKEN: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Reasons to stop: the model went wrong, what it has said is no answer."""


class _Fault(msgspec.Struct):
    message: str | None = None
    Message: str | None = None
    type: str | None = msgspec.field(name="__type", default=None)
    code: str | None = None


_fault: Final = msgspec.json.Decoder(_Fault)


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error in an answer with an error status, whatever its body is."""
    try:
        fault = _fault.decode(body)
    except msgspec.DecodeError:
        return error_from_answer(status, headers, body)
    name = headers.get("x-amzn-errortype") or fault.code or fault.type or ""
    message = fault.message or fault.Message or ""
    return named_error(
        name, message or f"Bedrock answered {status}.", status=status, retry_after_s=retry_after(headers)
    )


def named_error(
    name: str, message: str, *, status: int = 0, retry_after_s: float | None = None
) -> UpstreamError:
    """The error called `name`, with or without a namespace before it and an address behind it.

    `status` counts for names that are not known here; 0: there is none, as in a stream.
    """
    name = name.partition(":")[0].rpartition("#")[2]
    known = _STATUS.get(name.lower(), 0) or status or _UNKNOWN_STATUS
    return UpstreamError(
        status=known,
        message=message[:MESSAGE_LIMIT] or "Bedrock reported an error in the middle of its answer.",
        code=name,
        type=name,
        retry_after_s=retry_after_s,
        retryable=is_retryable(known),
    )


def fault_in(answer: bytes) -> UpstreamError | None:
    """The error in a body that came where an answer should be; None when it names none."""
    try:
        fault = _fault.decode(answer)
    except msgspec.DecodeError:
        return None  # something else altogether: the caller says so
    name, message = fault.type or fault.code or "", fault.message or fault.Message or ""
    return named_error(name, message) if name or message else None


def broken_answer(stop_reason: str) -> UpstreamError | None:
    """The error that an answer is which stopped for this reason; None for an answer."""
    if stop_reason not in _BROKEN:
        return None
    return UpstreamError(
        status=_UNKNOWN_STATUS,
        message=f"The model gave no answer ({stop_reason}).",
        code=stop_reason,
        retryable=True,
        of_model=True,
    )
