"""What decides a price beyond plain tokens, read from answers that the vendors' own types have accepted: the service
tier, the provider's searches, tokens of pictures, writes to a cache for an hour."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from google.genai import types as google
from openai.types import CompletionUsage, ImagesResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from services.gateway.providers.answer import read_openai_answer
from services.gateway.providers.anthropic.answer import read_message
from services.gateway.providers.anthropic.native import NativeRelay, read_native_message
from services.gateway.providers.bedrock.answer import read_converse
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.gemini.answer import read_chat_answer
from services.gateway.providers.gemini.stream import GeminiTranslator
from services.gateway.providers.operations import Operation
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.responses.native import read_response
from services.gateway.providers.responses.relay import ResponsesRelay
from services.gateway.providers.usage import Usage, read_duration_ms, read_usage
from shared.events import Tokens
from tests.support.targets import json_body, relay_options

ASKED = json_body('{"model":"m","messages":[{"role":"user","content":"hi"}],"input":"hi"}')
JSON = {"content-type": "application/json"}


def sse(*documents: dict[str, Any], named: bool = False) -> bytes:
    events = []
    for document in documents:
        head = f"event: {document['type']}\n" if named else ""
        events.append(f"{head}data: {json.dumps(document)}\n\n")
    return "".join(events).encode()


# ---- OpenAI

USAGE = CompletionUsage(prompt_tokens=10, completion_tokens=4, total_tokens=14).model_dump(exclude_none=True)


def test_a_chat_says_which_tier_served_it() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    document: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    document |= {"choices": [choice], "usage": USAGE, "service_tier": "flex"}
    ChatCompletion.model_validate(document)

    answer = read_openai_answer(Operation.CHAT, ASKED, JSON, json.dumps(document).encode())

    assert answer.usage == Usage(Tokens(10, 4), service_tier="flex")


@pytest.mark.parametrize("tier", [None, 5, {}])
def test_what_is_no_tier_is_none(tier: object) -> None:
    document = {"choices": [], "usage": USAGE, "service_tier": tier}

    answer = read_openai_answer(Operation.CHAT, ASKED, JSON, json.dumps(document).encode())

    assert answer.usage == Usage(Tokens(10, 4))


def test_a_stream_of_a_chat_says_it_with_its_usage() -> None:
    base: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    base |= {"service_tier": "priority"}
    said = base | {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    last = base | {"choices": [], "usage": USAGE}
    for chunk in (said, last):
        ChatCompletionChunk.model_validate(chunk)
    relay = OpenAIRelay(relay_options())

    relay.feed(sse(said, last) + b"data: [DONE]\n\n")

    assert relay.usage() == Usage(Tokens(10, 4), service_tier="priority")


def response(**fields: Any) -> dict[str, Any]:
    def call(number: int, action: dict[str, Any]) -> dict[str, Any]:
        return {"type": "web_search_call", "id": f"ws_{number}", "status": "completed", "action": action}

    document = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5",
        "status": "completed",
        "output": [
            call(1, {"type": "search", "query": "a"}),
            call(2, {"type": "open_page", "url": "https://example.com"}),
            call(3, {"type": "search", "query": "b"}),
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "priority",
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 14,
        },
        **fields,
    }
    Response.model_validate(document)
    return document


RESPONSE_USAGE = Usage(
    Tokens(10, 4, cached_read=3, cache_write=2, reasoning=1, searches=2), service_tier="priority"
)


def test_a_response_says_its_tier_and_how_often_the_provider_searched() -> None:
    answer = read_response(ASKED, JSON, json.dumps(response()).encode())

    assert answer.usage == RESPONSE_USAGE


def test_a_stream_of_a_response_says_it_in_its_last_event() -> None:
    relay = ResponsesRelay(relay_options())

    relay.feed(sse({"type": "response.completed", "sequence_number": 1, "response": response()}, named=True))

    assert relay.usage() == RESPONSE_USAGE


def test_pictures_say_what_of_their_tokens_are_pictures() -> None:
    document = {
        "created": 1,
        "data": [{"b64_json": "QUJD"}],
        "usage": {
            "input_tokens": 50,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
            "output_tokens": 30,
            "output_tokens_details": {"image_tokens": 25, "text_tokens": 5},
            "total_tokens": 80,
        },
    }
    ImagesResponse.model_validate(document)

    answer = read_openai_answer(Operation.IMAGES, ASKED, JSON, json.dumps(document).encode())

    assert answer.usage.tokens == Tokens(50, 30, images=1, prompt_image=40, completion_image=25)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10**13}},
        {"type": "duration", "seconds": 1e300},
    ],
)
def test_counts_that_no_request_can_have_are_none(usage: dict[str, Any]) -> None:
    assert read_usage(json.dumps(usage).encode()) is None


def test_lengths_and_costs_that_nothing_has_are_none() -> None:
    assert read_duration_ms(b"1e300") == 0
    assert read_usage(b'{"prompt_tokens": 1, "cost": 1e300}') == Usage(Tokens(1))


# ---- Anthropic

ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "output_tokens": 4,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 2},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    "service_tier": "standard",
    "speed": "fast",
}
ANTHROPIC = Usage(
    Tokens(20, 4, cached_read=3, cache_write=7, cache_write_1h=2, searches=2), service_tier="fast"
)


def message() -> dict[str, Any]:
    document: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    document |= {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "stop_sequence": None}
    document |= {"usage": ANTHROPIC_USAGE}
    Message.model_validate(document)
    return document


@pytest.mark.parametrize("read", [read_message, read_native_message])
def test_a_message_says_how_fast_it_was_and_how_often_the_provider_searched(read: Any) -> None:
    assert read(json.dumps(message()).encode()).usage == ANTHROPIC


def test_a_stream_of_a_message_says_it_bit_by_bit() -> None:
    first = {key: ANTHROPIC_USAGE[key] for key in ANTHROPIC_USAGE if key not in ("server_tool_use", "speed")}
    begun = {"type": "message_start", "message": {**message(), "content": [], "usage": first}}
    ended = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {
            "output_tokens": 4,
            "server_tool_use": ANTHROPIC_USAGE["server_tool_use"],
            "speed": "fast",
        },
    }
    relay = NativeRelay(relay_options())

    relay.feed(sse(begun, ended, {"type": "message_stop"}, named=True))

    assert relay.usage() == ANTHROPIC


# ---- Gemini


def generated(**usage: Any) -> bytes:
    def count(modality: str, tokens: int) -> google.ModalityTokenCount:
        return google.ModalityTokenCount(modality=google.MediaModality(modality), token_count=tokens)

    grounding = google.GroundingMetadata(web_search_queries=["a", "b"])
    answer = google.GenerateContentResponse(
        model_version="gemini-3-pro",
        candidates=[
            google.Candidate(
                content=google.Content(role="model", parts=[google.Part(text="x")]),
                finish_reason=google.FinishReason.STOP,
                grounding_metadata=grounding,
            )
        ],
        usage_metadata=google.GenerateContentResponseUsageMetadata(
            prompt_token_count=10,
            prompt_tokens_details=[count("TEXT", 4), count("IMAGE", 6)],
            candidates_token_count=30,
            candidates_tokens_details=[count("TEXT", 5), count("IMAGE", 25)],
            **usage,
        ),
    )
    return answer.model_dump_json(by_alias=True, exclude_none=True).encode()


GEMINI = Usage(Tokens(10, 30, prompt_image=6, completion_image=25, searches=2), service_tier="flex")


def test_gemini_says_its_tier_its_searches_and_what_of_its_tokens_are_pictures() -> None:
    answer = generated(traffic_type=google.TrafficType.ON_DEMAND_FLEX)

    assert read_chat_answer(ASKED, answer).usage == GEMINI
    relay = TranslatedRelay(relay_options(), GeminiTranslator())
    relay.feed(b"data: " + answer + b"\r\n\r\n")
    assert relay.usage() == GEMINI


def test_the_gemini_api_has_another_word_for_the_tier() -> None:
    document = json.loads(generated())
    document["usageMetadata"]["serviceTier"] = google.ServiceTier.FLEX.value

    assert read_chat_answer(ASKED, json.dumps(document).encode()).usage == GEMINI


# ---- Bedrock


def test_bedrock_says_what_is_kept_for_an_hour() -> None:
    usage = {
        "inputTokens": 10,
        "outputTokens": 4,
        "totalTokens": 21,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 7,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 5}, {"ttl": "1h", "inputTokens": 2}],
    }
    document = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "usage": usage}

    answer = read_converse(ASKED, json.dumps({**document, "stopReason": "end_turn"}).encode())

    assert answer.usage.tokens == Tokens(17, 4, cache_write=7, cache_write_1h=2)
