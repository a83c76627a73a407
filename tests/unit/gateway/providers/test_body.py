"""Bodies: read thinly, changed in place, the rest as the client wrote it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MAX_PARTS, TEXT_LIMIT, parse_multipart
from tests.support.targets import form, json_body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_reads_what_the_gateway_acts_on() -> None:
    body = json_body(
        '{"model":"m","stream":true,"stream_options":{"include_usage":true,"other":1},'
        '"max_tokens":5,"max_completion_tokens":9,"n":2,"user":"u"}'
    )

    assert (body.model, body.stream, body.include_usage, body.max_tokens, body.n, body.user) == (
        "m", True, True, 9, 2, "u",
    )  # fmt: skip


def test_missing_and_null_fields_have_their_defaults() -> None:
    body = json_body(
        '{"model":"m","stream":null,"max_tokens":null,"n":null,"user":null,"stream_options":null}'
    )

    assert (body.stream, body.include_usage, body.max_tokens, body.n, body.user) == (
        False,
        False,
        None,
        1,
        "",
    )
    assert body.raw("user") is None
    assert "user" in body


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("", None),
        ("{", None),
        ("[1]", None),
        ('{"model":"m"} x', None),
        ('{"model":"m","messages":' + "[" * 100_000 + "]" * 100_000 + "}", None),
        ("{}", "model"),
        ('{"model":""}', "model"),
        ('{"model":null}', "model"),
        ('{"model":3}', "model"),
        ('{"model":"m","stream":"yes"}', "stream"),
    ],
)
def test_a_malformed_body_is_refused(text: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        json_body(text)

    assert caught.value.param == param
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", '"five"'), ("max_tokens", "-1"), ("n", "1.5"), ("n", "[]"), ("user", "{}")],
)
def test_a_wrong_type_names_its_field(field: str, value: str) -> None:
    body = json_body(f'{{"model":"m","{field}":{value}}}')

    with pytest.raises(BadRequest) as caught:
        _ = getattr(body, field)

    assert caught.value.param == field


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(BadRequest):
        parse_json(b'{"model":"m","x":"\xff"}')


def test_unchanged_values_keep_their_bytes() -> None:
    body = json_body('{"messages": [ 1.50,\t"\\u00e9" ], "model" : "a", "seed":1e400}')

    changed = body.with_changes({"model": b'"b"'})

    assert changed == b'{"messages":[ 1.50,\t"\\u00e9" ],"model":"b","seed":1e400}'


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(min_size=1))
def test_a_change_changes_nothing_else(rest: dict[str, object], model: str) -> None:
    given_body = {**rest, "model": "m", "stream": False, "drop me": 1}

    body = parse_json(msgspec.json.encode(given_body))
    changed = json.loads(body.with_changes({"model": body.encoded(model), "new": b"1"}, {"drop me"}))

    del given_body["drop me"]
    assert changed == {**given_body, "model": model, "new": 1}


FILE = bytes(range(256)) * 20


def test_reads_a_form() -> None:
    body = parse_multipart(
        *form(
            [
                ("model", None, b"whisper-1"),
                ("n", None, b"2"),
                ("stream", None, b"true"),
                ("file", "a.wav", FILE),
            ]
        )
    )

    assert (body.model, body.n, body.stream, body.user, body.max_tokens) == ("whisper-1", 2, True, "", None)
    assert [(part.name, part.filename, part.size_bytes) for part in body.files] == [("file", "a.wav", 5120)]
    assert body.content_of(body.files[0]) == FILE


def test_replaces_a_field_of_a_form_and_keeps_the_files() -> None:
    raw, kind = form(
        [("model", None, b"openai/m"), ("image[]", "a", FILE), ("image[]", "b", b""), ("x", None, b"1")]
    )
    body = parse_multipart(raw, kind)

    changed = parse_multipart(body.with_changes({"model": b"m", "size": b"1x1"}, {"x"}), kind)

    assert changed.model == "m"
    assert changed.text("size") == "1x1"
    assert "x" not in changed
    assert [changed.content_of(part) for part in changed.files] == [FILE, b""]


def test_no_change_gives_the_same_form() -> None:
    raw, kind = form([("model", None, b"m"), ("file", "a", FILE)])

    assert parse_multipart(raw, kind).with_changes({}) == raw


@given(st.binary(max_size=300), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10))
def test_any_file_content_survives(content: bytes, model: str) -> None:
    raw, kind = form([("file", "f", content), ("model", None, model.encode())])

    body = parse_multipart(parse_multipart(raw, kind).with_changes({"model": b"other"}), kind)

    assert body.model == "other"
    assert body.content_of(body.files[0]) == content


def test_the_summary_shows_sizes_not_contents() -> None:
    body = parse_multipart(
        *form([("model", None, b"m"), ("image[]", "a", FILE), ("image[]", "b", b"x"), ("prompt", None, b"p")])
    )

    assert body.summary() == {
        "model": "m",
        "image[]": [{"file": "a", "bytes": 5120}, {"file": "b", "bytes": 1}],
        "prompt": "p",
    }


def test_the_summary_of_a_form_takes_whatever_stands_in_it() -> None:
    body = parse_multipart(
        *form(
            [("model", None, b"m"), ("x", None, b"1"), ("x", None, b"\xff"), ("long", None, b"y" * 2_000_000)]
        )
    )

    summary = body.summary()

    assert summary["x"] == ["1", "\ufffd"]
    assert summary["long"] == "y" * TEXT_LIMIT


def refused(raw: bytes, kind: str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_multipart(raw, kind)
    return caught.value


def test_malformed_forms_are_refused() -> None:
    raw, kind = form([("model", None, b"m"), ("file", "f", FILE)])

    assert refused(raw, "application/json")
    assert refused(raw, "multipart/form-data")
    assert refused(raw[:-20], kind)
    assert refused(b"garbage", kind)
    assert refused(*form([("file", "f", FILE)])).param == "model"
    assert refused(*form([("model", None, b"\xff")])).param == "model"
    assert refused(*form([("x", None, b"")] * (MAX_PARTS + 1)))


def test_a_number_in_a_form_must_be_one() -> None:
    body = parse_multipart(*form([("model", None, b"m"), ("n", None, b"two")]))

    with pytest.raises(BadRequest):
        _ = body.n
