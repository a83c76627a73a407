"""A Responses request as a chat request. Nothing is stored here, so what refers to stored things is refused."""

from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.responses.items import left_out_of, messages_of
from services.gateway.providers.responses.reading import Json, decoded

_STORED: Final = ("previous_response_id", "conversation", "prompt")
"""Names of things at OpenAI that no chat provider has."""
CLIENTS_OWN: Final = "client_metadata"
"""What Codex tells about itself: no part of the published API, whose servers refuse what they do not know."""
_UNSERVED: Final = ("background", "moderation")
_WITHOUT_EFFECT: Final = {
    "store": b"false",
    "truncation": b'"disabled"',
    "max_tool_calls": b"",
    "context_management": b"[]",
    "image": b"{}",
    "access_programs": b"{}",
    "background_options": b"{}",
    "prompt_cache_options": b"{}",
    CLIENTS_OWN: b"{}",
}
"""Left out where the provider has chat completions only, and the value that asks for nothing.

Fields that nobody knows pass, as in a chat: they are a server's own.
"""
_TRANSLATED: Final = frozenset(
    {
        "input", "instructions", "max_output_tokens", "text", "reasoning", "reasoning_effort", "tools", "tool_choice",
        "stream_options", "top_logprobs", "n", "metadata", "include", *_STORED, *_UNSERVED, *_WITHOUT_EFFECT,
    }
)  # fmt: skip
_OWN_TIERS: Final = frozenset({"ultrafast"})
"""Tiers of service that chat completions do not have."""
_LOGPROBS: Final = "message.output_text.logprobs"


class TextFormat(msgspec.Struct):
    type: str = "text"
    name: str = "answer"
    schema: msgspec.Raw = msgspec.Raw(b"{}")
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct):
    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Function(msgspec.Struct, omit_defaults=True):
    """What a function is in a chat; a Responses tool has the same fields beside its type."""

    name: str = ""
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Tool(Function):
    """A function may also come nested, as in chats: people convert requests by halves."""

    type: str = "function"
    function: Function | None = None

    @property
    def called(self) -> Function:
        return self.function or Function(self.name, self.description, self.parameters, self.strict)


class NamedTool(msgspec.Struct):
    name: str = ""


class ToolChoice(msgspec.Struct):
    type: str
    name: str = ""
    mode: str = "auto"
    tools: list[NamedTool] = []
    function: NamedTool | None = None


_text: Final = msgspec.json.Decoder(TextOptions)
_reasoning: Final = msgspec.json.Decoder(Reasoning)
_tools: Final = msgspec.json.Decoder(list[Tool])
_tool_choice: Final = msgspec.json.Decoder(str | ToolChoice)
_include: Final = msgspec.json.Decoder(list[str])
_truth: Final = msgspec.json.Decoder(bool | None)


def to_chat(body: JsonBody, *, pictures_in_results: bool = False) -> JsonBody:
    """Raises BadRequest naming the field that no chat has.

    `pictures_in_results`: the provider takes what a tool shows with its result.
    """
    _refuse_what_is_stored(body)
    raw_input = body.raw("input")
    if raw_input is None:
        raise BadRequest("`input` is missing.", param="input")
    messages = messages_of(raw_input, pictures_in_results=pictures_in_results)
    instructions = body.text("instructions")
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    if not messages:
        raise BadRequest("`input` must hold at least one item.", param="input")
    chat: Json = {
        name: msgspec.Raw(raw)
        for name in body.names
        if name not in _TRANSLATED and (raw := body.raw(name)) is not None
    }
    if body.text("service_tier") in _OWN_TIERS:
        del chat["service_tier"]
    chat["messages"] = messages
    limit = body.number("max_output_tokens")
    if limit is not None:
        chat["max_tokens"] = limit
    _say_how(body, chat)
    _offer_tools(body, chat)
    return parse_json(msgspec.json.encode(chat))


def left_out(body: JsonBody) -> tuple[str, ...]:
    """What of the request no chat has and does not change what was asked for: fields, and kinds of items of `input`."""
    given = ((name, body.raw(name), default) for name, default in _WITHOUT_EFFECT.items())
    names = [name for name, raw, default in given if raw is not None and raw != default]
    if body.text("service_tier") in _OWN_TIERS:
        names.append("service_tier")
    raw_input = body.raw("input")
    if raw_input is not None:
        names += [f"input.{kind}" for kind in left_out_of(raw_input)]
    return tuple(sorted(names))


