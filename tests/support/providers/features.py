"""What a chat may ask for, and where each wire has it once it has arrived."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support.providers.gemini import PNG
from tests.support.providers.script import Document
from tests.support.upstream.answers import PIXEL

FAMILIES: Final[Mapping[str, str]] = {
    "mistral": "mistral",
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "gemini": "google",
    "vertex": "google",
    "cohere": "cohere",
    "replicate": "replicate",
}
"""Whose format a kind speaks, where that is not OpenAI's."""
PICTURE: Final = base64.b64encode(PIXEL).decode()
LINK: Final = "https://example.org/cat.png"
LINKED: Final = base64.b64encode(PNG).decode()
"""What is found there by providers that need the bytes."""
PDF: Final = base64.b64encode(b"%PDF-1.7 conformance").decode()
SOUND: Final = base64.b64encode(b"RIFF conformance WAVE").decode()
SCHEMA: Final[Document] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
LOOK: Final[Document] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look around.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
OTHER: Final[Document] = {
    "type": "function",
    "function": {"name": "listen", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True, slots=True)
class Asking:
    """A feature: what a client sends, and the path to it in the request of each family.

    `param` is what a header or a refusal calls it. `wanted` says whether what stands there is what was asked for.
    """

    feature: str
    param: str
    fields: Document
    places: Mapping[str, str]
    wanted: Callable[[Any], bool]


def at(body: Any, path: str) -> Any:
    """What stands at `a.b.0.c`; None where there is nothing. `*` stands for the whole, `|` between two places for either."""
    if "|" in path:
        return next((found for place in path.split("|") if (found := at(body, place)) is not None), None)
    for step in path.split(".") if path != "*" else ():
        if isinstance(body, dict):
            body = body.get(step)
        elif isinstance(body, list) and step.isdecimal() and int(step) < len(body):
            body = body[int(step)]
        else:
            return None
    return body


def holds(needle: str, *more: str) -> Callable[[Any], bool]:
    """One of these stands somewhere in the value; bytes count as their base64."""

    def found(value: Any) -> bool:
        text = json.dumps(value, default=lambda data: base64.b64encode(data).decode(), ensure_ascii=False)
        return any(each in text for each in (needle, *more))

    return found


def equals(*wanted: Any) -> Callable[[Any], bool]:
    return lambda value: value in wanted


def _user(*parts: Document) -> Document:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]}


def _everywhere(path: str, **others: str) -> dict[str, str]:
    """The same path in OpenAI's format and in Mistral's."""
    return {"openai": path, "mistral": path, **others}


_CONTENTS: Final = {
    "openai": "messages",
    "mistral": "messages",
    "anthropic": "messages",
    "google": "contents",
    "bedrock": "messages",
    "cohere": "messages",
    "replicate": "input",
}
_FORCED: Final = {
    "openai": "tool_choice",
    "mistral": "tool_choice",
    "anthropic": "tool_choice",
    "google": "toolConfig.functionCallingConfig",
    "bedrock": "toolConfig.toolChoice",
    "cohere": "*",
    "replicate": "input.tool_choice",
}
_JSON: Final = {
    "openai": "response_format",
    "mistral": "response_format",
    "anthropic": "*",
    "google": "generationConfig",
    "bedrock": "*",
    "cohere": "response_format",
    "replicate": "input.response_format",
}
_EFFORT: Final = {
    "openai": "reasoning_effort",
    "mistral": "reasoning_effort",
    "anthropic": "output_config.effort",
    "google": "generationConfig.thinkingConfig",
    "bedrock": "additionalModelRequestFields.thinking",
    "cohere": "thinking",
    "replicate": "input.reasoning_effort",
}
_BUDGET: Final = {
    "openai": "thinking|reasoning|reasoning_effort",
    "mistral": "thinking|reasoning|reasoning_effort",
    "anthropic": "output_config.effort",
    "google": "generationConfig.thinkingConfig",
    "bedrock": "additionalModelRequestFields.thinking",
    "cohere": "thinking",
    "replicate": "input.thinking",
}


def _forces(value: Any) -> bool:
    """A choice of `look`: by name, or by letting nothing else be chosen."""
    if value == "any":
        return True
    if isinstance(value, dict) and "messages" in value:
        return value.get("tool_choice") == "REQUIRED" and "listen" not in json.dumps(value["tools"])
    return "look" in json.dumps(value)


def _is_json(value: Any) -> bool:
    """JSON is asked for: by a kind of answer, by a tool for it, or in words."""
    said = json.dumps(value, default=str)
    return any(
        word in said
        for word in ("json_object", "application/json", "answer_in_json", "gateway_structured_answer")
    )


ASKINGS: Final = (
    Asking(
        "system, developer",
        "messages",
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ]
        },
        dict.fromkeys(_CONTENTS, "*"),
        holds("Be brief."),
    ),
    Asking("tools", "tools", {"tools": [LOOK]}, dict.fromkeys(_CONTENTS, "*"), holds("Look around.")),
    Asking(
        "forced tool",
        "tool",
        {"tools": [LOOK, OTHER], "tool_choice": {"type": "function", "function": {"name": "look"}}},
        _FORCED,
        _forces,
    ),
    Asking("json mode", "response_format", {"response_format": {"type": "json_object"}}, _JSON, _is_json),
    Asking(
        "image, data URL",
        "messages",
        _user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}),
        _CONTENTS,
        holds(PICTURE),
    ),
    Asking(
        "image, https",
        "messages",
        _user({"type": "image_url", "image_url": {"url": LINK}}),
        _CONTENTS,
        holds(LINK, LINKED),
    ),
    Asking(
        "pdf",
        "messages",
        _user(
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            }
        ),
        _CONTENTS,
        holds(PDF),
    ),
    Asking(
        "audio",
        "messages",
        _user({"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}),
        _CONTENTS,
        holds(SOUND),
    ),
    Asking("effort", "reasoning_effort", {"reasoning_effort": "medium"}, _EFFORT, bool),
    Asking(
        "thinking budget",
        "thinking",
        {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2048}}},
        _BUDGET,
        holds("2048", "medium", "low"),
    ),
    Asking(
        "caching markers",
        "cache_control",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}],
                }
            ]
        },
        _CONTENTS,
        holds("cache_control", "cachePoint"),
    ),
    Asking(
        "logprobs",
        "logprobs",
        {"logprobs": True},
        _everywhere(
            "logprobs", cohere="logprobs", google="generationConfig.responseLogprobs", anthropic="logprobs"
        ),
        equals(True),
    ),
    Asking(
        "stop",
        "stop",
        {"stop": ["END"]},
        _everywhere(
            "stop",
            anthropic="stop_sequences",
            google="generationConfig.stopSequences",
            bedrock="inferenceConfig.stopSequences",
            cohere="stop_sequences",
            replicate="input.stop_sequences",
        ),
        holds("END"),
    ),
    Asking(
        "seed",
        "seed",
        {"seed": 424242},
        {
            "openai": "seed",
            "mistral": "random_seed",
            "google": "generationConfig.seed",
            "cohere": "seed",
            "replicate": "input.seed",
        },
        equals(424242),
    ),
    Asking("n", "n", {"n": 2}, _everywhere("n", google="generationConfig.candidateCount"), equals(2)),
)
