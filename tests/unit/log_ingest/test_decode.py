"""Records become rows, nothing, or poison."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.log_ingest.decode import decode_record
from services.log_ingest.rows import VERSION_ABANDONED, VERSION_LOGGED, LogRow
from shared.errors import Poison
from shared.events import RequestStarted, Tokens
from shared.topics import REQUESTS, USAGE
from tests.support.log_events import T0_MS, abandoned, raw, record_of, request_logged


def test_whatever_decides_a_price_has_a_column() -> None:
    counts = {name: 1_000 + place for place, name in enumerate(Tokens.__struct_fields__)}
    words: dict[str, Any] = {"service_tier": "flex", "image_quality": "hd", "image_size": "1792x1024"}
    logged = request_logged(tokens=Tokens(**counts), **words)

    for event in (logged, abandoned(logged, tokens=Tokens(**counts), **words)):
        row = decode_record(record_of(event))
        assert row is not None
        stored = row._asdict()
        columns = {
            name: next(column for column in LogRow._fields if column in (name, f"{name}_tokens"))
            for name in counts
        }
        assert {name: stored[column] for name, column in columns.items()} == counts
        assert {name: stored[name] for name in words} == words


def test_a_logged_request_becomes_a_row_that_knows_its_source() -> None:
    row = decode_record(record_of(request_logged(3), offset=41, partition=7))

    assert row is not None
    assert (row.version, row.source_topic, row.source_partition, row.source_offset) == (
        VERSION_LOGGED,
        REQUESTS,
        7,
        41,
    )
    assert row.cost == Decimal("0.0000048")
    assert row.prompt_text == "question number3"
    assert row.finish_reason == "stop"


def test_an_unknown_price_is_no_cost_at_all() -> None:
    row = decode_record(record_of(request_logged(cost_basis="unpriced", cost_nanos=0)))

    assert row is not None
    assert row.cost is None


def test_an_abandoned_request_becomes_a_row_that_its_log_supersedes() -> None:
    row = decode_record(record_of(abandoned(request_logged()), topic=USAGE))

    assert row is not None
    assert (row.version, row.status, row.cost) == (VERSION_ABANDONED, "abandoned", Decimal("0.000077"))


def test_other_usage_is_only_passed_by() -> None:
    started = RequestStarted(
        request_id="r", at_ms=T0_MS, deadline_ms=T0_MS, gateway_id="g", virtual_key_id="v", endpoint="/v1/x",
        provider="p", model="m",
    )  # fmt: skip

    assert decode_record(record_of(started, topic=USAGE)) is None
    assert decode_record(record_of(abandoned(request_logged(), outcome="success"), topic=USAGE)) is None


@pytest.mark.parametrize(
    "value", [b"", b"{", b"\xff\xfe", b'{"type":"request.logged"}', b'{"type":"new.kind"}', b"[" * 100_000]
)
def test_what_is_no_event_is_poison_with_its_origin(value: bytes) -> None:
    with pytest.raises(Poison) as caught:
        decode_record(record_of(value, offset=9, partition=2))

    assert (caught.value.partition, caught.value.offset) == (2, 9)


def test_a_time_that_no_table_holds_is_poison() -> None:
    with pytest.raises(Poison, match="outside"):
        decode_record(record_of(request_logged(started_at_ms=-1)))


@pytest.mark.parametrize(
    "body",
    [
        b'"\\ud800 lone"',
        b'{"messages": 7}',
        b"[[[[]]]]",
        b'{"messages":[{"content":"\\udfff"}]}',
        b"1e400",
        b'"\\u0000"',
    ],
)
def test_strange_bodies_are_never_poison(body: bytes) -> None:
    row = decode_record(record_of(request_logged(request=msgspec.Raw(body), response=msgspec.Raw(body))))

    assert row is not None
    row.prompt_text.encode()
    row.request.encode()


def test_unknown_fields_are_ignored() -> None:
    value = msgspec.json.decode(msgspec.json.encode(request_logged(request=raw("x"))))
    value["type"] = "request.logged"
    value["added_later"] = {"a": 1}

    assert decode_record(record_of(msgspec.json.encode(value))) is not None
