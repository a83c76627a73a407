"""A chat request as the body of `:generateContent`."""

from collections.abc import Mapping
from typing import Any, Final

from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.chat.policy import CHANGES_MEANING, Fit, Policy, fit
from services.gateway.providers.chat.request import (
    AllowedToolChoice,
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    ToolChoice,
)
from services.gateway.providers.chat.structure import in_words
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.contents import Contents
from services.gateway.providers.gemini.schema import fitted_schema
from services.gateway.providers.gemini.thinking import generation_of, thinking_config

JSON: Final = "application/json"
MAX_STOPS: Final = 5
_FORMATS_BESIDE_TOOLS: Final = 3
"""The generation since which both go together; the others refuse a request that has both."""
_SEEDS: Final = 2**31
_POLICY: Final = Policy(
    "Gemini",
    keeps=frozenset(
        {
            "tools", "tool_choice", "response_format", "max_tokens", "max_completion_tokens", "temperature", "top_p",
            "top_k", "n", "stop", "seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty",
            "reasoning_effort", "reasoning", "thinking", "modalities", "web_search_options", "service_tier",
        }
    ),
    refuses=CHANGES_MEANING,
)  # fmt: skip
_MODES: Final = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_TIERS: Final = {"flex": "flex", "priority": "priority", "default": "standard", "standard": "standard"}
_MODALITIES: Final = {"text": "TEXT", "image": "IMAGE"}

Body = dict[str, Any]


def chat_body(chat: ChatRequest, model: str, fetched: Mapping[str, Fetched]) -> tuple[Body, tuple[str, ...]]:
    """The body, and the names of what was left out. Raises BadRequest."""
    fitting = fit(_POLICY, chat)
    contents = Contents(fetched, wants_signatures=generation_of(model) >= 3)
    contents.read(chat)
    tools = _tools(chat)
    form, words = _format(chat)
    if words and tools and generation_of(model) < _FORMATS_BESIDE_TOOLS:
        form = {}
        contents.system.append({"text": words})
        fitting.drop("response_format")  # what is said in words is not enforced
    body: Body = {"contents": contents.contents}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    if tools:
        body["tools"] = tools
    if choice := _tool_config(chat):
        body["toolConfig"] = choice
    if config := _generation_config(chat, model, fitting) | form:
        body["generationConfig"] = config
    tier = _TIERS.get(chat.service_tier or "")
    if tier is not None and chat.service_tier != "default":
        body["serviceTier"] = tier
    elif chat.service_tier not in (None, "auto", "default"):
        fitting.drop("service_tier")
    return body, fitting.dropped


def _tools(chat: ChatRequest) -> list[Body]:
    declarations = []
    for at, tool in enumerate(chat.tools or ()):
        declaration: Body = {"name": tool.function.name}
        if tool.function.description:
            declaration["description"] = tool.function.description
        if tool.function.parameters:
            where = f"tools[{at}].function.parameters"
            declaration["parametersJsonSchema"] = fitted_schema(tool.function.parameters, where)
        declarations.append(declaration)
    tools: list[Body] = [{"functionDeclarations": declarations}] if declarations else []
    if chat.web_search_options is not None:
        tools.append({"googleSearch": {}})
    return tools


def _tool_config(chat: ChatRequest) -> Body | None:
    choice = chat.tool_choice
    if choice is None or (not chat.tools and choice in ("none", "auto")):
        return None
    if not chat.tools:
        raise BadRequest("`tool_choice` wants a tool, and `tools` holds none.", param="tool_choice")
    mode, names = _mode(choice)
    known = {tool.function.name for tool in chat.tools}
    if unknown := [name for name in names if name not in known]:
        raise BadRequest(f"`tool_choice` names {unknown[0]!r}, which is not in `tools`.", param="tool_choice")
    config: Body = {"mode": mode}
    if names:
        config["allowedFunctionNames"] = names
    return {"functionCallingConfig": config}


def _mode(choice: ToolChoice) -> tuple[str, list[str]]:
    if isinstance(choice, NamedTool):
        return "ANY", [choice.function.name]
    if isinstance(choice, AllowedToolChoice):
        allowed = choice.allowed_tools
        names = [tool.function.name for tool in allowed.tools]
        return "ANY" if allowed.mode == "required" else "VALIDATED", names
    return _MODES[choice], []


def _generation_config(chat: ChatRequest, model: str, fitting: Fit) -> Body:
    stops = chat.stops
    if len(stops) > MAX_STOPS:
        fitting.refuse("stop", f"Gemini takes {MAX_STOPS} sequences at most")
    config = {
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        "maxOutputTokens": chat.limit,
        "candidateCount": chat.n if chat.n and chat.n > 1 else None,
        "stopSequences": stops or None,
        "seed": chat.seed % _SEEDS if chat.seed is not None else None,
        "presencePenalty": chat.presence_penalty,
        "frequencyPenalty": chat.frequency_penalty,
        "thinkingConfig": thinking_config(chat, model, fitting),
        "responseModalities": _modalities(chat, fitting),
        **_logprobs(chat, fitting),
    }
    return {name: value for name, value in config.items() if value is not None}


def _logprobs(chat: ChatRequest, fitting: Fit) -> Body:
    if not chat.logprobs:
        return {}
    if chat.stream:
        fitting.refuse("logprobs", "this provider's streams carry none")
    return {"responseLogprobs": True, "logprobs": chat.top_logprobs}


def _format(chat: ChatRequest) -> tuple[Body, str]:
    """The settings for an answer in JSON, and what to say instead; empty where none is asked for."""
    match chat.response_format:
        case JsonObjectFormat() as asked:
            return {"responseMimeType": JSON}, in_words(asked)
        case JsonSchemaFormat(json_schema) as asked:
            form: Body = {"responseMimeType": JSON}
            if json_schema.schema:
                schema = fitted_schema(json_schema.schema, "response_format.json_schema.schema")
                form["responseJsonSchema"] = schema
            return form, in_words(asked)
    return {}, ""


def _modalities(chat: ChatRequest, fitting: Fit) -> list[str] | None:
    wanted = chat.modalities
    if not wanted or wanted == ["text"]:
        return None
    unknown = [name for name in wanted if name not in _MODALITIES]
    if unknown:
        fitting.refuse("modalities", f"{unknown[0]!r} cannot be answered here")
    return [_MODALITIES[name] for name in wanted]
