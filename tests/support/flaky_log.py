"""An event log whose appends can be made to fail."""

from collections.abc import Sequence

from shared.errors import FinOpsError, LogUnavailable
from shared.eventlog.port import NewRecord
from shared.eventlog.sqlite import SqliteEventLog


class FlakyLog(SqliteEventLog):
    """A real SQLite log. While `away` is true appends fail; `failures` are raised first, one per append.

    With `write_then_fail` a failing append has written its records all the same, as after a lost acknowledgement.
    """

    away = False
    write_then_fail = False
    failures: list[FinOpsError]
    most_records = 0
    """Of one append."""

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        self.most_records = max(self.most_records, len(records))
        pending = getattr(self, "failures", [])
        error = pending.pop(0) if pending else LogUnavailable("away") if self.away else None
        if error is None:
            return await super().append(records)
        if self.write_then_fail:
            await super().append(records)
        raise error
