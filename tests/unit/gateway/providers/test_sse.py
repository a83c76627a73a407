"""Cutting bytes into events."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.sse import EventBuffer, blocks, data_of, event_name

STREAM = st.text("da: \r\nx", max_size=60).map(str.encode)


@given(STREAM, st.lists(st.integers(0, 60), max_size=8))
def test_nothing_is_lost_or_added(stream: bytes, cuts: list[int]) -> None:
    buffer = EventBuffer()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    events = [buffer.push(stream[a:b]) for a, b in zip(places, places[1:], strict=False)]

    assert b"".join(events) + buffer.take() == stream
    assert all(piece.endswith((b"\n\n", b"\n\r\n")) for piece in events if piece)


@given(STREAM)
def test_what_is_held_back_holds_no_whole_event(stream: bytes) -> None:
    buffer = EventBuffer()
    buffer.push(stream)
    held = buffer.held_bytes

    rest = buffer.take()

    assert len(rest) == held
    assert b"\n\n" not in rest
    assert b"\n\r\n" not in rest
    assert buffer.held_bytes == 0


@given(STREAM)
def test_blocks_add_up_to_the_piece(stream: bytes) -> None:
    assert b"".join(blocks(stream)) == stream


def test_data_lines_are_joined_and_other_fields_left_out() -> None:
    block = b": note\r\nevent: error\r\nid: 1\r\ndata: a\r\ndata:b\r\ndata:  c\r\n\r\n"

    assert data_of(block) == b"a\nb\n c"
    assert event_name(block) == b"error"
    assert data_of(b": only a comment\n\n") is None
    assert event_name(b"data: x\n\n") == b""
