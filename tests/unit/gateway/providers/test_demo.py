"""The demo provider answers like a real one; the vendor's own types are the judge."""

import asyncio
import base64
import struct
import zlib
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse, ImagesResponse, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.gateway.providers.answer import read_openai_answer
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.providers.demo.chat import MAX_PIECES
from services.gateway.providers.demo.client import MODELS, DemoClient
from services.gateway.providers.demo.media import demo_png
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Prepared
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.events import Tokens
from tests.support.targets import form, relay_options, target

ADAPTER = OpenAIAdapter()


def prepared(operation: Operation, model: str, body: ParsedBody) -> Prepared:
    return ADAPTER.build(operation, target("demo", model, secret=""), body)


def body_of(model: str, **fields: Any) -> ParsedBody:
    return parse_json(msgspec.json.encode({"model": f"demo/{model}", **fields}))


async def ask(operation: Operation, model: str, body: ParsedBody) -> tuple[int, bytes, str]:
    response = await DemoClient(pace_s=0).send(prepared(operation, model, body).request)
    return response.status, await response.read(10_000_000), response.headers["Content-Type"]


async def chat(model: str, text: Any, **fields: Any) -> ChatCompletion:
    body = body_of(model, messages=[{"role": "user", "content": text}], **fields)
    status, answer, _ = await ask(Operation.CHAT, model, body)
    assert status == 200, answer
    return ChatCompletion.model_validate_json(answer, strict=True)


async def stream(model: str, text: str, **fields: Any) -> list[bytes]:
    body = body_of(model, messages=[{"role": "user", "content": text}], stream=True, **fields)
    response = await DemoClient(pace_s=0).send(prepared(Operation.CHAT, model, body).request)
    return [piece async for piece in response.chunks()]


async def test_echo_says_what_the_user_said_last() -> None:
    answer = await chat("echo", "good morning")

    assert answer.choices[0].message.content == "Demo echo: good morning"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_max_tokens_cuts_and_says_so() -> None:
    answer = await chat("lorem", "go", max_tokens=5)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


async def test_an_answer_has_an_end_however_much_there_is_to_echo() -> None:
    answer = await chat("echo", "word " * 15_000)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == MAX_PIECES


async def test_stop_words_end_the_answer() -> None:
    assert (await chat("echo", "one STOP two", stop=["STOP"])).choices[0].message.content == "Demo echo: one "
    assert (await chat("echo", "one STOP two", stop="STOP")).choices[0].message.content == "Demo echo: one "


async def test_several_choices() -> None:
    answer = await chat("echo", "x", n=3)

    assert [choice.index for choice in answer.choices] == [0, 1, 2]


async def test_pictures_are_noticed() -> None:
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJDRA=="}},
    ]

    reply = (await chat("echo", content)).choices[0].message.content

    assert reply is not None
    assert "1 image (image/png, about 6 bytes)" in reply


async def test_a_stream_is_made_of_valid_chunks_and_adds_up_to_the_answer() -> None:
    pieces = await stream("lorem", "go", stream_options={"include_usage": True})
    chunks = [ChatCompletionChunk.model_validate_json(piece[6:], strict=True) for piece in pieces[:-1]]

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    assert text == (await chat("lorem", "go")).choices[0].message.content
    assert pieces[-1] == b"data: [DONE]\n\n"
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


async def test_a_stream_relays_like_any_other() -> None:
    relay = ADAPTER.relay(Operation.CHAT, relay_options())
    pieces = await stream("echo", "hello")

    out = b"".join([relay.feed(piece) for piece in pieces]) + relay.end()

    assert out.endswith(b"data: [DONE]\n\n")
    assert relay.usage().tokens.completion > 0
    assert not relay.usage().estimated
    assert relay.error is None


async def test_the_pace_of_a_stream() -> None:
    body = body_of("echo", messages=[{"role": "user", "content": "a b c"}], stream=True)
    response = await DemoClient(pace_s=0.01).send(prepared(Operation.CHAT, "echo", body).request)
    loop = asyncio.get_running_loop()
    began = loop.time()

    count = len([piece async for piece in response.chunks()])

    assert loop.time() - began >= 0.009 * (count - 1)


async def test_text_completions() -> None:
    status, answer, _ = await ask(Operation.COMPLETIONS, "echo", body_of("echo", prompt="once"))

    assert status == 200
    assert msgspec.json.decode(answer)["choices"][0]["text"] == "Demo echo: once"


async def test_embeddings_are_stable_unit_vectors_in_both_encodings() -> None:
    as_list = body_of("embedding", input=["a", "b", "a"], dimensions=8)
    as_base64 = body_of("embedding", input="a", dimensions=8, encoding_format="base64")

    _, listed, _ = await ask(Operation.EMBEDDINGS, "embedding", as_list)
    _, packed, _ = await ask(Operation.EMBEDDINGS, "embedding", as_base64)

    vectors = [item.embedding for item in CreateEmbeddingResponse.model_validate_json(listed).data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(x * x for x in vectors[0]) == pytest.approx(1)
    unpacked = struct.unpack("<8f", base64.b64decode(msgspec.json.decode(packed)["data"][0]["embedding"]))
    assert list(unpacked) == pytest.approx(vectors[0], rel=1e-6)


async def test_a_picture_is_a_real_png_of_the_size_asked_for() -> None:
    body = body_of("image", prompt="a cat", size="256x128", n=2)

    _, answer, _ = await ask(Operation.IMAGES, "image", body)

    images = ImagesResponse.model_validate_json(answer).data
    assert images is not None
    assert len(images) == 2
    assert images[0].b64_json is not None
    png = base64.b64decode(images[0].b64_json)
    assert png == demo_png(256, 128)
    assert read_openai_answer(Operation.IMAGES, body, {}, answer).usage.tokens == Tokens(images=2)


def test_the_png_holds_every_pixel_and_sound_checksums() -> None:
    png = demo_png(100, 60)
    at, kinds, data = 8, [], b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + content)
        kinds.append(kind)
        data += content if kind == b"IDAT" else b""
        at += 12 + size

    assert kinds == [b"IHDR", b"PLTE", b"tEXt", b"IDAT", b"IEND"]
    assert len(zlib.decompress(data)) == 60 * (1 + 100)