def reasoning_of(body: JsonBody) -> Reasoning:
    """How hard to think. `reasoning_effort` beside it is how chat clients say it."""
    raw = body.raw("reasoning")
    reasoning = decoded(_reasoning, raw, "reasoning") if raw is not None else Reasoning()
    if reasoning.effort is None:
        reasoning.effort = body.text("reasoning_effort")
    return reasoning


def tools_of(body: JsonBody) -> list[Tool]:
    raw = body.raw("tools")
    return decoded(_tools, raw, "tools") if raw is not None else []


def _refuse_what_is_stored(body: JsonBody) -> None:
    for name in _STORED:
        if body.raw(name) is not None:
            raise BadRequest(
                f"`{name}`: this gateway stores nothing for this model; send the whole conversation as `input`.",
                param=name,
            )
    refuse_background(body)
    if body.raw("moderation") is not None:
        raise BadRequest("`moderation`: the provider of this model has none.", param="moderation")


def refuse_background(body: JsonBody) -> None:
    """An answer that comes later could neither be fetched here nor be billed."""
    raw = body.raw("background")
    if raw is not None and decoded(_truth, raw, "background"):
        raise BadRequest("`background`: this gateway answers at once only.", param="background")


def _say_how(body: JsonBody, chat: Json) -> None:
    """The form of the answer, and the thinking before it."""
    raw = body.raw("text")
    text = decoded(_text, raw, "text") if raw is not None else TextOptions()
    if text.verbosity is not None:
        chat["verbosity"] = text.verbosity
    if text.format is not None and text.format.type != "text":
        chat["response_format"] = _response_format(text.format)
    effort = reasoning_of(body).effort
    if effort is not None:
        chat["reasoning_effort"] = effort
    include = body.raw("include")
    wanted = decoded(_include, include, "include") if include is not None else []
    top = body.number("top_logprobs")
    if _LOGPROBS in wanted or top:
        chat["logprobs"] = True
        if top:
            chat["top_logprobs"] = top


def _response_format(form: TextFormat) -> Json:
    if form.type == "json_object":
        return {"type": "json_object"}
    if form.type != "json_schema":
        raise BadRequest(
            "`text.format.type` is one of text, json_object and json_schema.", param="text.format.type"
        )
    schema: Json = {"name": form.name, "schema": form.schema}
    if form.strict is not None:
        schema["strict"] = form.strict
    if form.description is not None:
        schema["description"] = form.description
    return {"type": "json_schema", "json_schema": schema}


def _offer_tools(body: JsonBody, chat: Json) -> None:
    tools = tools_of(body)
    for at, tool in enumerate(tools):
        where = f"tools[{at}]"
        if tool.type != "function":
            raise BadRequest(
                f"`{where}.type`: the provider of this model has no {tool.type}, only functions of the client's.",
                param=f"{where}.type",
            )
        if not tool.called.name:
            raise BadRequest(f"`{where}.name` is missing.", param=f"{where}.name")
    raw = body.raw("tool_choice")
    choice = decoded(_tool_choice, raw, "tool_choice") if raw is not None else None
    allowed: set[str] | None = None
    if isinstance(choice, ToolChoice) and choice.type == "allowed_tools":
        allowed = {tool.name for tool in choice.tools}
    offered = [tool.called for tool in tools if allowed is None or tool.called.name in allowed]
    if not offered:
        chat.pop("parallel_tool_calls", None)  # servers refuse it alone
    if offered:
        chat["tools"] = [{"type": "function", "function": function} for function in offered]
    chosen = _chosen(choice) if choice is not None else None
    if chosen is not None and offered:
        chat["tool_choice"] = chosen
    elif chosen not in (None, "auto", "none"):
        raise BadRequest("`tool_choice` needs `tools` to choose from.", param="tool_choice")


def _chosen(choice: str | ToolChoice) -> Any:
    if isinstance(choice, str):
        return choice
    if choice.type == "allowed_tools":
        return choice.mode
    if choice.type != "function":
        raise BadRequest(
            f"`tool_choice.type`: the provider of this model has no {choice.type}, only functions.",
            param="tool_choice.type",
        )
    name = choice.name or (choice.function.name if choice.function is not None else "")
    return {"type": "function", "function": {"name": name}}
