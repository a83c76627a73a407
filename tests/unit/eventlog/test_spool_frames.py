"""Frames of the spool: whole or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.spool_frames import Frame, Place, SpooledRecord, encode, scan

RECORDS = st.lists(
    st.builds(
        SpooledRecord,
        topic=st.sampled_from(["finops.usage", "finops.requests"]),
        partition=st.integers(0, 255),
        key=st.text(max_size=20),
        seq=st.integers(0, 2**53),
        event_type=st.text(max_size=20),
        value=st.binary(max_size=200),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
PUTS = st.lists(st.tuples(st.integers(0, 2**45), RECORDS), max_size=6)
START = Place(3, 1_000)


def _contents(frames: list[Frame]) -> list[tuple[int, tuple[SpooledRecord, ...]]]:
    return [(frame.at_ms, frame.records) for frame in frames]


@given(PUTS)
def test_what_was_encoded_is_scanned_back(puts: list[tuple[int, tuple[SpooledRecord, ...]]]) -> None:
    data = b"".join(encode(at_ms, records) for at_ms, records in puts)

    frames = scan(data, START)

    assert _contents(frames) == puts
    assert sum(frame.size for frame in frames) == len(data)
    if frames:
        assert frames[-1].end == Place(3, 1_000 + len(data))


@given(PUTS, st.data())
def test_a_torn_tail_costs_only_the_frame_it_tore(
    puts: list[tuple[int, tuple[SpooledRecord, ...]]], data: st.DataObject
) -> None:
    pieces = [encode(at_ms, records) for at_ms, records in puts]
    whole = b"".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    surviving = 0
    while surviving < len(pieces) and sum(map(len, pieces[: surviving + 1])) <= cut:
        surviving += 1

    assert _contents(scan(whole[:cut], START)) == puts[:surviving]


@given(PUTS, st.integers(0, 100))
def test_zeros_after_the_last_frame_are_no_frames(
    puts: list[tuple[int, tuple[SpooledRecord, ...]]], zeros: int
) -> None:
    data = b"".join(encode(at_ms, records) for at_ms, records in puts) + bytes(zeros)

    assert _contents(scan(data, START)) == puts


@given(RECORDS, st.data())
def test_a_flipped_bit_ends_the_scan(records: tuple[SpooledRecord, ...], data: st.DataObject) -> None:
    frame = bytearray(encode(1, records))
    position = data.draw(st.integers(4, len(frame) - 1))
    frame[position] ^= 1 << data.draw(st.integers(0, 7))

    assert scan(bytes(frame), START) == []
