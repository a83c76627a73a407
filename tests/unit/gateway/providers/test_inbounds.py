"""Which way a request goes: to the provider as it came, or through chat completions."""

import json

import pytest

from services.gateway.errors import ClientError
from services.gateway.providers.inbounds import errors_of, speaks
from services.gateway.providers.operations import Operation
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider


@pytest.mark.parametrize(
    ("type_name", "base_url", "options", "native"),
    [
        ("openai", "https://api.openai.com/v1", {}, True),
        ("openai", "https://api.openai.com/v1/", {}, True),
        ("openai", "http://localhost:1234/v1", {}, False),
        ("openai", "http://localhost:1234/v1", {"responses": "native"}, True),
        ("xai", "https://api.x.ai/v1", {}, True),
        ("xai", "http://proxy/v1", {}, True),
        ("openrouter", "https://openrouter.ai/api/v1", {}, True),
        ("groq", "https://api.groq.com/openai/v1", {}, False),
        ("groq", "https://api.groq.com/openai/v1", {"responses": "native"}, False),
        ("demo", "demo:", {}, False),
    ],
)
def test_who_answers_responses_itself(
    type_name: str, base_url: str, options: dict[str, str], native: bool
) -> None:
    provider = Provider(name="p", type=type_name, base_url=base_url, options=options)

    assert speaks(provider, PROVIDER_TYPES[type_name], Operation.RESPONSES) is native


def test_each_format_tells_errors_its_own_way() -> None:
    error = ClientError("provider_error", "It failed.")

    assert errors_of(Operation.CHAT).error_event(error).endswith(b"data: [DONE]\n\n")
    assert json.loads(errors_of(Operation.CHAT).error_body(error))["error"]["message"] == "It failed."
    event = errors_of(Operation.RESPONSES).error_event(error)
    assert event.startswith(b"event: error\ndata: ")
    told = json.loads(event.partition(b"data: ")[2])
    assert (told["type"], told["code"], told["message"]) == ("error", "provider_error", "It failed.")
