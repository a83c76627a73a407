"""Embeddings, pictures, ranking and the list of models: what is sent, as botocore would send it, and what is refused."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.multipart import MultipartBody, parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Prepared, Target
from services.gateway.upstream.port import UpstreamRequest
from tests.support.providers.aws_model import json_of, operation, serialized
from tests.unit.gateway.providers.bedrock.build import json_body, target

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-english-v3"
RERANK = "cohere.rerank-v3-5:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc"


def built(asked: Operation, body: ParsedBody, to: Target) -> tuple[Any, Prepared]:
    """The JSON that is sent, at the path where botocore would send it."""
    prepared = BedrockAdapter().build(asked, to, body)
    sent = prepared.request.body
    assert isinstance(sent, bytes)
    theirs = serialized("bedrock-runtime", "InvokeModel", {"modelId": to.model_on_wire, "body": sent})
    assert (prepared.request.method, urlsplit(prepared.request.url).path) == (
        theirs["method"],
        theirs["url_path"],
    )
    assert theirs["body"] == sent
    return msgspec.json.decode(sent), prepared


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (TITAN, {"input": "a"}, {"inputText": "a"}),
        (TITAN, {"input": ["a", "b"], "dimensions": 256}, {"inputText": "a", "dimensions": 256}),
        (ARN, {"input": "a"}, None),
        ("amazon.titan-embed-image-v1", {"input": "a", "dimensions": 384}, {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 384}}),
        (COHERE, {"input": ["a", "b"]}, {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"]}),
        ("cohere.embed-v4:0", {"input": "a", "dimensions": 512, "input_type": "search_query"}, {"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"], "output_dimension": 512}),
    ],
)  # fmt: skip
def test_embeddings(model: str, fields: dict[str, Any], expected: Any) -> None:
    if expected is None:
        with pytest.raises(Unsupported):
            built(Operation.EMBEDDINGS, json_body(**fields), target(model))
        return
    sent, prepared = built(Operation.EMBEDDINGS, json_body(**fields), target(model))

    assert sent == expected
    assert (prepared.converse is not None) == (fields["input"] == ["a", "b"] and model == TITAN)


def test_the_maker_of_a_model_behind_an_arn_is_told_by_its_alias() -> None:
    sent, _ = built(Operation.EMBEDDINGS, json_body(input="a"), target(TITAN, alias=ARN))

    assert sent == {"inputText": "a"}


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (TITAN, {"input": [[1, 2]]}, "input"),
        (TITAN, {"input": []}, "input"),
        (TITAN, {"input": ["a", ""]}, "input"),
        (TITAN, {"input": ["a"] * 300}, "input"),
        (TITAN, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 5}, "dimensions"),
        (COHERE, {"input": "a", "dimensions": 5}, "dimensions"),
    ],
)
def test_embeddings_that_cannot_be(model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        BedrockAdapter().build(Operation.EMBEDDINGS, target(model), json_body(**fields))

    assert refused.value.param == param


def test_an_older_cohere_lists_its_vectors_without_a_type() -> None:
    body = json_body(input="a", encoding_format="base64")

    answer = BedrockAdapter().read_answer(Operation.EMBEDDINGS, body, {}, b'{"embeddings":[[1.0]]}')

    assert msgspec.json.decode(answer.body)["data"][0]["embedding"] == "AACAPw=="
    assert answer.usage.estimated


def test_pictures_of_amazon() -> None:
    body = json_body(
        prompt="a cat", n=2, size="1024x512", quality="hd", seed=7, style="vivid", response_format="url",
        negative_prompt="dogs", partial_images=2,
    )  # fmt: skip

    sent, prepared = built(Operation.IMAGES, body, target("amazon.nova-canvas-v1:0"))

    assert sent == {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": {"text": "a cat", "negativeText": "dogs"},
        "imageGenerationConfig": {
            "numberOfImages": 2,
            "width": 1024,
            "height": 512,
            "quality": "premium",
            "seed": 7,
        },
    }
    assert prepared.dropped == ("partial_images", "response_format", "style")


def test_several_pictures_of_stability_take_several_calls() -> None:
    body = json_body(prompt="a cat", n=3, size="1024x1024", seed=7, quality="hd")

    sent, prepared = built(Operation.IMAGES, body, target("stability.stable-image-ultra-v1:1"))

    assert sent == {"prompt": "a cat", "output_format": "png", "aspect_ratio": "1:1"}
    assert prepared.converse is not None
    assert prepared.dropped == ("quality", "seed", "size")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "n": 9}, "n"),
        ({"prompt": "x", "size": "big"}, "size"),
        ({"prompt": "x", "stream": True}, "stream"),
    ],
)
def test_pictures_that_cannot_be(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        BedrockAdapter().build(Operation.IMAGES, target("amazon.nova-canvas-v1:0"), json_body(**fields))

    assert refused.value.param == param


def form(*files: str, **fields: str) -> MultipartBody:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts += [
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n\r\nabc\r\n'
        for name in files
    ]
    return parse_multipart("".join([*parts, "--b--\r\n"]).encode(), "multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("asked", "model", "body", "expected"),
    [
        (
            Operation.IMAGE_EDITS,
            "amazon.nova-canvas-v1:0",
            form("image", model="m", prompt="a hat"),
            {"taskType": "IMAGE_VARIATION", "imageVariationParams": {"text": "a hat", "images": ["YWJj"]}},
        ),
        (
            Operation.IMAGE_EDITS,
            "amazon.titan-image-generator-v2:0",
            form("image[]", model="m", prompt="a hat", mask_prompt="the head"),
            {
                "taskType": "INPAINTING",
                "inPaintingParams": {"text": "a hat", "image": "YWJj", "maskPrompt": "the head"},
            },
        ),
        (
            Operation.IMAGE_VARIATIONS,
            "amazon.nova-canvas-v1:0",
            form("image", model="m"),
            {"taskType": "IMAGE_VARIATION", "imageVariationParams": {"images": ["YWJj"]}},
        ),
        (
            Operation.IMAGE_EDITS,
            "stability.sd3-5-large-v1:0",
            form("image", model="m", prompt="a hat"),
            {
                "prompt": "a hat",
                "mode": "image-to-image",
                "image": "YWJj",
                "strength": 0.7,
                "output_format": "png",
            },
        ),
    ],
)
def test_pictures_are_changed(asked: Operation, model: str, body: MultipartBody, expected: Any) -> None:
    sent, _ = built(asked, body, target(model))

    sent.pop("imageGenerationConfig", None)
    assert sent == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form("image", "mask", model="m", prompt="x"), "mask"),
        (form(model="m", prompt="x"), "image"),
        (form("image", model="m"), "prompt"),
    ],
)
def test_changes_that_cannot_be(body: MultipartBody, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        BedrockAdapter().build(Operation.IMAGE_EDITS, target("amazon.nova-canvas-v1:0"), body)

    assert refused.value.param == param


def test_a_picture_too_many_is_not_left_out_in_silence() -> None:
    body = form("image[]", "image[]", model="m", prompt="x")
    with pytest.raises(BadRequest) as refused:
        BedrockAdapter().build(Operation.IMAGE_EDITS, target("stability.sd3-5-large-v1:0"), body)

    assert refused.value.param == "image"
    sent, _ = built(Operation.IMAGE_EDITS, body, target("amazon.nova-canvas-v1:0"))
    assert len(sent["imageVariationParams"]["images"]) == 2


def test_ranking_is_what_botocore_would_send() -> None:
    body = json_body(query="q", documents=["a", {"text": "b"}], top_n=5, max_chunks_per_doc=3)

    prepared = BedrockAdapter().build(Operation.RERANK, target(RERANK), body)

    assert isinstance(prepared.request.body, bytes)
    sent = msgspec.json.decode(prepared.request.body)
    theirs = serialized("bedrock-agent-runtime", "Rerank", sent)
    assert (
        prepared.request.url == f"https://bedrock-agent-runtime.us-east-1.amazonaws.com{theirs['url_path']}"
    )
    assert sent == msgspec.json.decode(theirs["body"])
    config = sent["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert config["numberOfResults"] == 2
    assert prepared.dropped == ("max_chunks_per_doc",)
    assert config["modelConfiguration"] == {
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{RERANK}"
    }


@pytest.mark.parametrize("asked", [Operation.SPEECH, Operation.MODERATIONS])
def test_what_bedrock_does_not_offer(asked: Operation) -> None:
    with pytest.raises(Unsupported):
        BedrockAdapter().build(asked, target(), json_body(input="x"))


def test_the_list_of_models_has_the_names_that_can_be_called() -> None:
    def listed(model: str, *kinds: str) -> dict[str, Any]:
        arn = f"arn:aws:bedrock:eu-west-1::foundation-model/{model}"
        return {"modelId": model, "modelArn": arn, "inferenceTypesSupported": list(kinds)}

    shape = operation("bedrock", "ListFoundationModels").output_shape
    models = [
        {"modelId": "a.plain", "modelArn": "arn:aws:bedrock:eu-west-1::foundation-model/a.plain"},
        listed("a.both", "ON_DEMAND", "PROVISIONED"),
        listed("a.bought", "PROVISIONED"),
    ]
    answer: dict[str, Any] = json_of(shape, {"modelSummaries": models})
    # The service says this although its own description does not have it.
    answer["modelSummaries"].append(listed("a.profile", "INFERENCE_PROFILE"))

    assert BedrockAdapter().read_models(msgspec.json.encode(answer)) == ("a.plain", "a.both")
    asked = BedrockAdapter().models_request(target(""))
    assert isinstance(asked, UpstreamRequest)
    theirs = serialized("bedrock", "ListFoundationModels", {})
    assert (asked.method, urlsplit(asked.url).path) == (theirs["method"], theirs["url_path"])


def test_the_profiles_are_listed_after_the_models_page_by_page() -> None:
    def profile(name: str, status: str = "ACTIVE") -> dict[str, Any]:
        arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{name}"
        return {
            "inferenceProfileName": name,
            "inferenceProfileArn": arn,
            "inferenceProfileId": name,
            "models": [{"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2"}],
            "status": status,
            "type": "SYSTEM_DEFINED",
        }

    listing = operation("bedrock", "ListInferenceProfiles")
    names = [profile("us.a"), profile("global.a")]
    pages = [
        json_of(listing.output_shape, {"inferenceProfileSummaries": names, "nextToken": "a+/="}),
        json_of(listing.output_shape, {"inferenceProfileSummaries": [profile("jp.b")]}),
    ]
    adapter, to = BedrockAdapter(), target("")
    first = adapter.models_request(to)
    assert first is not None
    found: list[str] = []
    asked, answer = first, b'{"modelSummaries":[]}'
    for page in pages:
        following = adapter.next_models_request(to, asked, answer)
        assert following is not None
        asked, answer = following, msgspec.json.encode(page)
        found += adapter.read_models(answer)
        theirs = serialized("bedrock", "ListInferenceProfiles", {})
        assert (asked.method, urlsplit(asked.url).path) == (theirs["method"], theirs["url_path"])

    assert found == ["us.a", "global.a", "jp.b"]
    assert parse_qs(urlsplit(asked.url).query) == {
        "maxResults": ["1000"],
        "type": ["SYSTEM_DEFINED"],
        "nextToken": ["a+/="],
    }
    assert adapter.next_models_request(to, asked, answer) is None


@pytest.mark.parametrize(
    "answer", [b"{}", b"nonsense", b'{"__type":"AccessDeniedException","message":"No."}']
)
def test_what_is_no_list(answer: bytes) -> None:
    with pytest.raises(UpstreamError):
        BedrockAdapter().read_models(answer)
