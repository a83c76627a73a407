"""Relaying streams: what the client gets does not depend on how the network cut the bytes."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.relay import MAX_EVENT_BYTES, MAX_PLAIN_BYTES, OpenAIRelay
from shared.events import Tokens
from tests.support.targets import relay_options

DONE = b"data: [DONE]\n\n"


def chunk(text: str = "hi", finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    body = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def usage(prompt: int = 10, completion: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **more,
    }


def usage_chunk(**more: Any) -> bytes:
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": []}
    return b"data: " + json.dumps({**body, "usage": usage(**more)}, separators=(",", ":")).encode() + b"\n\n"


def run(stream: bytes, cuts: list[int] | None = None, **options: Any) -> tuple[bytes, OpenAIRelay]:
    relay = OpenAIRelay(relay_options(**options))
    places = [0, *sorted(cuts or []), len(stream)]
    out = b"".join(relay.feed(stream[a:b]) for a, b in zip(places, places[1:], strict=False) if stream[a:b])
    return out + relay.end(), relay


def events(out: bytes) -> list[Any]:
    """The data of all events; `[DONE]` as None, and what is not JSON as text."""
    found: list[Any] = []
    for block in out.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
        if not lines:
            continue
        data = b"\n".join(lines)
        try:
            found.append(None if data == b"[DONE]" else json.loads(data))
        except ValueError:
            found.append(data.decode())
    return found


def usages(out: bytes) -> list[Any]:
    return [event["usage"] for event in events(out) if isinstance(event, dict) and event.get("usage")]


WHOLE = chunk("Hello") + chunk(" you") + chunk("", "stop") + usage_chunk() + DONE


def test_passes_events_untouched_and_keeps_the_usage_back() -> None:
    out, relay = run(WHOLE)

    assert out == chunk("Hello") + chunk(" you") + chunk("", "stop") + DONE
    assert relay.usage().tokens == Tokens(prompt=10, completion=4)
    assert relay.finish_reason == "stop"
    assert relay.done
    assert relay.error is None


def test_hands_back_the_very_same_bytes_when_nothing_is_to_be_done() -> None:
    relay = OpenAIRelay(relay_options())
    relay.feed(chunk("first"))
    piece = chunk("second")

    assert relay.feed(piece) is piece


def test_gives_one_usage_chunk_with_the_cost() -> None:
    out, _ = run(WHOLE, send_usage=True, cost="0.00123")

    assert usages(out) == [{**usage(), "cost": 0.00123}]
    assert events(out)[-2]["choices"] == []
    assert events(out)[-2]["id"] == "c1"
    assert out.endswith(DONE)


def test_leaves_the_cost_out_when_there_is_none() -> None:
    out, _ = run(WHOLE, send_usage=True)

    assert usages(out) == [usage()]


def test_usage_in_every_chunk_becomes_exactly_one() -> None:
    pieces = [chunk(f"w{i}", usage=usage(10, i + 1)) for i in range(4)]
    stream = b"".join(pieces) + chunk("", "stop", usage=usage(10, 4)) + DONE

    out, relay = run(stream, send_usage=True)

    assert usages(out) == [usage(10, 4)]
    assert relay.usage().tokens.completion == 4
    assert [e["choices"][0]["delta"].get("content") for e in events(out)[:4]] == ["w0", "w1", "w2", "w3"]


def test_usage_on_the_last_choice_is_taken_off_unless_wanted() -> None:
    stream = chunk("a") + chunk("", "stop", usage=usage()) + DONE

    assert usages(run(stream)[0]) == []
    assert usages(run(stream, send_usage=True)[0]) == [usage()]


def test_a_usage_of_null_in_every_chunk_passes_untouched() -> None:
    stream = chunk("a", usage=None) + chunk("", "stop", usage=None) + DONE

    assert run(stream)[0] == stream


def test_a_missing_done_is_supplied() -> None:
    out, relay = run(chunk("a") + chunk("", "stop"))

    assert out == chunk("a") + chunk("", "stop") + DONE
    assert relay.error is None


def test_a_usage_chunk_after_the_finish_counts_without_done() -> None:
    _, relay = run(chunk("a") + chunk("", "stop") + usage_chunk(prompt=99))

    assert relay.usage().tokens.prompt == 99


def test_nothing_is_given_of_an_event_that_was_cut_in_its_middle() -> None:
    for place in range(len(WHOLE)):
        out, relay = run(WHOLE[:place], send_usage=True)

        assert not [event for event in events(out) if isinstance(event, str)], "what no client can read"
        assert out.endswith(DONE)
        assert (relay.error is None) is (relay.finish_reason == "stop")


def test_the_last_event_may_lack_its_empty_line() -> None:
    out, _ = run((chunk("a") + chunk("", "stop")).removesuffix(b"\n\n"))

    assert out == chunk("a") + chunk("", "stop") + DONE


def test_estimates_when_the_provider_sends_no_usage() -> None:
    stream = chunk("x" * 70) + chunk("", "stop") + DONE

    out, relay = run(stream, send_usage=True, prompt_estimate=33, cost="0.1")

    assert relay.usage().estimated
    assert relay.usage().tokens == Tokens(prompt=33, completion=20)
    assert usages(out) == [
        {"prompt_tokens": 33, "completion_tokens": 20, "total_tokens": 53, "estimated": True, "cost": 0.1}
    ]
    assert events(out)[-2]["model"] == "m"


def test_estimates_from_a_sample_of_a_long_stream_even_without_a_transcript() -> None:
    relay = OpenAIRelay(relay_options(transcript_limit=0))
    piece = chunk("y" * 3500)
    for _ in range(100):
        relay.feed(piece)

    completion = relay.usage().tokens.completion

    assert 90_000 < completion < 110_000
    assert relay.transcript == b""
    assert relay.received_bytes == 100 * len(piece)


def test_line_ends_make_no_difference_to_an_estimate() -> None:
    stream = chunk("x" * 70) + chunk("y" * 70)

    _, relay = run(stream.replace(b"\n", b"\r\n"))

    assert relay.usage() == run(stream)[1].usage()
    assert relay.usage().tokens.completion == 40


def test_the_transcript_is_bounded() -> None:
    _, relay = run(WHOLE, transcript_limit=50)

    assert relay.transcript == WHOLE[:50]


def test_an_error_event_is_reported_and_passed_on_in_openais_shape() -> None:
    stream = chunk("a") + b'data: {"error":{"message":"overloaded","type":"server_error","code":"x"}}\n\n'

    out, relay = run(stream + chunk("never"))

    assert events(out)[1] == {
        "error": {"message": "overloaded", "type": "server_error", "param": None, "code": "x"}
    }
    assert events(out)[2:] == [None]
    assert relay.error is not None
    assert relay.error.status == 502


def test_an_error_inside_a_chunk_with_choices_loses_the_choices() -> None:
    stream = chunk("a") + chunk("", "error", error={"code": 429, "message": "slow down"})

    out, relay = run(stream)

    assert "choices" not in events(out)[1]
    assert relay.error is not None
    assert (relay.error.status, relay.error.retryable) == (429, True)


def test_an_event_named_error_counts_whatever_its_data() -> None:
    out, relay = run(chunk("a") + b'event: error\ndata: {"message":"broken"}\n\n')

    assert events(out)[1]["error"]["message"] == "broken"
    assert relay.error is not None


def test_an_error_first_leaves_the_stream_unstarted() -> None:
    relay = OpenAIRelay(relay_options())
    relay.feed(b": waiting\n\n")
    relay.feed(b'data: {"error":"no capacity"}\n\n')

    assert relay.error is not None
    assert relay.error.message == "no capacity"
    assert not relay.started


def test_a_null_error_is_none() -> None:
    out, relay = run(chunk("a", error=None) + chunk("", "stop") + DONE)

    assert relay.error is None
    assert len(events(out)) == 3


def test_words_of_the_model_are_not_mistaken_for_protocol() -> None:
    stream = b"".join(
        chunk(word)
        for word in ("usage", '"usage":{"prompt_tokens":9}', "[DONE]", "error", '"error":"x"', "event: error")
    )

    out, relay = run(stream + chunk("", "stop") + DONE, send_usage=False)

    assert out == stream + chunk("", "stop") + DONE
    assert relay.error is None
    assert relay.usage().estimated


def test_a_stream_that_ends_without_a_finish_is_an_error() -> None:
    out, relay = run(chunk("a"))

    assert events(out)[1]["error"]["code"] == "provider_error"
    assert events(out)[2] is None
    assert relay.error is not None


def test_a_broken_connection_is_an_error_only_while_something_is_missing() -> None:
    lost = UpstreamError(status=502, message="lost")
    missing, whole = OpenAIRelay(relay_options()), OpenAIRelay(relay_options())
    missing.feed(chunk("a"))
    whole.feed(chunk("a") + chunk("", "stop"))

    assert events(missing.fail(lost))[0]["error"]["message"] == "lost"
    assert missing.error is lost
    assert whole.fail(lost) == DONE
    assert whole.error is None


def test_nothing_comes_after_done() -> None:
    relay = OpenAIRelay(relay_options())
    relay.feed(WHOLE)

    assert relay.feed(chunk("late")) == b""
    assert relay.end() == b""
    assert relay.fail(UpstreamError(status=502, message="late")) == b""
    assert relay.error is None


def test_a_json_error_instead_of_a_stream() -> None:
    body = b'{"error": {"message": "bad model", "code": "model_not_found"}}'

    _, relay = run(body, cuts=[5, 30])

    assert relay.error is not None
    assert relay.error.message == "bad model"
    assert not relay.started


def test_blank_lines_in_a_json_error_instead_of_a_stream() -> None:
    body = b'{"error":\n\n {"message": "bad model"}}\n\n'

    for cuts in ([], [11], list(range(len(body)))):
        _, relay = run(body, cuts)

        assert relay.error is not None
        assert relay.error.message == "bad model"


def test_something_else_than_a_stream_does_not_fill_the_memory() -> None:
    relay = OpenAIRelay(relay_options())
    for _ in range(5):
        relay.feed(b"<p>no\n\n" * (MAX_PLAIN_BYTES // 20))

    assert relay.error is not None
    assert relay.done


def test_a_web_page_instead_of_a_stream() -> None:
    _, relay = run(b"<html>no</html>")

    assert relay.error is not None
    assert not relay.started


def test_an_empty_body_is_an_error() -> None:
    _, relay = run(b"")

    assert relay.error is not None


def test_an_event_without_end_does_not_fill_the_memory() -> None:
    relay = OpenAIRelay(relay_options())
    relay.feed(b"data: ")
    piece = b"x" * (MAX_EVENT_BYTES // 4)
    for _ in range(5):
        relay.feed(piece)

    assert relay.error is not None
    assert relay.done


def test_typed_events_get_the_cost_where_their_usage_is() -> None:
    delta = b'event: speech.audio.delta\ndata: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
    done = b'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9,"total_tokens":12}}\n\n'
    relay = OpenAIRelay(relay_options(cost="0.5"), typed=True)

    out = relay.feed(delta) + relay.feed(done) + relay.end()

    assert out.startswith(delta)
    assert usages(out) == [{"input_tokens": 3, "output_tokens": 9, "total_tokens": 12, "cost": 0.5}]
    assert relay.usage().tokens == Tokens(prompt=3, completion=9)
    assert relay.error is None
    assert DONE not in out


def test_typed_events_that_break_off_are_an_error() -> None:
    relay = OpenAIRelay(relay_options(), typed=True)

    out = relay.feed(b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n') + relay.end()

    assert relay.error is not None
    assert out.endswith(DONE)


PIECES = st.sampled_from(
    [
        chunk("a"),
        chunk("ümläut \u2603"),
        chunk("b", usage=usage(10, 2)),
        chunk("c", usage=None),
        chunk("", "stop"),
        chunk("", "length", usage=usage(10, 3)),
        usage_chunk(),
        chunk("d").replace(b"\n", b"\r\n"),
        usage_chunk().replace(b"\n", b"\r\n"),
        b": comment\n\n",
        b": comment\r\n\r\n",
        b"\n",
        b"\r\n",
        b'event: message\nid: 7\ndata: {"choices":\ndata: [],"usage":null}\n\n',
        b'data: {"id":\ndata: "c1","choices":[{"index":\ndata: 0}],\ndata: "usage":{"prompt_tokens":\ndata: 3}}\n\n',
        b'data: {"choices":[\r\ndata: {}],\r\ndata: "usage":{"completion_tokens":\r\ndata: 4}}\r\n\r\n',
        b"data: not json\n\n",
        b"data: {}\n\n",
        b'data: {"error":{"message":"m"}}\n\n',
        b'event: error\ndata: {"message":"m"}\n\n',
        DONE,
        b"data:[DONE]\r\n\r\n",
    ]
)


@given(st.lists(PIECES, max_size=8), st.data(), st.booleans())
def test_any_cut_gives_the_same(pieces: list[bytes], data: st.DataObject, send_usage: bool) -> None:
    stream = b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))

    whole, one = run(stream, send_usage=send_usage, cost="0.25")
    cut, other = run(stream, cuts, send_usage=send_usage, cost="0.25")
    bytewise, third = run(stream, list(range(len(stream))), send_usage=send_usage, cost="0.25")

    assert cut == whole
    assert bytewise == whole
    for relay in (other, third):
        assert relay.usage() == one.usage()
        assert relay.finish_reason == one.finish_reason
        assert str(relay.error) == str(one.error)


@given(st.lists(PIECES, max_size=8), st.booleans())
def test_json_goes_out_as_json(pieces: list[bytes], send_usage: bool) -> None:
    out, _ = run(b"".join(pieces), send_usage=send_usage, cost="0.25")

    assert [item for item in events(out) if isinstance(item, str)] == [
        "not json" for piece in _until_the_end(pieces) if b"not json" in piece
    ]


def _until_the_end(pieces: list[bytes]) -> list[bytes]:
    ends = [number for number, piece in enumerate(pieces) if b"[DONE]" in piece or b"error" in piece]
    return pieces[: ends[0]] if ends else pieces


@given(st.lists(PIECES, max_size=8), st.booleans())
def test_never_more_than_one_usage_and_always_one_done(pieces: list[bytes], send_usage: bool) -> None:
    out, relay = run(b"".join(pieces), send_usage=send_usage)

    assert len(usages(out)) <= (1 if send_usage else 0)
    assert out.count(b"[DONE]") == 1
    assert relay.done
