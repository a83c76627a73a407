"""What consumer groups promise, on every adapter."""

import asyncio

import pytest

from shared.errors import Fenced
from shared.eventlog.port import EventLog, TopicPartition
from shared.topics import REQUESTS, USAGE
from tests.contract.eventlog.conftest import PARTITIONS, StartLog
from tests.support.eventlog import Recorder, Worker, new_record, numbered, numbers, poll_until
from tests.support.eventually import eventually

ALL = frozenset((USAGE, partition) for partition in range(PARTITIONS))


async def test_a_new_group_starts_at_the_beginning_and_owns_everything(log: EventLog) -> None:
    await log.append([*numbered(range(5)), *numbered(range(5), partition=3)])
    listener = Recorder()

    async with log.consumer("g", [USAGE], listener) as consumer:
        records = await poll_until(consumer, 10)

    assert numbers(record for record in records if record.partition == 0) == [0, 1, 2, 3, 4]
    assert numbers(record for record in records if record.partition == 3) == [0, 1, 2, 3, 4]
    assert ("", "assigned", ALL) in listener.story


async def test_a_poll_without_records_returns_after_its_timeout(log: EventLog) -> None:
    async with log.consumer("g", [USAGE], Recorder()) as consumer:
        await _owning(consumer)
        began = asyncio.get_running_loop().time()
        assert list(await consumer.poll(0.3, 10)) == []
        waited_s = asyncio.get_running_loop().time() - began

    assert 0.25 <= waited_s < 10


async def test_a_waiting_poll_wakes_up_for_a_record(start_log: StartLog) -> None:
    log, other = await start_log(), await start_log()
    async with log.consumer("g", [USAGE], Recorder()) as consumer:
        await _owning(consumer)
        polling = asyncio.create_task(poll_until(consumer, 1))
        await other.append(numbered([1]))
        assert numbers(await polling) == [1]


async def test_after_a_crash_uncommitted_records_come_again_and_committed_ones_do_not(
    start_log: StartLog,
) -> None:
    first = await start_log()
    await first.append(numbered(range(10)))
    async with first.consumer("g", [USAGE], Recorder()) as consumer:
        assert len(await poll_until(consumer, 8)) == 8
        await consumer.commit({(USAGE, 0): 5})
        assert await consumer.committed((USAGE, 0)) == 5
        assert await consumer.committed((USAGE, 1)) is None
    await first.close()

    second = await start_log()
    async with second.consumer("g", [USAGE], Recorder()) as consumer:
        assert numbers(await poll_until(consumer, 5)) == [5, 6, 7, 8, 9]


async def test_groups_do_not_disturb_each_other(log: EventLog) -> None:
    await log.append(numbered(range(3)))
    for group in ("one", "two"):
        async with log.consumer(group, [USAGE], Recorder()) as consumer:
            assert numbers(await poll_until(consumer, 3)) == [0, 1, 2]
            await consumer.commit({(USAGE, 0): 3})


async def test_seek_inside_assigned_decides_where_reading_begins(log: EventLog) -> None:
    await log.append(numbered(range(10)))

    class Seeking(Recorder):
        async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
            await super().assigned(partitions)
            consumer.seek((USAGE, 0), 7)

    async with log.consumer("g", [USAGE], Seeking()) as consumer:
        assert numbers(await poll_until(consumer, 3)) == [7, 8, 9]
        consumer.seek((USAGE, 0), 1)
        assert numbers(await poll_until(consumer, 2)) == [1, 2]


async def test_a_paused_partition_delivers_nothing_until_it_is_resumed(log: EventLog) -> None:
    await log.append([*numbered(range(3)), *numbered(range(3), partition=1)])
    async with log.consumer("g", [USAGE], Recorder()) as consumer:
        await _owning(consumer)
        consumer.seek((USAGE, 0), 0)
        consumer.seek((USAGE, 1), 0)
        consumer.pause(frozenset({(USAGE, 0)}))
        records = list(await poll_until(consumer, 3))
        records.extend(await consumer.poll(0.5, 10))
        assert {record.partition for record in records} == {1}
        consumer.resume(frozenset({(USAGE, 0)}))
        assert numbers(await poll_until(consumer, 3)) == [0, 1, 2]


async def test_lag_counts_what_was_not_read_yet(log: EventLog) -> None:
    await log.append([*numbered(range(10)), *numbered(range(4), partition=2)])
    async with log.consumer("g", [USAGE], Recorder()) as consumer:
        await _owning(consumer)
        consumer.seek((USAGE, 0), 4)
        consumer.seek((USAGE, 2), 4)
        lag = await consumer.lag()

    assert lag[USAGE, 0] == 6
    assert lag[USAGE, 2] == 0
    assert lag.keys() == ALL


async def test_one_member_reads_the_same_partition_numbers_of_several_topics(start_log: StartLog) -> None:
    logs = [await start_log(), await start_log()]
    listeners = [Recorder("a"), Recorder("b")]
    async with (
        logs[0].consumer("g", [USAGE, REQUESTS], listeners[0]) as first,
        logs[1].consumer("g", [USAGE, REQUESTS], listeners[1]) as second,
    ):
        await _shared_evenly((first, second), listeners, each=PARTITIONS)

    for story in (listeners[0].story, listeners[1].story):
        last = next(partitions for _, what, partitions in reversed(story) if what == "revoked")
        assert {number for topic, number in last if topic == USAGE} == {
            number for topic, number in last if topic == REQUESTS
        }


