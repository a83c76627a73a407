"""What a picture will be priced by: what its provider was asked for, and what the provider says that it drew."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from openai.types import ImageGenCompletedEvent, ImagesResponse

from services.gateway.providers.answer import read_openai_answer
from services.gateway.providers.azure.adapter import AzureAdapter
from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.pictures import read_pictures
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter
from services.gateway.providers.usage import MAX_PICTURE_CHARS, NO_PICTURE, Usage, picture_of
from shared.events import Tokens
from shared.pricing.model import Picture
from tests.support.targets import form, json_body, relay_options, target

ADAPTERS: dict[str, Adapter] = {"azure": AzureAdapter(), "bedrock": BedrockAdapter()}
NOVA = "amazon.nova-canvas-v1:0"


def asked_of(kind: str, model: str, **fields: Any) -> Picture:
    body = json_body(msgspec.json.encode({"model": "m", "prompt": "a cat", **fields}).decode())
    base_url = "https://acme.openai.azure.com" if kind == "azure" else ""
    adapter = ADAPTERS.get(kind, OpenAIAdapter())
    return adapter.build(Operation.IMAGES, target(kind, model, base_url=base_url), body).picture


@pytest.mark.parametrize(
    ("kind", "model", "fields", "picture"),
    [
        ("openai", "dall-e-3", {}, NO_PICTURE),
        ("openai", "dall-e-3", {"quality": "hd", "size": "1792x1024"}, Picture("hd", "1792x1024")),
        ("openai", "dall-e-3", {"size": "512x512"}, Picture(size="1024x1024")),
        ("openai", "dall-e-3", {"size": "huge", "quality": "auto"}, NO_PICTURE),
        ("openai", "gpt-image-1", {"size": "auto", "quality": "High"}, Picture("high")),
        ("openai", "some-other", {"size": "640x480", "quality": 80}, Picture(size="640x480")),
        ("azure", "dall-e-3", {"quality": "hd", "size": "300x200"}, Picture("hd", "1792x1024")),
        ("nebius", "stability-ai/sdxl", {"quality": "hd", "size": "512x256"}, Picture(size="512x256")),
        ("nebius", "stability-ai/sdxl", {"size": "auto"}, NO_PICTURE),
        ("xai", "grok-imagine-image-2.0", {"quality": "low", "resolution": "2k"}, Picture("low", "2k")),
        ("xai", "grok-2-image", {"quality": "hd", "size": "512x512"}, NO_PICTURE),
        ("bedrock", NOVA, {"quality": "hd", "size": "2048X1024"}, Picture("premium", "2048x1024")),
        ("bedrock", NOVA, {"quality": "low"}, Picture("standard")),
        ("bedrock", NOVA, {"quality": "auto", "size": "auto"}, NO_PICTURE),
        ("bedrock", "stability.sd3-5-large-v1:0", {"quality": "hd", "size": "1024x1024"}, NO_PICTURE),
    ],
)
def test_what_is_asked_for_is_what_was_sent(
    kind: str, model: str, fields: dict[str, Any], picture: Picture
) -> None:
    assert asked_of(kind, model, **fields) == picture


def test_a_form_asks_for_pictures_too() -> None:
    parts = [
        ("model", None, b"m"),
        ("size", None, b"600x600"),
        ("prompt", None, b"hat"),
        ("image", "a.png", b""),
    ]
    body = parse_multipart(*form(parts))

    prepared = OpenAIAdapter().build(Operation.IMAGE_EDITS, target(model="dall-e-2"), body)

    assert prepared.picture == Picture(size="512x512")


@pytest.mark.parametrize(("part", "size"), [(b"", ""), (b"the head", "source")])
def test_a_part_drawn_anew_leaves_a_picture_as_large_as_it_was(part: bytes, size: str) -> None:
    parts = [
        ("model", None, b"m"),
        ("prompt", None, b"hat"),
        ("mask_prompt", None, part),
        ("image", "a.png", b"x"),
    ]
    body = parse_multipart(*form(parts))

    prepared = BedrockAdapter().build(Operation.IMAGE_EDITS, target("bedrock", NOVA), body)

    assert prepared.picture == Picture(size=size)


def test_the_words_of_a_client_do_not_grow_beyond_a_column() -> None:
    assert picture_of("x" * 1_000, "AUTO") == Picture("x" * MAX_PICTURE_CHARS)
    assert picture_of(None, None) == NO_PICTURE


def test_a_size_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(BadRequest):
        asked_of("openai", "dall-e-3", size=512)


DREW = {"quality": "high", "size": "1536x1024"}
USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 5},
    "output_tokens": 9,
    "total_tokens": 14,
}


def test_an_answer_says_what_was_drawn() -> None:
    document: dict[str, Any] = {"created": 1, "data": [{"b64_json": "QUJD"}], "usage": USAGE, **DREW}
    ImagesResponse.model_validate(document)
    asked = json_body('{"model": "m", "prompt": "a cat", "quality": "auto"}')

    answer = read_openai_answer(Operation.IMAGES, asked, {}, json.dumps(document).encode())

    assert answer.usage == Usage(Tokens(5, 9, images=1), picture=Picture("high", "1536x1024"))


@pytest.mark.parametrize("said", [{}, {"quality": None, "size": 5}, {"quality": "auto", "size": "auto"}])
def test_an_answer_need_not_say_it(said: dict[str, Any]) -> None:
    document = {"created": 1, "data": [{"url": "https://x.test/a.png"}], **said}
    asked = json_body('{"model": "m", "prompt": "a cat"}')

    answer = read_openai_answer(Operation.IMAGES, asked, {}, json.dumps(document).encode())

    assert answer.usage == Usage(Tokens(images=1))


def test_the_last_event_of_a_stream_says_what_was_drawn() -> None:
    document: dict[str, Any] = {
        "type": "image_generation.completed",
        "b64_json": "QUJD",
        "background": "opaque",
        "created_at": 1,
        "output_format": "png",
        "usage": USAGE,
        **DREW,
    }
    ImageGenCompletedEvent.model_validate(document)
    relay = OpenAIAdapter().relay(Operation.IMAGES, relay_options())

    relay.feed(b"event: image_generation.completed\ndata: " + json.dumps(document).encode() + b"\n\n")

    assert relay.usage() == Usage(Tokens(5, 9, images=1), picture=Picture("high", "1536x1024"))


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (base64.b64encode(png(2048, 1024)).decode(), "2048x1024"),
        (base64.b64encode(png(1, 1)[:20]).decode(), ""),
        (base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode(), ""),
        ("not base64 at all: §", ""),
        ("QUJ", ""),
    ],
)
def test_bedrock_s_pictures_say_their_size_themselves(picture: str, size: str) -> None:
    answer = read_pictures(msgspec.json.encode({"images": [picture, picture]}))

    assert answer.usage == Usage(Tokens(images=2), picture=Picture(size=size))
