"""What a provider's failure is called on our side: for the client, and for the record of the attempt."""

from typing import Final

from services.gateway.circuits import QUOTA, Blame
from services.gateway.errors import ClientError
from services.gateway.providers.errors import UpstreamError
from services.gateway.upstream.port import (
    UpstreamConnectFailed,
    UpstreamFault,
    UpstreamTimedOut,
    UpstreamTooLarge,
)

Failure = UpstreamError | UpstreamFault

_UNKNOWN_CREDENTIAL: Final = 401
_OUR_CREDENTIAL: Final = frozenset({402, 403})
_TOO_MANY: Final = 429
_REFUSED: Final = frozenset({_UNKNOWN_CREDENTIAL, 402})
_LIMITED: Final = frozenset({403, 429})
"""A 403 is often about one model that the account may not use."""
_MISSING: Final = frozenset({404, 410})
_UNKNOWN_MODEL: Final = "model_not_found"
"""OpenAI's code, which others give with a 400."""


def from_upstream_error(error: UpstreamError, provider: str) -> ClientError:
    """An error that the provider answered with.

    What the gateway's credential lacks is the administrator's business, not the caller's: never 401, 402 or 403.
    """
    if error.status == _UNKNOWN_CREDENTIAL:
        # Its words are about the credential and may repeat a part of it: they are for the record of the attempt.
        return ClientError(
            "provider_auth_failed",
            f"The provider '{provider}' refused the gateway's credential. "
            "Your own key is fine: tell your administrator.",
        )
    if error.status in _OUR_CREDENTIAL:
        return ClientError(
            "provider_auth_failed", f"The provider '{provider}' refused this gateway: {_said(error)}"
        )
    if error.status == _TOO_MANY:
        return ClientError(
            "provider_rate_limited",
            f"The provider '{provider}' is limiting requests: {_said(error)}",
            # Where the provider does not say, as long as it is left alone here.
            retry_after_s=QUOTA.rest_s if error.retry_after_s is None else error.retry_after_s,
        )
    if error.status >= 500:
        return ClientError(
            "provider_error",
            f"The provider '{provider}' failed: {_said(error)}",
            retry_after_s=error.retry_after_s,
        )
    return ClientError(
        "provider_bad_request",
        error.message,
        status=error.status,
        param=error.param,
        shown_code=error.upstream_code,
        shown_type=error.type,
    )


def from_fault(fault: UpstreamFault, provider: str) -> ClientError:
    """The provider could not be asked, or its answer did not arrive whole."""
    if isinstance(fault, UpstreamTimedOut):
        return ClientError(
            "provider_timeout", f"The provider '{provider}' did not answer in time. Try again."
        )
    if isinstance(fault, UpstreamConnectFailed):
        return ClientError("provider_unreachable", f"The provider '{provider}' cannot be reached.")
    if isinstance(fault, UpstreamTooLarge):
        return ClientError("provider_bad_response", f"The answer of the provider '{provider}' is too large.")
    return ClientError(
        "provider_unreachable",
        f"The connection to the provider '{provider}' was lost before its answer was complete.",
    )


class Told(UpstreamError):
    """A failure as the client is told it, for a relay to end its stream with. `error` is what goes on record too."""

    def __init__(self, failure: Failure, provider: str) -> None:
        self.error = error = client_error(failure, provider)
        self.failure: Failure = failure
        super().__init__(
            status=error.status,
            message=error.message,
            code=error.shown_code,
            type=error.type,
            param=error.param,
        )


def client_error(failure: Failure, provider: str) -> ClientError:
    """The failure as the client is told."""
    if isinstance(failure, Told):
        return failure.error
    if isinstance(failure, UpstreamError):
        return from_upstream_error(failure, provider)
    return from_fault(failure, provider)


def cause_of(error: UpstreamError) -> Failure:
    """The failure itself, whatever the client is told of it."""
    return error.failure if isinstance(error, Told) else error


def blame(failure: Failure) -> Blame:
    """Whom a failure is laid to."""
    if isinstance(failure, UpstreamFault):
        return "request" if isinstance(failure, UpstreamTooLarge) else "provider"
    if failure.of_model:
        return "model"
    if failure.status in _REFUSED:
        return "credential"
    if failure.status in _LIMITED:
        return "quota"
    if failure.status in _MISSING or failure.upstream_code == _UNKNOWN_MODEL:
        return "model"
    return "provider" if failure.retryable or failure.status >= 500 else "request"


def may_repeat(failure: Failure) -> bool:
    """Whether asking the same provider once more may help. Waiting twice for one that is too slow would not."""
    if isinstance(failure, UpstreamTimedOut):
        return failure.phase == "connect"
    return failure.retryable if isinstance(failure, UpstreamError) else True


def retry_after_of(failure: Failure) -> float | None:
    """The pause in seconds that the provider asked for, if it did."""
    return failure.retry_after_s if isinstance(failure, UpstreamError) else None


def _said(error: UpstreamError) -> str:
    return error.message.strip() or "no reason was given."