async def test_two_members_share_and_rebalance_without_losing_or_overlapping(start_log: StartLog) -> None:
    logs = [await start_log(), await start_log()]
    story: list[tuple[str, str, frozenset[TopicPartition]]] = []
    first, second = Worker(logs[0], "g", "a", story), Worker(logs[1], "g", "b", story)

    async def produce() -> None:
        for number in range(0, 600, 10):
            await logs[0].append(
                [new_record(b"%d" % n, partition=n % PARTITIONS) for n in range(number, number + 10)]
            )

    first.start()
    await eventually(lambda: first.listener.owned == ALL)
    producing = asyncio.create_task(produce())
    second.start()
    await eventually(lambda: len(first.listener.owned) == len(second.listener.owned) == PARTITIONS // 2, 40)
    await producing
    await eventually(lambda: len(_distinct(first, second)) == 600, 40)
    await second.stop()
    await logs[0].append([new_record(b"%d" % n, partition=n % PARTITIONS) for n in range(600, 640)])
    await eventually(lambda: len(_distinct(first, second)) == 640, 40)
    await first.stop()

    assert _distinct(first, second) == set(range(640))
    _assert_never_two_owners(story)


async def test_a_listener_still_owns_its_partitions_while_revoked_runs(start_log: StartLog) -> None:
    logs = [await start_log(), await start_log()]
    await logs[0].append([new_record(b"%d" % n, partition=n) for n in range(PARTITIONS)])

    class Finishing(Recorder):
        async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
            if partitions:
                await first.commit(dict.fromkeys(partitions, 1))
            await super().revoked(partitions)

    listener, other = Finishing("a"), Recorder("b")
    first = logs[0].consumer("g", [USAGE], listener)
    async with first:
        assert len(await poll_until(first, PARTITIONS)) == PARTITIONS
        async with logs[1].consumer("g", [USAGE], other) as second:
            await _shared_evenly((first, second), (listener, other), each=PARTITIONS // 2)
            for partition in other.owned:
                assert await second.committed(partition) == 1
            assert list(await second.poll(0.3, 10)) == []


async def test_a_commit_for_a_lost_partition_is_fenced(start_log: StartLog) -> None:
    logs = [await start_log(), await start_log()]
    listeners = [Recorder("a"), Recorder("b")]
    async with (
        logs[0].consumer("g", [USAGE], listeners[0]) as first,
        logs[1].consumer("g", [USAGE], listeners[1]) as second,
    ):
        await _shared_evenly((first, second), listeners, each=PARTITIONS // 2)
        lost = min(listeners[1].owned)
        with pytest.raises(Fenced):
            await first.commit({lost: 3})
        await second.commit({lost: 1})
        assert await second.committed(lost) == 1


async def test_an_exception_of_the_listener_reaches_the_caller_of_poll(log: EventLog) -> None:
    class Failing(Recorder):
        async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
            await super().assigned(partitions)
            if len(self.story) == 1:
                raise ValueError("cannot restore")

    await log.append(numbered([1]))
    listener = Failing()
    async with log.consumer("g", [USAGE], listener) as consumer:
        with pytest.raises(ValueError, match="cannot restore"):
            await poll_until(consumer, 1)
        assert numbers(await poll_until(consumer, 1)) == [1]

    assert [what for _, what, _ in listener.story] == ["assigned", "assigned", "revoked"]


async def test_leaving_revokes_first_and_hands_over_at_once(start_log: StartLog) -> None:
    logs = [await start_log(), await start_log()]
    listeners = [Recorder("a"), Recorder("b")]
    async with logs[1].consumer("g", [USAGE], listeners[1]) as second:
        async with logs[0].consumer("g", [USAGE], listeners[0]) as first:
            await _shared_evenly((first, second), listeners, each=PARTITIONS // 2)
        assert listeners[0].story[-1][1] == "revoked"
        assert listeners[0].owned == set()
        async with asyncio.timeout(5):
            while listeners[1].owned != ALL:
                await second.poll(0.1, 10)


async def _owning(consumer) -> None:  # type: ignore[no-untyped-def]
    """Poll until the member owns its partitions; what came meanwhile is dropped."""
    async with asyncio.timeout(40):
        while not await consumer.lag():
            await consumer.poll(0.1, 1_000)


async def _shared_evenly(consumers, listeners, each: int) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(40):
        while any(len(listener.owned) != each for listener in listeners):
            await asyncio.gather(*[consumer.poll(0.1, 10) for consumer in consumers])


def _distinct(*workers: Worker) -> set[int]:
    return {number for worker in workers for number in numbers(worker.records)}


def _assert_never_two_owners(story: list[tuple[str, str, frozenset[TopicPartition]]]) -> None:
    owners: dict[TopicPartition, str] = {}
    for name, what, partitions in story:
        for partition in partitions:
            if what == "assigned":
                assert partition not in owners, f"{name} got {partition} while {owners[partition]} had it"
                owners[partition] = name
            else:
                owners.pop(partition, None)
