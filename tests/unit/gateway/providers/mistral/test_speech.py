"""Speech is asked for in the types of Mistral's SDK, or refused by name; what comes back is a sound, or OpenAI's events."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from mistralai.client import models
from openai.types.audio import SpeechCreateParams

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.adapter import MistralAdapter
from services.gateway.providers.mistral.speech import VOICES
from services.gateway.providers.operations import Operation
from services.gateway.routes.models import VOICES as SHOWN
from tests.support.providers.mistral_types import judge, speech, speech_events
from tests.support.providers.sdk_requests import Types
from tests.support.targets import json_body, relay_options, target

ADAPTER = MistralAdapter()
MODEL = "voxtral-mini-tts-2603"


def built(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    body = json_body(json.dumps({"input": "Hi", **fields, "model": f"mistral/{MODEL}"}))
    prepared = ADAPTER.build(Operation.SPEECH, target("mistral", MODEL), body)
    assert isinstance(prepared.request.body, bytes)
    assert prepared.request.url.endswith("/v1/audio/speech")
    sent = json.loads(prepared.request.body)
    judge(models.SpeechRequest, sent)
    assert not models.SpeechRequest.model_validate(sent).additional_properties
    return sent, prepared.dropped, prepared.streams


def refused(**fields: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        built(**fields)
    return caught.value.param


@settings(max_examples=200, deadline=None)
@given(Types().objects(SpeechCreateParams))
def test_a_request_is_what_the_sdk_could_send_or_is_refused_by_name(request: dict[str, Any]) -> None:
    try:
        sent, dropped, streams = built(**request)
    except BadRequest as error:
        assert error.param in ("input", "response_format")
        return

    assert sent["model"] == MODEL
    assert sent["input"] == request["input"]
    assert sent["response_format"] == request.get("response_format", "mp3")
    assert set(dropped) == request.keys() & {"speed", "instructions"}
    assert streams == (request.get("stream_format") == "sse") == sent.get("stream", False)


def test_voices_are_mistrals() -> None:
    assert built(voice="nova")[0]["voice_id"] == VOICES["nova"]
    assert built()[0]["voice_id"] == VOICES["alloy"]
    assert built(voice="fr_marie_happy")[0]["voice_id"] == "fr_marie_happy"
    assert built(voice={"id": "voice_592"})[0]["voice_id"] == "voice_592"
    assert refused(voice=7) == "voice"


def test_each_voice_that_clients_are_shown_is_one_of_mistrals() -> None:
    assert set(SHOWN) <= set(VOICES)


def test_mistrals_own_fields_go_out_as_they_are() -> None:
    own = {"ref_audio": "UklGRg==", "expressiveness": 1.5, "prompt_cache_key": "k", "metadata": {"a": 1}}
    sent, dropped, _ = built(**own, voice="alloy", speed=None)

    assert sent == {"model": MODEL, "input": "Hi", "response_format": "mp3", **own}
    assert dropped == ()
    assert built(voice_id="gb_jane_sad", voice="alloy")[0]["voice_id"] == "gb_jane_sad"


def test_what_cannot_be_had_is_refused_by_name() -> None:
    assert refused(response_format="aac") == "response_format"
    assert refused(response_format="pcm") == "response_format"
    assert refused(stream_format="chunks") == "stream_format"
    assert refused(input="") == "input"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, "audio/mpeg"),
        ({"response_format": "wav"}, "audio/wav"),
        ({"response_format": "opus"}, "audio/opus"),
    ],
)
def test_the_sound_comes_out_of_the_document(asked: dict[str, Any], kind: str) -> None:
    body = json_body(json.dumps({"model": f"mistral/{MODEL}", "input": "Grüße", **asked}))
    read = ADAPTER.read_answer(
        Operation.SPEECH, body, {"content-type": "application/json"}, speech(b"\xff\xfb\x90")
    )

    assert (read.body, read.content_type, read.error) == (b"\xff\xfb\x90", kind, None)
    assert (read.usage.tokens.characters, read.usage.estimated) == (5, True)
    assert read.with_cost("0.5") == b"\xff\xfb\x90"


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"{}", b'{"audio_data":"%"}', b'{"audio_data":""}', b'{"error":{"message":"no voice"}}'],
)
def test_an_answer_without_a_sound_is_an_error(answer: bytes) -> None:
    body = json_body('{"model":"mistral/m","input":"x"}')
    read = ADAPTER.read_answer(Operation.SPEECH, body, {"content-type": "application/json"}, answer)

    assert read.error is not None
    assert ("no voice" in answer.decode()) == (read.error.message == "no voice")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_has_openais_events(at_once: bool) -> None:
    relay = ADAPTER.relay(Operation.SPEECH, relay_options(cost="0.01"))
    events = speech_events(b"ab", b"cd")
    chunks = [b"".join(events)] if at_once else events
    sent = b"".join([relay.feed(chunk) for chunk in chunks]) + relay.end()

    blocks = [block.splitlines() for block in sent.split(b"\n\n") if block]
    assert [name for name, _ in blocks] == [
        b"event: speech.audio.delta", b"event: speech.audio.delta", b"event: speech.audio.done",
    ]  # fmt: skip
    assert [json.loads(data.removeprefix(b"data: ")) for _, data in blocks] == [
        {"type": "speech.audio.delta", "audio": "YWI="},
        {"type": "speech.audio.delta", "audio": "Y2Q="},
        {
            "type": "speech.audio.done",
            "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115, "cost": 0.01},
        },
    ]
    assert relay.error is None and not relay.usage().estimated
    assert (relay.usage().tokens.prompt, relay.usage().tokens.completion) == (14, 101)


def test_a_stream_that_ends_early_says_so() -> None:
    relay = ADAPTER.relay(Operation.SPEECH, relay_options())
    sent = relay.feed(speech_events(b"ab")[0]) + relay.end()

    assert b'"audio":"YWI="' in sent
    assert relay.error is not None and b'"error"' in sent
