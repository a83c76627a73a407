"""The outbox on a real log and a real disk."""

import asyncio
import base64
import errno
import os
import re
import time
from pathlib import Path

import msgspec
import pytest

from shared.errors import ConfigurationError, LogUnavailable, RecordTooLarge, SpoolFull
from shared.eventlog.dead_letters import DeadLetter
from shared.eventlog.outbox import Outbox, Position
from shared.events import RequestStarted, decode
from shared.topics import DEAD_LETTERS, USAGE, partition_for
from tests.support.eventually import eventually
from tests.support.flaky_log import FlakyLog
from tests.support.outbox import MIB, assert_in_order, everything, ids, open_outbox
from tests.support.outbox_events import logged, started


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


async def test_a_spool_that_is_full_for_what_begins_has_room_for_what_ends(
    log: FlakyLog, tmp_path: Path
) -> None:
    async with open_outbox(log, tmp_path / "spool", limit_bytes=100_000) as outbox:
        log.away = True
        with pytest.raises(SpoolFull):
            for number in range(1_000):
                outbox.put(logged(number))
        full_at = outbox.pending_bytes
        outbox.put(logged(1_001), is_end=True)
        with pytest.raises(SpoolFull):
            for number in range(2_000, 3_000):
                outbox.put(logged(number), is_end=True)
        assert 90_000 < full_at < 94_000 < outbox.pending_bytes <= 100_000
        log.away = False
        assert await outbox.flush(10)


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


async def test_a_disk_without_room_for_the_mark_stops_nothing_and_repeats_nothing(
    log: FlakyLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_outbox(log, tmp_path / "spool", segment_bytes=5_000) as outbox:
        monkeypatch.setattr(os, "pwrite", no_room)
        for number in range(20):
            outbox.put(logged(number))
        assert await outbox.flush(10)
        own = tmp_path / "spool" / outbox.incarnation
        await eventually(lambda: len(list(own.glob("*.spool"))) == 1)

    assert len(await everything(log)) == 20


async def test_what_vanishes_from_the_disk_is_said_and_waited_for_no_longer(
    log: FlakyLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_outbox(log, tmp_path / "spool", memory_bytes=6_000, segment_bytes=5_000) as outbox:
        log.away = True
        for number in range(20):
            outbox.put(logged(number))
        segments = sorted((tmp_path / "spool" / outbox.incarnation).glob("*.spool"))
        for segment in segments[3:6]:
            segment.unlink()
        log.away = False
        assert await outbox.flush(10)
        assert (outbox.pending_records, outbox.pending_bytes) == (0, 0)
        found = len(await everything(log))

    assert 0 < found < 20
    assert f"records={20 - found}" in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


async def test_a_directory_that_cannot_be_used_is_one_sentence(log: FlakyLog, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")

    with pytest.raises(ConfigurationError, match=r"FINOPS_DATA_DIR is wrong: the spool in .*spool"):
        await Outbox(log, tmp_path / "spool", limit_bytes=MIB, fsync_interval_s=0.05).start()
