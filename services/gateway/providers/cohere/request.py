"""A chat of OpenAI's format as Cohere's v2 API takes it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.policy import CHANGES_MEANING, Fit, Policy, fit
from services.gateway.providers.chat.request import (
    AllowedToolChoice,
    ChatRequest,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    NamedTool,
    Part,
    RefusalPart,
    TextPart,
    Tool,
    read_chat,
)
from services.gateway.providers.errors import BadRequest

Json = dict[str, Any]

OWN: Final = ("citation_options", "documents", "priority", "safety_mode", "strict_tools")
"""Cohere's own parameters, passed on as they came."""
_POLICY: Final = Policy(
    "Cohere",
    keeps=frozenset(
        {
            *OWN, "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "logprobs",
            "presence_penalty", "frequency_penalty", "tools", "tool_choice", "response_format", "reasoning_effort",
            "reasoning", "thinking",
        }
    ),
    refuses=CHANGES_MEANING,
)  # fmt: skip
_BUDGETS: Final[Mapping[str, int]] = {"minimal": 512, "low": 1024, "medium": 4096}
"""Tokens to think with; more than medium is left to Cohere."""
_THINKS_NOT: Final = re.compile(
    r"command(?:-(?:light|nightly|r|r-plus|r7b|a-03|a-vision|a-translate)\b.*)?$|.*\baya\b"
)
"""Models that have no `thinking`, by the list of Cohere's models; a fine-tuned one's name says nothing."""
_P_RANGE: Final = (0.01, 0.99)
_PENALTY_RANGE: Final = (0.0, 1.0)


def chat_body(body: JsonBody, model: str) -> tuple[bytes, tuple[str, ...]]:
    """The request's body and what was left out or changed. Raises BadRequest."""
    chat = read_chat(body)
    fitted = fit(_POLICY, chat)
    fields: Json = {"model": model, "messages": _messages(chat, fitted), "stream": body.stream}
    fields |= _sampling(chat, fitted)
    fields |= _tools(chat)
    fields |= _thinking(chat, model, fitted)
    if isinstance(chat.response_format, JsonObjectFormat):
        fields["response_format"] = {"type": "json_object"}
    elif isinstance(chat.response_format, JsonSchemaFormat):
        schema = chat.response_format.json_schema.schema
        fields["response_format"] = {"type": "json_object", "json_schema": schema}
    for name in OWN:
        raw = body.raw(name)
        if raw is not None:
            fields[name] = msgspec.Raw(raw)
    return msgspec.json.encode(fields), fitted.dropped


