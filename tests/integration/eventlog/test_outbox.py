"""The outbox on a real log and a real disk."""

import asyncio
import base64
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from shared.errors import LogUnavailable, RecordTooLarge, SpoolFull
from shared.eventlog.dead_letters import DeadLetter
from shared.eventlog.outbox import Outbox, Position
from shared.eventlog.port import EventLog, Record
from shared.events import RequestLogged, RequestStarted, decode
from shared.topics import DEAD_LETTERS, REQUESTS, USAGE, partition_for
from tests.support.eventlog import collect
from tests.support.eventually import eventually
from tests.support.flaky_log import FlakyLog
from tests.support.outbox_events import logged, started

MIB = 1_048_576
REPOSITORY = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def open_outbox(
    log: EventLog, directory: Path, *, limit_bytes: int = 64 * MIB, **options: float
) -> AsyncIterator[Outbox]:
    outbox = Outbox(log, directory, limit_bytes=limit_bytes, fsync_interval_s=0.05, **options)  # type: ignore[arg-type]  # sizes are ints
    await outbox.start()
    try:
        yield outbox
    finally:
        await outbox.close()


async def everything(log: EventLog, *topics: str) -> list[Record]:
    records: list[Record] = []
    for topic in topics or (USAGE, REQUESTS):
        for partition, end in (await log.end_offsets(topic)).items():
            records.extend(await collect(log.read(topic, partition, 0, end)))
    return records


def ids(records: list[Record]) -> set[str]:
    events = [decode(record.value or b"") for record in records]
    return {event.request_id for event in events if isinstance(event, RequestStarted | RequestLogged)}


def assert_in_order(records: list[Record]) -> None:
    """Along each partition, dropping replays as readers do leaves every record of a producer, in rising order."""
    kept: dict[tuple[str, int, str], list[int]] = {}
    everything_seen: dict[tuple[str, int, str], set[int]] = {}
    for record in records:
        lane = (record.topic, record.partition, record.headers["producer"])
        seq = int(record.headers["seq"])
        everything_seen.setdefault(lane, set()).add(seq)
        rising = kept.setdefault(lane, [])
        if not rising or seq > rising[-1]:
            rising.append(seq)
    assert kept == {lane: sorted(seqs) for lane, seqs in everything_seen.items()}