async def test_speech_in_three_formats() -> None:
    for kind, content_type, head in (
        (None, "audio/mpeg", b"\xff\xfb"),
        ("wav", "audio/wav", b"RIFF"),
        ("pcm", "audio/pcm", b""),
    ):
        body = body_of("speech", input="hello", voice="alloy", **({"response_format": kind} if kind else {}))

        status, sound, sent_type = await ask(Operation.SPEECH, "speech", body)

        assert (status, sent_type) == (200, content_type)
        assert sound.startswith(head)
        assert len(sound) > 1000


async def test_transcripts_and_edits_take_forms() -> None:
    recording = parse_multipart(
        *form([("model", None, b"demo/transcription"), ("file", "a.wav", bytes(64000))])
    )
    picture = parse_multipart(
        *form([("model", None, b"demo/image"), ("prompt", None, b"p"), ("image[]", "a.png", b"x")])
    )

    _, transcript, _ = await ask(Operation.TRANSCRIPTIONS, "transcription", recording)
    status, edited, _ = await ask(Operation.IMAGE_EDITS, "image", picture)

    assert msgspec.json.decode(transcript)["usage"] == {"type": "duration", "seconds": 2}
    assert status == 200
    assert msgspec.json.decode(edited)["data"][0]["b64_json"]


async def test_moderations_flag_nothing() -> None:
    _, answer, _ = await ask(Operation.MODERATIONS, "moderation", body_of("moderation", input=["a", "b"]))

    parsed = ModerationCreateResponse.model_construct(**msgspec.json.decode(answer))
    assert len(parsed.results) == 2


@pytest.mark.parametrize(
    ("operation", "model", "fields", "status"),
    [
        (Operation.CHAT, "gpt-4o", {"messages": []}, 404),
        (Operation.CHAT, "echo", {}, 400),
        (Operation.CHAT, "echo", {"messages": "x"}, 400),
        (Operation.CHAT, "echo", {"messages": [], "stop": 5}, 400),
        (Operation.EMBEDDINGS, "embedding", {}, 400),
        (Operation.EMBEDDINGS, "embedding", {"input": "x", "dimensions": 999_999}, 400),
        (Operation.EMBEDDINGS, "embedding", {"input": ["x"] * 2000, "dimensions": 4096}, 400),
        (Operation.EMBEDDINGS, "embedding", {"input": "x" * 2_000_000}, 400),
        (Operation.COMPLETIONS, "echo", {"prompt": "x" * 2_000_000}, 400),
        (Operation.IMAGES, "image", {"prompt": "x", "size": "big"}, 400),
        (Operation.SPEECH, "speech", {}, 400),
        (Operation.SPEECH, "speech", {"input": "x", "response_format": "flac"}, 400),
    ],
)
async def test_mistakes_are_refused_like_openai_does(
    operation: Operation, model: str, fields: dict[str, Any], status: int
) -> None:
    sent, answer, _ = await ask(operation, model, body_of(model, **fields))

    assert sent == status
    assert msgspec.json.decode(answer)["error"]["message"].endswith(".")


def test_the_catalogue_lists_exactly_the_models_there_are() -> None:
    assert set(PROVIDER_TYPES["demo"].static_models) == set().union(*MODELS.values())


@pytest.mark.parametrize(
    ("operation", "model", "fields", "param", "message"),
    [
        (Operation.CHAT, "echo", {}, "messages", "`messages` is missing."),
        (Operation.CHAT, "echo", {"messages": None}, "messages", "`messages` is missing."),
        (Operation.CHAT, "echo", {"messages": []}, "messages", "`messages` must hold at least one message."),
        (Operation.COMPLETIONS, "echo", {}, "prompt", "`prompt` is missing."),
        (Operation.IMAGES, "image", {}, "prompt", "`prompt` must say what to draw."),
        (Operation.IMAGES, "image", {"prompt": ""}, "prompt", "`prompt` must say what to draw."),
    ],
)
async def test_what_is_missing_is_named(
    operation: Operation, model: str, fields: dict[str, Any], param: str, message: str
) -> None:
    status, answer, _ = await ask(operation, model, body_of(model, **fields))

    error = msgspec.json.decode(answer)["error"]
    assert (status, error["param"], error["message"]) == (400, param, message)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("prompt", None, b"p")], "image"),
        ([("prompt", None, b"p"), ("mask", "m.png", b"x")], "image"),
        ([("image", "a.png", b"x")], "prompt"),
    ],
)
async def test_an_edit_needs_a_picture_and_a_prompt(
    parts: list[tuple[str, str | None, bytes]], param: str
) -> None:
    body = parse_multipart(*form([("model", None, b"demo/image"), *parts]))

    status, answer, _ = await ask(Operation.IMAGE_EDITS, "image", body)

    assert (status, msgspec.json.decode(answer)["error"]["param"]) == (400, param)
