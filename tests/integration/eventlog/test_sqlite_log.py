"""What only the SQLite log has: several processes on one file, retention, compaction, sessions, durability."""

import asyncio
import errno
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.errors import ConfigurationError, Fenced, LogUnavailable
from shared.eventlog.file_lock import FileLock
from shared.eventlog.sqlite import SqliteEventLog
from shared.eventlog.sqlite_thread import SqliteReader, SqliteWriter
from shared.topics import DAY_MS, SPEND, USAGE, TopicSpec, topic_specs
from tests.support.eventlog import Recorder, collect, new_record, numbered, numbers, poll_until
from tests.support.eventually import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
NOW_MS = 1_800_000_000_000
ALL = {(USAGE, partition) for partition in range(4)}


def specs(partitions: int = 4) -> dict[str, TopicSpec]:
    return topic_specs(partitions, usage_retention_ms=90 * DAY_MS, requests_retention_ms=7 * DAY_MS)


@asynccontextmanager
async def opened(
    path: Path,
    *,
    session_timeout_s: float = 10.0,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> AsyncIterator[SqliteEventLog]:
    log = SqliteEventLog(path, specs(), session_timeout_s=session_timeout_s, now_ms=now_ms)
    await log.start()
    try:
        yield log
    finally:
        await log.close()


CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from shared.eventlog.sqlite import SqliteEventLog
from shared.topics import DAY_MS, USAGE, topic_specs
from tests.support.eventlog import Recorder, numbered

async def main(path, role, partition):
    specs = topic_specs(4, usage_retention_ms=90 * DAY_MS, requests_retention_ms=7 * DAY_MS)
    log = SqliteEventLog(path, specs)
    await log.start()
    if role == "append":
        for first in range(0, 200, 10):
            await log.append(numbered(range(first, first + 10), partition=partition))
            print(first + 10, flush=True)
        await log.close()
    elif role == "append-for-ever":
        number = 0
        while True:
            await log.append(numbered([number], partition=partition))
            print(number, flush=True)
            number += 1
    else:
        async with log.consumer("g", [USAGE], Recorder()) as consumer:
            while True:
                await consumer.poll(0.1, 10)
                print("owning" if await consumer.lag() else "joining", flush=True)

asyncio.run(main(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
"""


async def child(path: Path, role: str, partition: int = 0) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        str(REPOSITORY),
        str(path),
        role,
        str(partition),
        stdout=asyncio.subprocess.PIPE,
    )


async def test_several_processes_append_and_follow_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    seen: list[int] = []
    async with opened(path) as log:

        async def follow() -> None:
            async for batch in log.follow(USAGE, {}):
                seen.extend(record.partition for record in batch)

        following = asyncio.create_task(follow())
        children = [await child(path, "append", partition) for partition in range(3)]
        own = [log.append(numbered(range(n, n + 10), partition=3)) for n in range(0, 200, 10)]
        await asyncio.gather(*own)
        outputs = await asyncio.gather(*[process.communicate() for process in children])
        await eventually(lambda: len(seen) == 800)
        following.cancel()
        await asyncio.wait((following,))
        for partition in range(4):
            assert numbers(await collect(log.read(USAGE, partition, 0, 200))) == list(range(200))

    assert [process.returncode for process in children] == [0, 0, 0]
    assert all(output.split()[-1] == b"200" for output, _ in outputs)


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    process = await child(path, "append-for-ever")
    assert process.stdout is not None
    acknowledged = -1
    while acknowledged < 100:
        acknowledged = int(await asyncio.wait_for(process.stdout.readline(), 30))
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    acknowledged = max(acknowledged, *[int(line) for line in rest.split(b"\n")[:-1]], 0)

    async with opened(path) as log:
        end = (await log.end_offsets(USAGE))[0]
        records = await collect(log.read(USAGE, 0, 0, end))
        assert list(await log.append(numbered([0]))) == [end]

    assert numbers(records) == list(range(end))
    assert end > acknowledged


async def test_the_partitions_of_a_killed_process_are_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    process = await child(path, "consume")
    assert process.stdout is not None
    while (await asyncio.wait_for(process.stdout.readline(), 30)).strip() != b"owning":
        pass
    process.send_signal(signal.SIGKILL)
    await process.communicate()

    listener = Recorder()
    async with opened(path, session_timeout_s=60) as log, log.consumer("g", [USAGE], listener) as consumer:
        async with asyncio.timeout(30):
            while listener.owned != ALL:
                await consumer.poll(0.1, 10)


async def test_an_expired_session_loses_its_partitions_and_cannot_commit(tmp_path: Path) -> None:
    clock = [NOW_MS]
    path = tmp_path / "events.db"
    stale, fresh = Recorder("stale"), Recorder("fresh")
    async with (
        opened(path, now_ms=lambda: clock[0], session_timeout_s=600) as one,
        opened(path, now_ms=lambda: clock[0], session_timeout_s=600) as two,
        one.consumer("g", [USAGE], stale) as sleeper,
    ):
        await one.append(numbered(range(3)))
        assert numbers(await poll_until(sleeper, 3)) == [0, 1, 2]
        clock[0] += 601_000
        async with two.consumer("g", [USAGE], fresh) as successor:
            assert numbers(await poll_until(successor, 3)) == [0, 1, 2]
            assert fresh.owned == ALL
            with pytest.raises(Fenced):
                await sleeper.commit({(USAGE, 0): 3})
            await successor.commit({(USAGE, 0): 3})
            await _settle(((sleeper, stale), (successor, fresh)))
            assert stale.story[1] == ("stale", "revoked", frozenset(ALL))


async def _settle(members) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(30):
        while any(len(listener.owned) != 2 for _, listener in members):
            await asyncio.gather(*[consumer.poll(0.05, 10) for consumer, _ in members])


async def test_old_records_go_and_their_offsets_never_come_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "events.db", now_ms=lambda: NOW_MS) as log:
        old = NOW_MS - 91 * DAY_MS
        await log.append([new_record(b"%d" % n, timestamp_ms=old + n) for n in range(1_000)])
        assert log.upkeep is not None
        assert await log.upkeep.round() == 1_000
        assert await collect(log.read(USAGE, 0, 0, 1_000)) == []
        assert list(await log.append(numbered([7]))) == [1_000]
        assert await log.upkeep.round() == 0
        assert numbers(await collect(log.read(USAGE, 0, 0, 1_001))) == [7]
        async with log.consumer("g", [USAGE], Recorder()) as consumer:
            assert numbers(await poll_until(consumer, 1)) == [7]


async def test_compaction_keeps_the_last_value_of_each_key_and_tombstones_for_a_day(tmp_path: Path) -> None:
    clock = [NOW_MS]
    async with opened(tmp_path / "events.db", now_ms=lambda: clock[0]) as log:
        await log.append([new_record(b"%d" % n, topic=SPEND, key=f"k{n % 3}") for n in range(30)])
        await log.append([new_record(None, topic=SPEND, key="k0")])
        assert log.upkeep is not None
        assert await log.upkeep.round() == 28
        kept = await collect(log.read(SPEND, 0, 0, 31))
        assert [(record.key, record.value, record.offset) for record in kept] == [
            ("k1", b"28", 28),
            ("k2", b"29", 29),
            ("k0", None, 30),
        ]
        clock[0] += DAY_MS + 1
        assert await log.upkeep.round() == 1
        # The end is a gap now: reading and following reach it all the same.
        assert [record.key for record in await collect(log.read(SPEND, 0, 0, 31))] == ["k1", "k2"]
        caught_up = asyncio.Event()
        async for _ in _once_caught_up(log, caught_up):
            break
        assert caught_up.is_set()


async def _once_caught_up(log: SqliteEventLog, caught_up: asyncio.Event) -> AsyncIterator[None]:
    async def mark() -> None:
        caught_up.set()

    async def follow() -> None:
        async for _ in log.follow(SPEND, {}, caught_up=mark):
            pass

    task = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(caught_up.wait(), 30)
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_another_partition_count_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with opened(path):
        pass

    with pytest.raises(ConfigurationError, match=r"FINOPS_PARTITIONS asks for 8 .*set it back to 4"):
        await SqliteEventLog(path, specs(8)).start()


async def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"this is no database" * 1_000)

    with pytest.raises(LogUnavailable, match="events.db"):
        await SqliteEventLog(path, specs()).start()


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ConfigurationError, match="format 99"):
        await SqliteEventLog(path, specs()).start()


async def test_only_its_owner_may_read_it_and_dead_processes_leave_no_files(tmp_path: Path) -> None:
    path = tmp_path / "made" / "events.db"
    path.parent.mkdir()
    process = await child(path, "append-for-ever")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.kill()
    await process.communicate()
    assert len(list(path.parent.glob("*.instance"))) == 1

    async with opened(path) as log, opened(path):
        await log.append(numbered([1]))
        assert len(list(path.parent.glob("*.instance"))) == 2
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"events.db", "events.db-wal", "events.db-shm"} <= set(modes)
    assert list(path.parent.glob("*.instance")) == []


async def test_a_disk_that_fails_while_looking_or_rolling_back_stops_neither_thread(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    fails = [sqlite3.DatabaseError("disk image is malformed")]

    def look(_: sqlite3.Connection) -> None:
        if fails:
            raise fails.pop()

    reader, writer = SqliteReader(path, "reader", idle=look), SqliteWriter(path, "writer")
    await reader.start()
    await writer.start()
    await eventually(lambda: not fails)
    assert await asyncio.wait_for(reader.run(lambda _: 1), 30) == 1

    class Broken:
        in_transaction = True

        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError(f"disk I/O error at {statement}")

    waiting = asyncio.get_running_loop().create_future()
    ((_, _, error),) = writer._commit(Broken(), [(lambda _: 1, waiting)])  # type: ignore[arg-type]  # enough of one
    assert isinstance(error, LogUnavailable)
    assert "BEGIN" in str(error)
    await asyncio.gather(reader.close(), writer.close())


async def test_upkeep_goes_on_after_its_lock_file_could_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bool] = []
    acquire = FileLock.acquire

    def flaky(lock: FileLock, *, wait: bool = False) -> bool:
        if lock.path.name.endswith(".upkeep"):
            tries.append(True)
            if len(tries) == 1:
                raise OSError(errno.EMFILE, "Too many open files")
        return acquire(lock, wait=wait)

    monkeypatch.setattr(FileLock, "acquire", flaky)
    log = SqliteEventLog(tmp_path / "events.db", specs(), upkeep_interval_s=0.01)
    await log.start()
    await eventually(lambda: len(tries) == 2)
    await log.close()


async def test_a_closed_log_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "events.db") as log:
        pass

    with pytest.raises(LogUnavailable, match="not open"):
        await log.append(numbered([1]))


async def test_another_process_is_noticed_within_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    delays: list[float] = []
    arrived: asyncio.Queue[float] = asyncio.Queue()
    async with opened(path) as writer, opened(path) as reader:

        async def follow() -> None:
            async for _ in reader.follow(USAGE, {}):
                arrived.put_nowait(time.monotonic())

        task = asyncio.create_task(follow())
        for number in range(20):
            await writer.append(numbered([number]))
            written = time.monotonic()
            delays.append(await asyncio.wait_for(arrived.get(), 30) - written)
        task.cancel()
        await asyncio.wait((task,))

    # The look happens every 20 ms; the median leaves room for a busy machine.
    assert sorted(delays)[10] < 0.5
