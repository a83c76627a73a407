"""Chat requests of all the shapes that OpenAI's format allows, for hypothesis.

Some are our own idea of what matters most, some are made of OpenAI's types. Each is judged by those types.
"""

from typing import Any

import pydantic
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from openai.types.chat.completion_create_params import (
    CompletionCreateParams,
    CompletionCreateParamsNonStreaming,
)

from tests.support.providers.anthropic import exhaust
from tests.support.providers.sdk_requests import Types

PICTURE = "data:image/png;base64,iVBORw0KGgo="
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
_text = st.text(max_size=12)
_part: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, _text),
    st.builds(
        lambda url, detail: {"type": "image_url", "image_url": {"url": url, "detail": detail}},
        st.sampled_from([PICTURE, "https://example.org/a.png"]),
        st.sampled_from(["auto", "low", "high"]),
    ),
    st.just({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
    st.just({"type": "file", "file": {"file_id": "file-1"}}),
)
_call = st.builds(
    lambda id, arguments: {
        "id": id,
        "type": "function",
        "function": {"name": "look", "arguments": arguments},
    },
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "{}", '{"x": 1}', "{"]),
)
_message: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer"]), "content": _text}),
    st.fixed_dictionaries({"role": st.just("user"), "content": _text | st.lists(_part, max_size=3)}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": _text | st.none(),
            "tool_calls": st.lists(_call, min_size=1, max_size=2),
            "refusal": _text,
        },
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "tool_call_id": st.sampled_from(["a", "b"]), "content": _text}
    ),
)
_tool = st.builds(
    lambda strict, description: {
        "type": "function",
        "function": {"name": "look", "strict": strict, "description": description},
    },
    st.booleans(),
    _text,
)
_usual: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": st.just("p/m"), "messages": st.lists(_message, min_size=1, max_size=4)},
    optional={
        "stream": st.booleans(),
        "max_tokens": st.integers(1, 1000) | st.none(),
        "max_completion_tokens": st.integers(1, 1000),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "n": st.integers(1, 2),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stop": _text | st.lists(_text, max_size=4) | st.none(),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "logit_bias": st.just({"50256": -100}),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 20),
        "tools": st.lists(_tool, max_size=1),
        "tool_choice": st.sampled_from(
            ["none", "auto", "required", {"type": "function", "function": {"name": "look"}}]
        ),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            ]
        ),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high"]),
        "service_tier": st.sampled_from(["auto", "flex"]),
        "modalities": st.sampled_from([["text"], ["text", "audio"]]),
        "user": _text,
        "store": st.booleans(),
        "metadata": st.just({"a": "b"}),
        "web_search_options": st.just({}),
    },
)


def _of_sdk(sdk: Types) -> st.SearchStrategy[dict[str, Any]]:
    said = st.lists(sdk.of(ChatCompletionMessageParam), min_size=1, max_size=4)
    return sdk.objects(
        CompletionCreateParamsNonStreaming,
        model=st.just("p/m"),
        messages=said.map(lambda messages: [*messages, {"role": "user", "content": "And?"}]),
        tools=st.lists(sdk.of(ChatCompletionToolUnionParam), max_size=2),
    )


sdk_chat_requests = _of_sdk(Types()) | _of_sdk(
    Types(
        "Audio",
        "ChatCompletionAudioParam",
        "ChatCompletionContentPartInputAudioParam",
        "ChatCompletionCustomToolParam",
        "ChatCompletionFunctionMessageParam",
        "ChatCompletionMessageCustomToolCallParam",
        "ChatCompletionNamedToolChoiceCustomParam",
        "FunctionCall",
        "Moderation",
    )
)
"""Every variant of OpenAI's types; and once more without those that nearly every other provider refuses."""
chat_requests = _usual | sdk_chat_requests
_judge: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(CompletionCreateParams)


def allowed_by_openai(request: dict[str, Any]) -> None:
    """Fails when the request is not one that OpenAI's own types allow: the strategy would be at fault."""
    exhaust(_judge.validate_python(request))
