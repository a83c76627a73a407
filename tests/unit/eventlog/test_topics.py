"""Which partition a record goes to."""

from hypothesis import given
from hypothesis import strategies as st

from shared.topics import SPREAD, SPREAD_MS, USAGE, partition_at, partition_for

TIMES = st.integers(0, 2**42)
COUNTS = st.integers(1, 256)


def test_a_key_has_the_partition_of_its_crc_32() -> None:
    assert partition_for("123456789", 12) == 0xCBF43926 % 12  # the check value of CRC-32's definition


def test_what_is_folded_in_order_is_not_spread() -> None:
    assert USAGE not in SPREAD


@given(producer=st.text(), began=TIMES, partitions=COUNTS)
def test_a_producer_fills_all_partitions_in_turn(producer: str, began: int, partitions: int) -> None:
    found = [partition_at(producer, began + turn * SPREAD_MS, partitions) for turn in range(partitions)]

    assert sorted(found) == list(range(partitions))


@given(producer=st.text(), began=TIMES, partitions=COUNTS)
def test_what_is_put_together_stays_together(producer: str, began: int, partitions: int) -> None:
    first = began - began % SPREAD_MS

    assert len({partition_at(producer, first + ms, partitions) for ms in range(SPREAD_MS)}) == 1


def test_producers_are_not_all_at_one_partition() -> None:
    assert len({partition_at(f"out_{number}", 1_000_000, 12) for number in range(100)}) == 12
