"""Large bodies: what is found and counted in them does not depend on how they are read."""

import base64
import json
import os
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers import estimate, stretches
from services.gateway.providers.body import JsonBody, LargeJsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.operations import Operation
from services.gateway.providers.stretches import (
    HEAD_BYTES,
    LARGE_BYTES,
    WINDOW_BYTES,
    abridged,
    left_out,
    searchable,
)

PAYLOAD = base64.b64encode(os.urandom(3 * WINDOW_BYTES)).decode()
LONG_TEXT = "no quotation mark stands in here; " * 8_000
parts = st.sampled_from(
    [
        {"type": "text", "text": "short"},
        {"type": "text", "text": LONG_TEXT},
        {"type": "text", "text": f"![]({LONG_TEXT} data:image/png;base64,{PAYLOAD}) {LONG_TEXT}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PAYLOAD}"}},
        {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PAYLOAD}},
        {"type": "file", "file": {"file_data": PAYLOAD}},
        {"type": "input_audio", "input_audio": {"data": PAYLOAD, "format": "wav"}},
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
contents = st.lists(parts, min_size=1, max_size=5)


def raw_of(content: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": "m", "user": "u", "messages": messages}).encode()


@settings(deadline=None)
@given(contents)
def test_the_estimate_is_that_of_a_body_read_in_full(content: list[Any]) -> None:
    raw = raw_of(content)
    read_in_full = JsonBody(raw, msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "LARGE_BYTES", 0)
        estimated = estimate_prompt(Operation.CHAT, parse_json(raw))
        patch.setattr(estimate, "LARGE_BYTES", len(raw))
        assert estimated == estimate_prompt(Operation.CHAT, read_in_full)


@settings(deadline=None)
@given(contents)
def test_what_is_left_holds_every_name_and_every_beginning_of_base64(content: list[Any]) -> None:
    raw = raw_of(content)

    short, gaps = abridged(raw)

    assert len(short) + left_out(gaps, 0, len(short)) == len(raw)
    for word in (b'"', b'"type"', b'"data"', b'"input_audio"', b'"image_url"', b";base64,"):
        assert short.count(word) == raw.count(word)
    assert len(short) < len(raw) or not gaps


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4 * WINDOW_BYTES)), max_size=6))
@settings(deadline=None)
def test_every_long_stretch_is_cut_and_nothing_else(blocks: list[tuple[bool, int]]) -> None:
    raw = b"".join(b'"' + (b"q" if quiet else b'"') * size for quiet, size in blocks) + b'"'

    short, gaps = abridged(raw)

    long = [size for quiet, size in blocks if quiet and size >= 2 * WINDOW_BYTES]
    found = [gap.size + HEAD_BYTES + stretches.TAIL_BYTES for gap in gaps]
    assert set(long) <= set(found)
    assert short.count(b'"') == raw.count(b'"')
    assert all(size >= WINDOW_BYTES for size in found)


def test_a_body_without_long_stretches_stays_the_same_object() -> None:
    raw = raw_of([{"type": "text", "text": "short"}] * 100_000)

    assert len(raw) > LARGE_BYTES
    assert abridged(raw) == (raw, [])
    assert searchable(raw) is raw


def test_a_large_body_says_what_a_small_one_says() -> None:
    raw = raw_of(PAYLOAD * 5)
    small = parse_json(raw_of("hi"))
    large = parse_json(raw)

    assert isinstance(large, LargeJsonBody)
    assert not isinstance(small, LargeJsonBody)
    assert small.searchable is small.raw_body
    assert len(large.searchable) < WINDOW_BYTES
    assert (large.model, large.user, large.n, large.text("nothing")) == ("m", "u", 1, None)
    assert large.raw("messages") is large.raw("messages")
    assert msgspec.json.decode(large.raw("messages") or b"")[0]["content"] == PAYLOAD * 5
    changed = parse_json(large.with_changes({"model": b'"other"'}, ["user"]))
    assert (changed.model, changed.user) == ("other", "")
    without = large.without("user")
    assert type(without) is type(large)
    assert "user" not in without
    assert without.raw_body is raw


@given(
    fields=st.dictionaries(st.text(), JSON, max_size=4),
    changes=st.dictionaries(st.text(), JSON, max_size=3),
    drop=st.lists(st.text(), max_size=2),
)
def test_a_large_body_is_changed_as_a_small_one(
    fields: dict[str, Any], changes: dict[str, Any], drop: list[str]
) -> None:
    raw = json.dumps({**fields, "model": "m"}).encode()
    decoded = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    written = {name: json.dumps(value).encode() for name, value in changes.items()}
    gone = [*drop, *list(fields)[:1]]

    changed = [kind(raw, decoded).with_changes(written, gone) for kind in (JsonBody, LargeJsonBody)]

    assert changed[0] == changed[1]


def test_what_is_wrong_with_a_large_body_is_told_as_of_a_small_one() -> None:
    with pytest.raises(BadRequest, match="You must name a model"):
        parse_json(b'{"a":"' + b"x" * LARGE_BYTES + b'"}')