async def test_what_is_put_arrives_with_its_identity(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(log, tmp_path / "spool") as outbox:
        first = outbox.put(started(1))
        second = outbox.put(started(2), logged(2))
        assert await outbox.flush(5)
        assert (outbox.pending_records, outbox.pending_bytes) == (0, 0)
        records = await everything(log)

    partition = partition_for("vk_1", 4)
    assert first == (Position(partition, 1),)
    assert [position.seq for position in second] == [2, 3]
    assert {(record.headers["producer"], record.headers["seq"]) for record in records} == {
        (outbox.incarnation, seq) for seq in ("1", "2", "3")
    }
    mine = next(record for record in records if record.headers["seq"] == "1")
    assert (mine.topic, mine.partition, mine.key) == (USAGE, partition, "vk_1")
    assert mine.headers["event-type"] == "request.started"
    assert mine.headers["event-version"] == "1"
    assert abs(mine.timestamp_ms / 1000 - time.time()) < 60


async def test_a_clean_close_leaves_nothing_behind(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(log, tmp_path / "spool") as outbox:
        outbox.put(started(1))

    assert [path for path in (tmp_path / "spool").iterdir() if path.is_dir()] == []


async def test_while_the_log_is_away_puts_go_on_and_arrive_in_order_afterwards(
    log: FlakyLog, tmp_path: Path
) -> None:
    async with open_outbox(log, tmp_path / "spool") as outbox:
        log.away = log.write_then_fail = True
        for number in range(200):
            outbox.put(started(number), logged(number, 100))
        await eventually(lambda: outbox.delivery.failed_attempts >= 2)
        assert outbox.delivery.last_error == "away"
        assert outbox.pending_records == 400
        assert outbox.oldest_pending_age_s(time.time() + 5) >= 5
        assert not await outbox.flush(0.05)
        log.away = False
        assert await outbox.flush(10)
        assert outbox.delivery.last_error == ""
        assert outbox.oldest_pending_age_s(time.time() + 5) == 0
        records = await everything(log)

    assert ids(records) == {f"req_{number}" for number in range(200)}
    assert_in_order(records)


async def test_more_than_memory_holds_is_read_back_from_disk(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(
        log, tmp_path / "spool", memory_bytes=20_000, segment_bytes=50_000, linger_s=0.0
    ) as outbox:
        log.away = True
        for number in range(150):
            outbox.put(logged(number))
        await eventually(lambda: outbox.delivery.failed_attempts)
        own = tmp_path / "spool" / outbox.incarnation
        assert len(list(own.glob("*.spool"))) > 5
        log.away = False
        for number in range(150, 300):
            outbox.put(logged(number))
            await asyncio.sleep(0)
        assert await outbox.flush(20)
        await eventually(lambda: len(list(own.glob("*.spool"))) == 1)
        records = await everything(log)

    assert len(records) == 300
    assert ids(records) == {f"req_{number}" for number in range(300)}
    assert_in_order(records)


async def test_a_full_spool_refuses_and_takes_again_when_there_is_room(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(log, tmp_path / "spool", limit_bytes=20_000) as outbox:
        log.away = True
        count = 0
        with pytest.raises(SpoolFull):
            while True:
                outbox.put(logged(count))
                count += 1
        assert 5 <= count <= 8
        log.away = False
        assert await outbox.flush(10)
        assert outbox.put(started(999))[0].seq == count + 1


async def test_a_disk_that_takes_no_more_refuses_the_put_whole(
    log: FlakyLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write

    def short_write(fd: int, data: bytes) -> int:
        return real_write(fd, data[: len(data) // 2])

    async with open_outbox(log, tmp_path / "spool") as outbox:
        outbox.put(started(1))
        monkeypatch.setattr(os, "write", short_write)
        try:
            with pytest.raises(SpoolFull, match="disk"):
                outbox.put(started(2))
        finally:
            monkeypatch.undo()
        assert outbox.put(started(3))[0].seq == 2
        assert await outbox.flush(5)
        assert ids(await everything(log)) == {"req_1", "req_3"}


async def test_an_item_over_its_limit_refuses_the_whole_put(log: FlakyLog, tmp_path: Path) -> None:
    async with open_outbox(log, tmp_path / "spool") as outbox:
        with pytest.raises(RecordTooLarge, match=r"finops\.requests"):
            outbox.put(started(1), logged(1, 4 * MIB))
        assert outbox.pending_records == 0
        assert outbox.put(started(2))[0].seq == 1


async def test_a_record_that_the_log_finds_too_large_goes_to_the_dead_letters(
    log: FlakyLog, tmp_path: Path
) -> None:
    async with open_outbox(log, tmp_path / "spool", linger_s=0.0) as outbox:
        # The first answer is for the batch, the others for its first record, sent alone.
        log.failures = [
            RecordTooLarge("batch"),
            LogUnavailable("once"),
            RecordTooLarge("over the broker's limit"),
        ]
        outbox.put(started(4), started(5))
        assert await outbox.flush(5)
        dead = await everything(log, DEAD_LETTERS)
        alive = await everything(log, USAGE)

    assert len(dead) == 1
    letter = msgspec.json.decode(dead[0].value or b"", type=DeadLetter)
    assert letter.reason == "over the broker's limit"
    assert (letter.topic, letter.offset, letter.headers["seq"]) == (USAGE, -1, "1")
    original = decode(base64.b64decode(letter.value))
    assert isinstance(original, RequestStarted)
    assert original.request_id == "req_4"
    assert ids(alive) == {"req_5"}
    assert outbox.delivery.dead_letters == 1


async def test_what_was_left_is_replayed_with_its_original_identity(log: FlakyLog, tmp_path: Path) -> None:
    log.away = True
    first = Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05)
    await first.start()
    for number in range(20):
        first.put(started(number))
    await _vanish(first)
    log.away = False

    async with open_outbox(log, tmp_path / "spool") as second:
        assert second.pending_records >= 20
        second.put(started(100))
        assert await second.flush(10)
        records = await everything(log)
        assert not (tmp_path / "spool" / first.incarnation).exists()

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
    await _vanish(first)
    segment = tmp_path / "spool" / first.incarnation / "00000001.spool"
    with segment.open("ab") as file:
        file.write(tail)
    log.away = False

    async with open_outbox(log, tmp_path / "spool") as second:
        assert await second.flush(10)
        assert ids(await everything(log)) == {f"req_{number}" for number in range(5)}

    aside = [path.name for path in (tmp_path / "spool").glob("*.damaged")]
    assert aside == ([f"{first.incarnation}-00000001.damaged"] if kept else [])


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
from shared.eventlog.outbox import Outbox
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


async def _vanish(outbox: Outbox) -> None:
    """What a crash leaves: the files as they are, and no lock."""
    for task in outbox._tasks:
        task.cancel()
    await asyncio.wait(outbox._tasks)
    outbox._tasks = []
    outbox._writer.close()
    outbox._lock.release()
