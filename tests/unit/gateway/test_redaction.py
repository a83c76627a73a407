"""What the log keeps of a body: always valid JSON, no payloads, not more than the limit says."""

import base64
import json
import re
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.redaction import BASE64_MIN_BYTES, cut_payloads, logged_any, logged_json, logged_text

PICTURE = base64.b64encode(bytes(range(256)) * 8).decode()
LIMIT = 100_000

texts = st.text(max_size=40)
payloads = st.binary(min_size=200, max_size=400).map(lambda data: base64.b64encode(data).decode())
data_urls = payloads.map(lambda data: f"data:image/png;base64,{data}")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | texts
    | data_urls
    | st.tuples(texts, data_urls, texts).map("".join),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.just("b64_json"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, st.booleans())
def test_json_stays_json_whatever_is_cut(value: object, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()

    cut = cut_payloads(body)

    json.loads(cut)
    assert len(cut) <= len(body)
    assert json.loads(bytes(logged_json(body, LIMIT))) == json.loads(cut)


@given(values, st.integers(0, 2000))
def test_what_is_kept_of_a_body_is_its_beginning_without_payloads(value: object, limit: int) -> None:
    body = json.dumps(value).encode()

    whole, head = cut_payloads(body), cut_payloads(body, limit)

    assert head[:limit] == whole[:limit]
    assert (len(head) <= limit) == (len(whole) <= limit)


@given(st.binary(max_size=2000), st.integers(0, 500))
def test_any_bytes_become_one_json_value(body: bytes, limit: int) -> None:
    shown = logged_any(body, limit)

    msgspec.json.decode(shown)
    bytes(shown).decode()


def test_a_picture_in_a_message_is_cut_and_the_text_around_it_stays() -> None:
    url = f"data:image/png;base64,{PICTURE}"
    body = json.dumps(
        {"content": [{"text": "what is this?"}, {"image_url": {"url": url}}, {"text": "and why?"}]}
    )

    kept = json.loads(cut_payloads(body.encode()))

    assert kept["content"][0]["text"] == "what is this?"
    assert kept["content"][1]["image_url"]["url"] == f"data:image/png;base64,[cut {len(PICTURE)} bytes]"
    assert kept["content"][2]["text"] == "and why?"


def test_a_picture_in_markdown_is_cut_alone() -> None:
    body = json.dumps({"content": f"before ![a](data:image/png;base64,{PICTURE}) after"}).encode()

    assert json.loads(cut_payloads(body))["content"].endswith(f"[cut {len(PICTURE)} bytes]) after")


def test_escaped_slashes_belong_to_the_payload() -> None:
    body = b'{"url":"data:image/png;base64,' + b"ab\\/c" * 100 + b'","x":1}'

    assert json.loads(cut_payloads(body)) == {"url": "data:image/png;base64,[cut 500 bytes]", "x": 1}


@given(
    st.lists(
        st.sampled_from(["QUJD" * 70, "QUJD" * 700, "\\/", "+/=_-", "!", " ", "\\n", '"', ";base64,"]),
        max_size=12,
    )
)
def test_what_is_cut_is_the_whole_run_and_nothing_else(pieces: list[str]) -> None:
    rest = "".join(pieces)
    run = re.match(r"(?:[A-Za-z0-9+/=_-]|\\/)*", rest)
    assert run is not None
    body = f";base64,{rest}".encode()

    cut = cut_payloads(body)

    if len(body) >= BASE64_MIN_BYTES and run.end() >= BASE64_MIN_BYTES:
        assert cut.startswith(f";base64,[cut {run.end()} bytes]".encode())
        assert cut_payloads(rest[run.end() :].encode()) in cut
    else:
        assert cut.startswith(f";base64,{run.group()}".encode())


def test_payload_fields_are_cut_and_short_ones_stay() -> None:
    body = json.dumps(
        {"data": [{"b64_json": PICTURE}], "input_audio": {"data": PICTURE}, "id": {"data": "abc"}}
    )

    kept = json.loads(cut_payloads(body.encode()))

    assert kept["data"][0]["b64_json"] == f"[cut {len(PICTURE)} bytes]"
    assert kept["input_audio"]["data"] == f"[cut {len(PICTURE)} bytes]"
    assert kept["id"]["data"] == "abc"


def test_a_body_without_payloads_is_kept_as_it_came() -> None:
    body = b'{ "messages" : [ {"content": "' + b"x" * 1000 + b'"} ] }'

    assert bytes(logged_json(body, LIMIT)) == body


def test_what_is_over_the_limit_is_its_head_as_a_string() -> None:
    body = json.dumps({"content": "ä" * 1000}).encode()

    shown = json.loads(bytes(logged_json(body, 100)))

    assert shown.startswith('{"content": "')
    assert shown.endswith(f"[cut: {len(body)} bytes in all]")
    assert json.loads(bytes(logged_text("ä".encode() * 10, 5))).startswith("ää")


def test_binary_is_only_measured() -> None:
    assert json.loads(bytes(logged_any(b"\xff\xfb\x90" * 100, LIMIT))) == "[300 bytes of binary data]"


def test_large_bodies_are_cut_fast_enough_to_stay_on_the_event_loop() -> None:
    payload = b"QUJD" * 5_000_000
    body = b'{"url":"data:image/png;base64,' + payload + b'"}'

    assert cut_payloads(body) == b'{"url":"data:image/png;base64,[cut 20000000 bytes]"}'


@pytest.mark.parametrize("piece", [b";base64,!", b";base64," + b"A" * 5_000 + b"!"], ids=["short", "long"])
def test_time_grows_with_the_size_of_a_body_however_often_a_payload_begins_in_it(piece: bytes) -> None:
    def seconds(size: int) -> float:
        body = b'{"content":"' + piece * (size // len(piece)) + b'"}'
        began = time.process_time()
        cut_payloads(body)
        return time.process_time() - began

    small = max(seconds(100_000), 0.001)

    assert seconds(1_600_000) < 80 * small  # sixteen times as long, not two hundred and fifty times


def test_what_is_nested_too_deeply_is_kept_as_text() -> None:
    body = b"[" * 100_000

    assert isinstance(json.loads(bytes(logged_any(body + b"]" * 100_000, LIMIT))), str)
