"""Parameters fit each provider: renamed, replaced, left out, and what was lost is reported."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.dialects import COMPATIBLE, DIALECTS
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.pictures import is_free_size, nearest_free_size, nearest_size
from shared.catalogue.provider_types import PROVIDER_TYPES
from tests.support.providers.openai_models import wrong_for_model
from tests.support.targets import form, json_body, target

ADAPTER = OpenAIAdapter()


def built(
    body: dict[str, Any],
    *,
    kind: str = "openai",
    model: str = "gpt-4o-mini",
    operation: Operation = Operation.CHAT,
    base_url: str = "",
) -> tuple[dict[str, Any], tuple[str, ...]]:
    parsed = json_body(msgspec.json.encode({"model": "asked/for", **body}).decode())
    prepared = ADAPTER.build(operation, target(kind, model, base_url=base_url), parsed)
    assert isinstance(prepared.request.body, bytes)
    return json.loads(prepared.request.body), prepared.dropped


def test_only_the_model_changes_when_nothing_else_must() -> None:
    body = {"messages": [{"role": "system", "content": "x"}], "temperature": 0.1, "custom": {"deep": [1]}}

    assert built(body) == ({"model": "gpt-4o-mini", **body}, ())


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "o1", "o3-mini", "o4-mini", "ft:gpt-5:acme::x"])
def test_reasoning_models_get_the_newer_names(model: str) -> None:
    body = {
        "max_tokens": 1000,
        "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
    }

    sent, dropped = built(body, model=model)

    assert sent["max_completion_tokens"] == 1000
    assert "max_tokens" not in sent
    assert [message["role"] for message in sent["messages"]] == ["developer", "user"]
    assert dropped == ()


def test_the_newer_name_wins_when_both_are_given() -> None:
    sent, _ = built({"max_tokens": 1, "max_completion_tokens": 2}, model="o3")

    assert sent["max_completion_tokens"] == 2


@pytest.mark.parametrize("kind", ["mistral", "perplexity"])
def test_older_servers_get_the_older_name(kind: str) -> None:
    sent, _ = built({"max_completion_tokens": 7}, kind=kind, model="m")

    assert sent["max_tokens"] == 7
    assert "max_completion_tokens" not in sent


def test_local_parameters_are_dropped_and_reported_where_they_are_refused() -> None:
    body = {
        "top_k": 4,
        "min_p": 0.1,
        "repeat_penalty": 1,
        "num_ctx": 9,
        "keep_alive": "5m",
        "think": True,
        "seed": 1,
    }

    sent, dropped = built(body)

    assert sent == {"model": "gpt-4o-mini", "seed": 1}
    assert dropped == ("keep_alive", "min_p", "num_ctx", "repeat_penalty", "think", "top_k")
    assert built(body, kind="ollama")[1] == ()


def test_nothing_is_dropped_for_somebodys_own_server() -> None:
    body = {"top_k": 4, "min_p": 0.1, "think": True}

    sent, dropped = built(body, base_url="http://127.0.0.1:9000/v1")

    assert sent == {"model": "gpt-4o-mini", **body}
    assert dropped == ()
    assert built(body, base_url="https://api.openai.com/v1/")[1] == ("min_p", "think", "top_k")


def test_a_parameter_with_another_name_is_renamed() -> None:
    sent, dropped = built({"repeat_penalty": 1.1}, kind="vllm", model="m")

    assert sent["repetition_penalty"] == 1.1
    assert dropped == ()


def test_openais_own_parameters_stay_at_openai() -> None:
    body = {"store": True, "verbosity": "low", "service_tier": "flex"}

    assert built(body)[1] == ()
    assert built(body, kind="groq")[1] == ("store", "verbosity")


def test_a_long_user_is_dropped() -> None:
    assert built({"user": "u" * 64})[0]["user"] == "u" * 64
    assert built({"user": "u" * 65}) == ({"model": "gpt-4o-mini"}, ("user",))


def test_usage_is_asked_for_on_every_stream() -> None:
    assert built({"stream": True})[0]["stream_options"] == {"include_usage": True}
    given_options = {"include_usage": False, "include_obfuscation": False}
    sent, _ = built({"stream": True, "stream_options": given_options})
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert "stream_options" not in built({"stream": True}, kind="mistral")[0]
    assert "stream_options" not in built({"stream": True, "stream_options": {}}, kind="mistral")[0]
    assert "stream_options" not in built({"stream_options": {"include_usage": True}})[0]


def test_stream_options_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(BadRequest):
        built({"stream": True, "stream_options": [1]})


def picture(model: str, **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    return built({"prompt": "p", **body}, model=model, operation=Operation.IMAGES)


def test_gpt_image_refuses_a_response_format() -> None:
    assert picture("gpt-image-1", response_format="b64_json") == (
        {"model": "gpt-image-1", "prompt": "p"},
        ("response_format",),
    )
    assert picture("dall-e-3", response_format="b64_json")[0]["response_format"] == "b64_json"


@pytest.mark.parametrize(
    ("model", "size", "sent"),
    [
        ("dall-e-3", "512x512", "1024x1024"),
        ("dall-e-3", "1024x1024", "1024x1024"),
        ("dall-e-3", "1920x1080", "1792x1024"),
        ("dall-e-3", "auto", None),
        ("gpt-image-1", "512x512", "1024x1024"),
        ("gpt-image-1", "auto", "auto"),
        ("gpt-image-1", "600x900", "1024x1536"),
        ("dall-e-2", "512x512", "512x512"),
        ("dall-e-2", "600x600", "512x512"),
        ("dall-e-3", "large", None),
        ("dall-e-3", "0x0", None),
        ("gpt-image-1.5", "2048x2048", "1024x1024"),
        ("chatgpt-image-latest", "1920x1080", "1536x1024"),
        ("gpt-image-2", "1536x864", "1536x864"),
        ("gpt-image-2", "auto", "auto"),
        ("gpt-image-2", "512x512", "816x816"),
        ("gpt-image-2-2026-04-21", "4096x4096", "2880x2880"),
        ("gpt-image-2.5-sunburst", "3840x2160", "3840x2160"),
        ("gpt-image-2.5-flare-2026-09-08", "9999x1", "1424x480"),
        ("gpt-image-2.5-flare", "large", None),
        ("gpt-image-2.6-flare", "640x480", "640x480"),
        ("some-other-model", "512x512", "512x512"),
    ],
)
def test_sizes_become_the_nearest_supported(model: str, size: str, sent: str | None) -> None:
    body, dropped = picture(model, size=size)

    assert body.get("size") == sent
    assert dropped == (() if sent == size else ("size",))


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_the_nearest_size_is_always_a_supported_one(width: int, height: int) -> None:
    sizes = ("1024x1024", "1792x1024", "1024x1792")

    assert nearest_size(f"{width}x{height}", sizes) in sizes


@given(st.integers(1, 99_999), st.integers(1, 99_999))
def test_any_size_has_a_nearest_that_newer_models_draw(width: int, height: int) -> None:
    found = nearest_free_size(f"{width}x{height}")

    assert found is not None
    assert wrong_for_model("/images/generations", {"model": "gpt-image-2", "size": found}) == []
    assert not is_free_size(width, height) or found == f"{width}x{height}"


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-image-1.5", {"style": "vivid"}, {}),
        ("gpt-image-2", {"style": "natural", "input_fidelity": "high"}, {}),
        ("gpt-image-2.6-sunburst", {"style": "vivid"}, {}),
        ("gpt-image-1-mini", {"input_fidelity": "high"}, {"input_fidelity": "low"}),
        ("gpt-image-2", {"quality": "hd"}, {"quality": "high"}),
        ("gpt-image-1", {"quality": "max"}, {"quality": "high"}),
        ("gpt-image-2.5-flare", {"quality": "standard"}, {"quality": "medium"}),
        ("dall-e-3", {"quality": "high"}, {"quality": "hd"}),
        ("dall-e-2", {"style": "vivid", "quality": "hd"}, {}),
    ],
)
def test_what_a_model_does_not_draw_is_left_out_or_the_nearest_asked_for(
    model: str, asked: dict[str, str], sent: dict[str, str]
) -> None:
    assert picture(model, **asked) == ({"model": model, "prompt": "p", **sent}, tuple(sorted(asked)))


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-image-1.5", {"input_fidelity": "high", "quality": "low"}),
        ("gpt-image-2.5-sunburst", {"quality": "max"}),
        ("gpt-image-2.5-flare", {"size": "320x320", "output_format": "gif"}),
        ("dall-e-3", {"style": "vivid", "quality": "hd", "response_format": "url"}),
        ("some-other-model", {"style": "vivid", "quality": "hd"}),
    ],
)
def test_what_a_model_draws_is_asked_for_as_it_came(model: str, asked: dict[str, str]) -> None:
    assert picture(model, **asked) == ({"model": model, "prompt": "p", **asked}, ())


def test_a_form_is_adjusted_like_json() -> None:
    raw, kind = form(
        [("model", None, b"openai/gpt-image-1"), ("response_format", None, b"b64_json"),
         ("size", None, b"512x512"), ("image[]", "a.png", b"PNG")]
    )  # fmt: skip
    prepared = ADAPTER.build(Operation.IMAGE_EDITS, target(model="gpt-image-1"), parse_multipart(raw, kind))
    assert isinstance(prepared.request.body, bytes)

    sent = parse_multipart(prepared.request.body, prepared.request.headers["content-type"])

    assert (sent.model, sent.text("size")) == ("gpt-image-1", "1024x1024")
    assert "response_format" not in sent
    assert sent.content_of(sent.files[0]) == b"PNG"
    assert prepared.dropped == ("response_format", "size")


def test_addresses_and_headers_of_the_request() -> None:
    prepared = ADAPTER.build(Operation.TRANSCRIPTIONS, target(base_url="https://x.test/v1/"), parse_multipart(
        *form([("model", None, b"m"), ("file", "f", b"x")])
    ))  # fmt: skip

    assert prepared.request.url == "https://x.test/v1/audio/transcriptions"
    assert prepared.request.headers["authorization"] == "Bearer sk-upstream"
    assert prepared.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert not prepared.streams


def test_no_secret_no_authorization() -> None:
    prepared = ADAPTER.build(
        Operation.CHAT, target("ollama", secret=""), json_body('{"model":"m","stream":true}')
    )

    assert "authorization" not in prepared.request.headers
    assert prepared.request.headers["accept"] == "text/event-stream"
    assert prepared.streams


def test_hugging_face_gets_its_own_form_of_a_model_name() -> None:
    assert built({}, kind="huggingface", model="groq/meta/llama")[0]["model"] == "meta/llama:groq"


def test_an_operation_that_the_provider_lacks_is_refused() -> None:
    with pytest.raises(Unsupported, match="audio speech"):
        built({"input": "x"}, kind="cerebras", operation=Operation.SPEECH)


def test_every_openai_like_type_has_a_dialect() -> None:
    types = {
        kind.name
        for kind in PROVIDER_TYPES.values()
        if kind.wire in ("openai", "azure", "mistral", "huggingface")
    }
    assert types | {COMPATIBLE} == DIALECTS.keys()


@pytest.mark.parametrize(
    ("answer", "models"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ("a", "b")),
        ([{"id": "a"}], ("a",)),
        ({"models": [{"name": "models/x"}]}, ("x",)),
        ({"object": "list", "data": []}, ()),
        ({"data": [{"id": "a", "name": None}, {"id": None}, None, {}]}, ("a",)),
        (["a", "b"], ("a", "b")),
        ({"models": ["a"], "data": None}, ("a",)),
        ({"data": [{"id": "a", "active": False}, {"id": "b", "active": True}]}, ("b",)),
    ],
)
def test_reads_model_lists_of_all_shapes(answer: Any, models: tuple[str, ...]) -> None:
    assert ADAPTER.read_models(json.dumps(answer).encode()) == models


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"1", b'{"data":1}', b'{"status":"ok"}', b'{"data":null}']
)
def test_what_is_no_list_of_models_is_an_error(answer: bytes) -> None:
    with pytest.raises(UpstreamError):
        ADAPTER.read_models(answer)


def test_asks_for_a_list_of_models_where_there_is_one() -> None:
    assert ADAPTER.models_request(target("perplexity")) is None
    request = ADAPTER.models_request(target())
    assert request is not None
    assert (request.method, request.url) == ("GET", "https://api.openai.com/v1/models")


def test_a_project_of_nebius_stands_in_every_address() -> None:
    plain = target("nebius", "m")
    own = msgspec.structs.replace(
        plain, provider=msgspec.structs.replace(plain.provider, options={"ai_project_id": "p 1"})
    )
    listing = ADAPTER.models_request(own)

    for stream in ("true", "false"):
        prepared = ADAPTER.build(Operation.CHAT, own, json_body(f'{{"model":"m","stream":{stream}}}'))
        assert prepared.request.url.endswith("/v1/chat/completions?ai_project_id=p+1")
    assert listing is not None and listing.url.endswith("/v1/models?ai_project_id=p+1")


@pytest.mark.parametrize(
    ("operation", "answer", "message"),
    [
        (Operation.CHAT, {"detail": "overloaded"}, "overloaded"),
        (Operation.CHAT, {"message": "no", "code": 503}, "no"),
        (Operation.EMBEDDINGS, {"object": "list"}, "not the JSON"),
        (Operation.IMAGES, {"created": 1}, "not the JSON"),
    ],
)
def test_a_good_status_without_an_answer_is_an_error(operation: Operation, answer: Any, message: str) -> None:
    read = ADAPTER.read_answer(operation, json_body('{"model":"m"}'), {}, json.dumps(answer).encode())

    assert read.error is not None and message in read.error.message
    assert read.error.retryable
