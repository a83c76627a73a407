from typing import get_args
from urllib.parse import urlsplit

import pytest

from shared.catalogue.modality import modality_of
from shared.catalogue.provider_types import (
    PROVIDER_TYPES,
    Endpoint,
    ProviderType,
    base_url_from_environment,
    model_on_wire,
)
from shared.pricing.genai import PROVIDER_IDS

EVERY_TYPE = [pytest.param(kind, id=name) for name, kind in PROVIDER_TYPES.items()]
OPENAI_WIRE = {
    "openai", "groq", "cerebras", "xai", "openrouter", "nebius", "parasail", "perplexity", "ollama",
    "vllm", "sgl",
}  # fmt: skip


def test_every_provider_that_speaks_openais_format_is_there_and_the_demo() -> None:
    assert {name for name, kind in PROVIDER_TYPES.items() if kind.wire == "openai"} == OPENAI_WIRE
    assert PROVIDER_TYPES["demo"].wire == "demo"


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_each_type_is_usable(kind: ProviderType) -> None:
    assert kind.operations
    assert kind.operations <= set(get_args(Endpoint))
    # Azure's models are the operator's own deployments: finops.yaml names them.
    assert kind.lists_models or kind.static_models or kind.name == "azure"
    assert not kind.base_url.endswith("/")
    assert kind.env_vars or kind.auth == "none"
    if not kind.base_url:
        assert kind.auth == "optional_bearer"
        assert kind.base_url_env_vars
    elif kind.wire == "openai":
        assert urlsplit(kind.base_url).scheme == "https"


def test_only_perplexity_has_no_version_in_its_path() -> None:
    unversioned = {
        name
        for name, kind in PROVIDER_TYPES.items()
        if kind.wire == "openai" and kind.base_url and not kind.base_url.endswith("/v1")
    }

    assert unversioned == {"perplexity"}


def test_azures_address_is_that_of_the_resource() -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com/"}

    assert base_url_from_environment(PROVIDER_TYPES["azure"], environ) == "https://acme.openai.azure.com"


def test_no_variable_names_two_types() -> None:
    names = [name for kind in PROVIDER_TYPES.values() for name in (*kind.env_vars, *kind.base_url_env_vars)]

    assert len(names) == len(set(names))


def test_public_prices_belong_to_types_that_exist() -> None:
    assert set(PROVIDER_IDS) <= set(PROVIDER_TYPES)


def test_hugging_face_wants_the_inference_provider_behind_the_model() -> None:
    kind = PROVIDER_TYPES["huggingface"]

    assert model_on_wire(kind, "nebius/Qwen/Qwen3-32B") == "Qwen/Qwen3-32B:nebius"
    assert model_on_wire(kind, "Qwen/Qwen3-32B") == "Qwen/Qwen3-32B"
    assert model_on_wire(PROVIDER_TYPES["openrouter"], "a/b/c") == "a/b/c"


@pytest.mark.parametrize(
    ("environ", "base_url"),
    [
        ({}, ""),
        ({"OLLAMA_HOST": " "}, ""),
        ({"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434/v1"),
        ({"OLLAMA_HOST": "0.0.0.0:8000"}, "http://127.0.0.1:8000/v1"),
        ({"OLLAMA_HOST": "http://gpu:11434/"}, "http://gpu:11434/v1"),
        ({"OLLAMA_HOST": "https://ollama.example.com"}, "https://ollama.example.com/v1"),
        ({"OLLAMA_BASE_URL": "http://gpu:1/v1", "OLLAMA_HOST": "other"}, "http://gpu:1/v1"),
    ],
)
def test_ollamas_address_is_taken_from_its_variables(environ: dict[str, str], base_url: str) -> None:
    assert base_url_from_environment(PROVIDER_TYPES["ollama"], environ) == base_url


def test_a_type_with_a_fixed_address_takes_none_from_the_environment() -> None:
    assert base_url_from_environment(PROVIDER_TYPES["openai"], {"OLLAMA_HOST": "gpu"}) == ""


@pytest.mark.parametrize(
    ("model", "modality"),
    [
        ("gpt-4o", "chat"),
        ("o3-mini", "chat"),
        ("gpt-4o-audio-preview", "chat"),
        ("openai/gpt-5", "chat"),
        ("claude-sonnet-4", "chat"),
        ("grok-2-vision-1212", "chat"),
        ("llama3.2:latest", "chat"),
        ("voxtral-small-latest", "chat"),
        ("gpt-3.5-turbo", "chat"),
        ("gpt-3.5-turbo-instruct", "completion"),
        ("davinci-002", "completion"),
        ("text-embedding-3-small", "embedding"),
        ("nomic-embed-text", "embedding"),
        ("BAAI/bge-m3", "embedding"),
        ("mistral-embed", "embedding"),
        ("gpt-image-1", "image"),
        ("dall-e-3", "image"),
        ("black-forest-labs/flux-schnell", "image"),
        ("grok-2-image-1212", "image"),
        ("sora-2", "video"),
        ("veo-3.0-generate-001", "video"),
        ("grok-imagine-video", "video"),
        ("gpt-4o-realtime-preview", "realtime"),
        ("gpt-realtime-whisper", "realtime"),
        ("gemini-live-2.5-flash", "realtime"),
        ("amazon.nova-2-sonic-v1:0", "realtime"),
        ("sonar-pro", "chat"),
        ("mistral-ocr-latest", "ocr"),
        ("deepseek-ocr", "chat"),
        ("tts-1-hd", "speech"),
        ("gpt-4o-mini-tts", "speech"),
        ("playai-tts", "speech"),
        ("voxtral-mini-tts-2603", "speech"),
        ("voxtral-mini-tts-3-0", "speech"),
        ("whisper-large-v3-turbo", "transcription"),
        ("gpt-4o-transcribe", "transcription"),
        ("omni-moderation-latest", "moderation"),
        ("mistral-moderation-2603", "moderation"),
        ("meta-llama/Llama-Guard-4-12B", "moderation"),
        ("jina-reranker-v2", "rerank"),
        ("BAAI/bge-reranker-v2-m3", "rerank"),
        ("semantic-ranker-default-004", "rerank"),
        ("us.stability.stable-image-core-v1:1", "image"),
        ("stability.sd3-5-large-v1:0", "image"),
        ("eu-west-1/amazon.nova-canvas-v1:0", "image"),
        ("amazon.titan-image-generator-v2:0", "image"),
        ("amazon.titan-embed-text-v2:0", "embedding"),
        ("echo", "chat"),
        ("lorem", "chat"),
        ("embedding", "embedding"),
        ("image", "image"),
        ("speech", "speech"),
        ("transcription", "transcription"),
        ("moderation", "moderation"),
    ],
)
def test_the_modality_is_read_from_the_id(model: str, modality: str) -> None:
    assert modality_of(model) == modality
