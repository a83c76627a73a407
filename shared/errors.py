"""Errors that cross a service boundary.

    FinOpsError                 every error of ours; carries a stable `code`
    ├── ConfigurationError      a wrong setting or finops.yaml field: one sentence, the process does not start
    ├── Retryable               a transport or server fault: the same work may succeed later
    │   ├── LogUnavailable      the event log cannot be reached
    │   ├── StoreUnavailable    the log store (ClickHouse) cannot be reached
    │   └── SpoolFull           the write-ahead spool is at its limit: nothing more can be promised
    ├── RecordTooLarge          one record is over the log's limit: retrying cannot help
    ├── Poison                  a record that cannot be handled: goes to the dead letters, never retried
    ├── Conflict                a governance change based on an old version
    └── Fenced                  another owner took over: stop this work, keep nothing

What a client of `/v1` can see is listed in `services/gateway/errors.py`.
"""


class FinOpsError(Exception):
    """Base of the tree. `code` is stable and may be shown, logged and counted."""

    code = "internal_error"


class ConfigurationError(FinOpsError):
    """A setting or a finops.yaml field is wrong. The message is one sentence that names it."""

    code = "invalid_configuration"


class Retryable(FinOpsError):
    """The same work may succeed later."""

    code = "temporarily_unavailable"


class LogUnavailable(Retryable):
    """The event log cannot be reached or did not acknowledge in time."""

    code = "event_log_unavailable"


class StoreUnavailable(Retryable):
    """The log store cannot be reached."""

    code = "log_store_unavailable"


class SpoolFull(Retryable):
    """The write-ahead spool has reached its limit in bytes."""

    code = "spool_full"


class RecordTooLarge(FinOpsError):
    """One record is over the event log's size limit."""

    code = "record_too_large"


class Poison(FinOpsError):
    """A record that cannot be handled, with its origin and the reason."""

    code = "poison_record"

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        super().__init__(f"{topic}:{partition}@{offset}: {reason}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.reason = reason


class Conflict(FinOpsError):
    """A governance change was based on an old version of its entity."""

    code = "version_conflict"


class Fenced(FinOpsError):
    """Another owner holds the partition now."""

    code = "fenced"
