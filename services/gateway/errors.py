"""Everything that a caller of `/v1` can be told went wrong: one table, one shape, one exception.

The shape is OpenAI's: `{"error": {"message", "type", "param", "code"}}`, always `application/json`, always with
a real HTTP status. `message` is shown to people as it stands by chat clients, so it is a sentence that says
what happened and what to do. A stream that has begun carries the same object as its last event.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from shared.errors import FinOpsError


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """Status and `type` of one code, and what is said when nothing more precise is known."""

    status: int
    type: str
    message: str


_AUTH: Final = "authentication_error"
_INVALID: Final = "invalid_request_error"
_PERMISSION: Final = "permission_error"
_QUOTA: Final = "insufficient_quota"
_RATE: Final = "rate_limit_error"
_SERVER: Final = "server_error"
_UPSTREAM: Final = "upstream_error"

ERRORS: Final[dict[str, ErrorSpec]] = {
    # who is calling
    "missing_api_key": ErrorSpec(
        401, _AUTH, "No API key was sent. Send your virtual key as 'Authorization: Bearer sk-fo-...'."
    ),
    "invalid_api_key": ErrorSpec(
        401,
        _AUTH,
        "This API key is not known here. Check that the whole key was copied, or ask for a new one.",
    ),
    "expired_api_key": ErrorSpec(401, _AUTH, "This API key has expired. Ask for a new one."),
    "revoked_api_key": ErrorSpec(401, _AUTH, "This API key has been revoked. Ask for a new one."),
    # what is asked
    "invalid_request": ErrorSpec(400, _INVALID, "The request cannot be understood."),
    "model_required": ErrorSpec(
        400, _INVALID, "The request names no model. Set 'model' to an id from /v1/models."
    ),
    "model_ambiguous": ErrorSpec(
        400, _INVALID, "Several providers have this model. Name it as 'provider/model'."
    ),
    "model_not_found": ErrorSpec(
        404, _INVALID, "This model does not exist here. See /v1/models for those that do."
    ),
    "model_not_allowed": ErrorSpec(403, _PERMISSION, "This API key may not use this model."),
    "operation_not_supported": ErrorSpec(
        400, _INVALID, "The provider of this model does not offer this operation."
    ),
    "unsupported_encoding": ErrorSpec(
        415, _INVALID, "The body is compressed. Send it as it is, without Content-Encoding."
    ),
    "body_too_large": ErrorSpec(413, _INVALID, "The request is larger than this gateway accepts."),
    "unknown_endpoint": ErrorSpec(404, _INVALID, "There is no such endpoint here."),
    "method_not_allowed": ErrorSpec(405, _INVALID, "This endpoint does not take this HTTP method."),
    # may it be paid for
    "budget_exceeded": ErrorSpec(402, _QUOTA, "The budget of this API key is used up."),
    "budget_reserved": ErrorSpec(
        429, _RATE, "The rest of the budget is held by requests that are running. Try again in a moment."
    ),
    "spend_unverifiable": ErrorSpec(
        503,
        _SERVER,
        "The spend of this API key cannot be verified right now, and it may not be used unverified.",
    ),
    "events_unavailable": ErrorSpec(
        503,
        _SERVER,
        "This request cannot be recorded right now, and this API key may not be used unrecorded.",
    ),
    # what the provider did
    "provider_auth_failed": ErrorSpec(
        502,
        _UPSTREAM,
        "The provider refused the gateway's credential. Your own key is fine: tell your administrator.",
    ),
    "provider_bad_request": ErrorSpec(400, _INVALID, "The provider refused the request."),
    "provider_rate_limited": ErrorSpec(
        429, _RATE, "The provider is limiting requests. Try again in a moment."
    ),
    "provider_error": ErrorSpec(
        502, _UPSTREAM, "The provider failed to answer. Try again, or use another model."
    ),
    "provider_timeout": ErrorSpec(504, _UPSTREAM, "The provider did not answer in time."),
    "provider_unreachable": ErrorSpec(502, _UPSTREAM, "The provider cannot be reached."),
    "provider_bad_response": ErrorSpec(502, _UPSTREAM, "The provider's answer could not be understood."),
    "provider_not_configured": ErrorSpec(
        503, _SERVER, "The provider of this model has no usable credential. Tell your administrator."
    ),
    # what the gateway did
    "request_timeout": ErrorSpec(408, _INVALID, "The request took longer than this gateway allows."),
    "shutting_down": ErrorSpec(503, _SERVER, "This gateway is stopping. Send the request again."),
    "internal_error": ErrorSpec(
        500, _SERVER, "The gateway failed. The administrator finds the reason in its log."
    ),
    # only in the log: nobody is there to be told
    "client_disconnected": ErrorSpec(499, _INVALID, "The client left before the answer was complete."),
}


class ClientError(FinOpsError):
    """Ends a request with one code of the table. Raises KeyError for a code that is not in it.

    `shown_code` and `shown_type` replace the code and type in the answer (not in events): a provider's own, which
    its clients know.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 0,
        param: str | None = None,
        retry_after_s: float | None = None,
        shown_code: str = "",
        shown_type: str = "",
        allow: str = "",
    ) -> None:
        spec = ERRORS[code]
        self.code = code
        self.status = status or spec.status
        self.type = shown_type or spec.type
        self.shown_code = shown_code or code
        self.message = message or spec.message
        self.param = param
        self.retry_after_s = retry_after_s
        self.allow = allow
        """The methods of an endpoint that does not take the one used."""
        super().__init__(self.message)


class _Detail(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class _Body(msgspec.Struct):
    error: _Detail


def error_body(error: ClientError) -> bytes:
    """The JSON object of an error, for a response body or an SSE event."""
    return msgspec.json.encode(_Body(_Detail(error.message, error.type, error.param, error.shown_code)))