def _sampling(chat: ChatRequest, fitted: Fit) -> Json:
    if chat.logprobs and chat.stream:
        fitted.refuse("logprobs", "Cohere's streams cannot be given them in this format")
    seed = chat.seed
    if seed is not None and seed < 0:
        fitted.drop("seed")
        seed = None
    values: Json = {
        "max_tokens": chat.limit,
        "temperature": chat.temperature,
        "p": _within("top_p", chat.top_p, _P_RANGE, fitted),
        "k": chat.top_k,
        "seed": seed,
        "stop_sequences": chat.stops or None,
        "frequency_penalty": _within("frequency_penalty", chat.frequency_penalty, _PENALTY_RANGE, fitted),
        "presence_penalty": _within("presence_penalty", chat.presence_penalty, _PENALTY_RANGE, fitted),
        "logprobs": chat.logprobs or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _within(name: str, value: float | None, bounds: tuple[float, float], fitted: Fit) -> float | None:
    """The nearest value that is accepted."""
    if value is None:
        return None
    nearest = min(max(value, bounds[0]), bounds[1])
    if nearest != value:
        fitted.drop(name)
    return nearest


def _thinking(chat: ChatRequest, model: str, fitted: Fit) -> Json:
    budget, effort = chat.thinking_budget, chat.effort
    if budget is None and effort is None:
        return {}
    is_off = budget == 0 or (budget is None and effort == "none")
    if _THINKS_NOT.match(model):
        for name in ("reasoning_effort", "reasoning", "thinking"):
            if name in chat.names and not is_off:
                fitted.drop(name)
        return {}
    if is_off:
        return {"thinking": {"type": "disabled"}}
    if budget is None:
        budget = _BUDGETS.get(effort or "", -1)
    thinking: Json = {"type": "enabled"}
    if budget > 0:
        thinking["token_budget"] = budget
    return {"thinking": thinking}


def _tools(chat: ChatRequest) -> Json:
    """Cohere can be told to use a tool or none, but not which: the others are then not offered."""
    if not chat.tools:
        return {}
    tools, must = chat.tools, chat.tool_choice == "required"
    if isinstance(chat.tool_choice, NamedTool):
        tools, must = _only(tools, {chat.tool_choice.function.name}), True
    elif isinstance(chat.tool_choice, AllowedToolChoice):
        allowed = chat.tool_choice.allowed_tools
        tools = _only(tools, {tool.function.name for tool in allowed.tools})
        must = allowed.mode == "required"
    fields: Json = {"tools": [_tool(tool) for tool in tools]}
    if all(tool.function.strict for tool in tools):
        fields["strict_tools"] = True
    if must or chat.tool_choice == "none":
        fields["tool_choice"] = "REQUIRED" if must else "NONE"
    return fields


def _only(tools: list[Tool], names: set[str]) -> list[Tool]:
    found = [tool for tool in tools if tool.function.name in names]
    if not found:
        raise BadRequest("`tool_choice` names no function of `tools`.", param="tool_choice")
    return found


def _tool(tool: Tool) -> Json:
    function: Json = {
        "name": tool.function.name,
        "parameters": tool.function.parameters or {"type": "object", "properties": {}},
    }
    if tool.function.description is not None:
        function["description"] = tool.function.description
    return {"type": "function", "function": function}


def _messages(chat: ChatRequest, fitted: Fit) -> list[Json]:
    messages: list[Json] = []
    for at, message in enumerate(chat.messages):
        where = f"messages[{at}]"
        match message.role:
            case "system" | "developer":
                messages.append({"role": "system", "content": _texts(message, where, fitted)})
            case "user":
                messages.append({"role": "user", "content": _user_content(message, where, fitted)})
            case "tool":
                content = _texts(message, where, fitted)
                messages.append({"role": "tool", "tool_call_id": message.tool_call_id, "content": content})
            case "assistant":
                messages.append(_assistant(message, where, fitted))
    return messages


def _assistant(message: Message, where: str, fitted: Fit) -> Json:
    """What a model says beside its calls is Cohere's `tool_plan`."""
    text = _texts(message, where, fitted) or message.refusal or ""
    fields: Json = {"role": "assistant"}
    content: list[Json] = [{"type": "thinking", "thinking": message.thoughts}] if message.thoughts else []
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
        if text:
            fields["tool_plan"] = text
    elif text or not content:
        content.append({"type": "text", "text": text})
    if content:
        fields["content"] = content
    return fields


def _texts(message: Message, where: str, fitted: Fit) -> str:
    """The text of a message that can hold nothing else."""
    texts = []
    for at, part in enumerate(message.parts):
        if isinstance(part, RefusalPart):
            texts.append(part.refusal)
        elif isinstance(part, TextPart):
            texts.append(part.text)
        else:
            fitted.refuse(f"{where}.content[{at}]", "Cohere takes only text there")
    return "".join(texts)


def _user_content(message: Message, where: str, fitted: Fit) -> str | list[Json]:
    if not isinstance(message.content, list):
        return message.content or ""
    return [_part(part, f"{where}.content[{at}]", fitted) for at, part in enumerate(message.content)]


def _part(part: Part, where: str, fitted: Fit) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if not isinstance(part, ImagePart):
        fitted.refuse(where, "Cohere takes text and pictures")
    image: Json = {"url": part.image_url.url}
    if part.image_url.detail is not None:
        image["detail"] = part.image_url.detail
    return {"type": "image_url", "image_url": image}
