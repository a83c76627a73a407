"""aiokafka's exceptions become ours here and nowhere else."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka

from shared.errors import Fenced, FinOpsError, LogUnavailable, RecordTooLarge

_FENCED = (
    kafka.IllegalStateError,
    kafka.CommitFailedError,
    kafka.IllegalGenerationError,
    kafka.UnknownMemberIdError,
    kafka.RebalanceInProgressError,
)
_TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)
_REFUSED = (
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationMethodNotSupported,
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
)


def translated(error: Exception, doing: str, refusal: type[FinOpsError] = LogUnavailable) -> FinOpsError:
    """Our error for one of aiokafka's. `doing` says what was tried: "appending to finops.usage".

    `refusal` is the class for access that is refused: at the start a ConfigurationError, which nobody but a person can
    mend. Later on it was granted before and may be again.
    """
    if isinstance(error, _FENCED):
        return Fenced(f"Another member has taken over while {doing}: {error}.")
    if isinstance(error, _TOO_LARGE):
        return RecordTooLarge(f"Kafka refused the size of a record while {doing}: {error}.")
    if isinstance(error, _REFUSED):
        return refusal(
            f"Kafka refused access while {doing} ({error}): check FINOPS_KAFKA_SASL_USERNAME, "
            "FINOPS_KAFKA_SASL_PASSWORD and this user's rights."
        )
    if isinstance(error, kafka.UnsupportedSaslMechanismError):
        return refusal(
            f"Kafka refused FINOPS_KAFKA_SASL_MECHANISM while {doing}: it does not know that mechanism."
        )
    if isinstance(error, ssl.SSLError):
        return refusal(
            f"TLS failed while {doing} ({error.strerror or error}): check FINOPS_KAFKA_CA_FILE, that the certificate "
            "names this address, and FINOPS_KAFKA_SECURITY_PROTOCOL."
        )
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return LogUnavailable(f"Kafka did not answer in time while {doing}.")
    return LogUnavailable(f"Kafka failed while {doing}: {str(error) or type(error).__name__}.")


@contextmanager
def translating(doing: str, refusal: type[FinOpsError] = LogUnavailable) -> Iterator[None]:
    """Translate whatever Kafka raises in the block."""
    try:
        yield
    except (kafka.KafkaError, TimeoutError, OSError) as error:
        raise translated(error, doing, refusal) from error
