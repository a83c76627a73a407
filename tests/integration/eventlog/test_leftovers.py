"""What a dead process left in its spool: taken over once, whole, by whoever starts next."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.eventlog.file_lock import FileLock
from shared.eventlog.outbox import BATCH_RECORDS, Outbox
from shared.eventlog.port import NewRecord
from shared.topics import REQUESTS, USAGE, partition_for, topic_specs
from tests.support.eventually import eventually
from tests.support.flaky_log import FlakyLog
from tests.support.outbox import MIB, assert_in_order, everything, ids, open_outbox, vanish
from tests.support.outbox_events import logged, started

REPOSITORY = Path(__file__).resolve().parents[3]


async def test_what_was_left_is_replayed_with_its_original_identity(log: FlakyLog, tmp_path: Path) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    for number in range(20):
        first.put(started(number))
    await vanish(first)
    log.away = False

    async with open_outbox(log, tmp_path / "spool") as second:
        assert second.pending_records >= 20
        second.put(started(100))
        assert await second.flush(10)
        records = await everything(log)
        await eventually(lambda: not (tmp_path / "spool" / first.incarnation).exists())

    assert {
        record.headers["seq"] for record in records if record.headers["producer"] == first.incarnation
    } == {str(seq) for seq in range(1, 21)}
    assert ids(records) == {f"req_{number}" for number in [*range(20), 100]}
    assert_in_order(records)


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b"\x50\x00\x00\x00torn", False),  # a write that the crash cut short: never promised
        (bytes(300), False),  # zeros of a power cut
        (b"\x04\x00\x00\x00\x01\x02\x03\x04rot!and more", True),  # neither: somebody must look at it
    ],
)
async def test_bytes_after_the_last_frame_cost_nothing_that_was_promised(
    log: FlakyLog, tmp_path: Path, tail: bytes, kept: bool
) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    for number in range(5):
        first.put(started(number))
    await vanish(first)
    segment = tmp_path / "spool" / first.incarnation / "00000001.spool"
    with segment.open("ab") as file:
        file.write(tail)
    log.away = False

    async with open_outbox(log, tmp_path / "spool") as second:
        assert await second.flush(10)
        assert ids(await everything(log)) == {f"req_{number}" for number in range(5)}
        await eventually(lambda: not segment.exists())

    aside = [path.name for path in (tmp_path / "spool").glob("*.damaged")]
    assert aside == ([f"{first.incarnation}-00000001.damaged"] if kept else [])


async def test_a_spool_of_nothing_but_damage_is_kept_aside(log: FlakyLog, tmp_path: Path) -> None:
    dead = tmp_path / "spool" / "out_dead"
    dead.mkdir(parents=True)
    (dead / "00000001.spool").write_bytes(b"\x04\x00\x00\x00\x01\x02\x03\x04rot!and more")

    async with open_outbox(log, tmp_path / "spool"):
        await eventually(lambda: not dead.exists())

    assert [path.name for path in (tmp_path / "spool").glob("*.damaged")] == ["out_dead-00000001.damaged"]


async def test_what_a_log_with_more_partitions_left_behind_goes_where_its_key_belongs_now(
    log: FlakyLog, tmp_path: Path
) -> None:
    wide = FlakyLog(tmp_path / "wide.db", topic_specs(64, usage_retention_ms=-1, requests_retention_ms=-1))
    await wide.start()
    wide.away = True
    first = Outbox(wide, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    positions = [position for number in range(5) for position in first.put(started(number), logged(number))]
    await vanish(first)
    await wide.close()
    assert max(position.partition for position in positions) >= log.partitions(USAGE)

    async with open_outbox(log, tmp_path / "spool") as outbox:
        assert await outbox.flush(10)
        records = await everything(log)

    assert ids(records) == {f"req_{number}" for number in range(5)}
    assert len(records) == 10
    assert all(
        record.partition == partition_for(record.key, 4) for record in records if record.topic == USAGE
    )


class Held(FlakyLog):
    """Appends of one producer wait until `let_go`."""

    producer = ""
    let_go: asyncio.Event

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        if records[0].headers["producer"] == self.producer:
            await self.let_go.wait()
        return await super().append(records)


async def test_what_is_put_now_does_not_wait_for_what_was_left(log: FlakyLog, tmp_path: Path) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    first.put(started(1))
    await vanish(first)
    log.__class__ = Held
    assert isinstance(log, Held)
    log.away, log.producer, log.let_go = False, first.incarnation, asyncio.Event()

    async with open_outbox(log, tmp_path / "spool") as outbox:
        outbox.put(started(2))
        await eventually(lambda: outbox.pending_records == 1)
        assert ids(await everything(log)) == {"req_2"}
        log.let_go.set()
        assert await outbox.flush(10)
        assert ids(await everything(log)) == {"req_1", "req_2"}


async def test_a_long_leftover_is_sent_in_parts_that_do_not_hold_up_the_loop(
    log: FlakyLog, tmp_path: Path
) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    for number in range(2_500):
        first.put(started(number))
    await vanish(first)
    log.away, log.most_records = False, 0

    async with open_outbox(log, tmp_path / "spool") as outbox:
        assert await outbox.flush(10)
        assert len(await everything(log)) == 2_500

    assert log.most_records == BATCH_RECORDS


async def test_no_spool_vanishes_while_a_neighbour_looks_for_some(
    log: FlakyLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    first.put(started(1))
    await vanish(first)
    log.away = False
    alone: dict[str, bool] = {}
    remove = shutil.rmtree

    def observed(path: Path) -> None:
        looking = FileLock(tmp_path / "spool" / ".registry")
        alone[path.name] = not looking.acquire()
        looking.release()
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", observed)
    async with open_outbox(log, tmp_path / "spool") as outbox:
        await eventually(lambda: first.incarnation in alone)

    assert alone == {first.incarnation: True, outbox.incarnation: True}


async def test_a_living_neighbour_is_left_alone(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(log, tmp_path / "spool") as first:
        log.away = True
        first.put(started(1))
        async with open_outbox(log, tmp_path / "spool") as second:
            assert second.pending_records == 0
            log.away = False
            assert await first.flush(10)


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from shared.eventlog.dead_letters import DeadLetter
from shared.eventlog.outbox import BATCH_RECORDS, Outbox
from shared.eventlog.sqlite import SqliteEventLog
from shared.topics import topic_specs
from tests.support.outbox_events import logged, started

async def main(root):
    log = SqliteEventLog(root / "events.db", topic_specs(4, usage_retention_ms=-1, requests_retention_ms=-1))
    await log.start()
    outbox = Outbox(log, root / "spool", limit_bytes=1 << 30, fsync_interval_s=0.2)
    await outbox.start()
    for number in range(1_000_000):
        outbox.put(started(number), logged(number))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        if number % 7 == 0:
            await asyncio.sleep(0)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("after", [50, 700])
async def test_after_kill_9_nothing_that_put_returned_for_is_lost(
    log: FlakyLog, tmp_path: Path, after: int
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), str(REPOSITORY), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    promised = -1
    while promised < after:
        promised = int(await asyncio.wait_for(child.stdout.readline(), 30))
    child.send_signal(signal.SIGKILL)
    rest = await child.stdout.read()
    await child.wait()
    complete = rest[: rest.rfind(b"\n") + 1].split()
    if complete:
        promised = int(complete[-1])

    async with open_outbox(log, tmp_path / "spool") as outbox:
        assert await outbox.flush(20)
        records = await everything(log)

    for topic in (USAGE, REQUESTS):
        found = ids([record for record in records if record.topic == topic])
        assert found >= {f"req_{number}" for number in range(promised + 1)}
    assert_in_order(records)
