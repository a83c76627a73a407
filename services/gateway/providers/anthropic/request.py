"""A chat request as the body of Anthropic's Messages API, for whichever cloud serves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.providers.anthropic.content import (
    Block,
    assistant_blocks,
    blocks_of,
    marker,
    tool_result,
)
from services.gateway.providers.anthropic.effort import (
    MIN_BUDGET,
    accepted_effort,
    budget_of,
    is_less,
)
from services.gateway.providers.anthropic.models import Traits, traits_of
from services.gateway.providers.anthropic.schema import is_closed, refuse_too_deep, strict_schema
from services.gateway.providers.anthropic.tool_loop import lacks_thoughts, loop_turn
from services.gateway.providers.chat.effort import effort_of_budget
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.chat.policy import CHANGES_MEANING, Fit, Policy, fit
from services.gateway.providers.chat.request import (
    AllowedToolChoice,
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    TextFormat,
    Tool,
)
from services.gateway.providers.chat.structure import in_words
from services.gateway.providers.errors import BadRequest

JSON_TOOL: Final = "answer_in_json"
"""The tool that a model without schemas is made to call; its input is the answer."""
_SCHEMA: Final = "response_format.json_schema.schema"
_SERVICE_TIERS: Final = {"auto": "auto", "default": "standard_only", "priority": "auto"}
# Their API has no temperature, top_p or top_k any more: those are left out like a seed.
POLICY: Final = Policy(
    "Anthropic",
    frozenset(
        {
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "max_tokens",
            "max_completion_tokens",
            "stop",
            "reasoning_effort",
            "reasoning",
            "thinking",
            "cache_control",
            "service_tier",
            "safety_identifier",
        }
    ),
    CHANGES_MEANING,
)


@dataclass(slots=True)
class MessagesBody:
    """The fields of a request, `model` and `stream` not among them: clouds differ in where those go."""

    fields: dict[str, Any]
    dropped: tuple[str, ...]


def messages_body(chat: ChatRequest, model: str, fetched: Mapping[str, Fetched]) -> MessagesBody:
    """Raises BadRequest naming what cannot be said to this model."""
    adapted = fit(POLICY, chat)
    traits = traits_of(model)
    system, messages = _conversation(chat, fetched)
    fields: dict[str, Any] = {"max_tokens": traits.max_tokens, "messages": messages}
    if chat.limit is not None:
        fields["max_tokens"] = chat.limit  # 0 fills the cache and answers nothing
    _tools(chat, fields)
    _thinking(chat, traits, fields, adapted)
    _format(chat, traits, fields, system, adapted)
    _tools_of_the_past(fields)
    if system:
        fields["system"] = system
    _rest(chat, fields, adapted)
    return MessagesBody(fields, adapted.dropped)


def _conversation(chat: ChatRequest, fetched: Mapping[str, Fetched]) -> tuple[list[Block], list[Block]]:
    """The system prompt, and the turns: what follows in the same role is one turn."""
    system: list[Block] = []
    turns: list[Block] = []
    for at, message in enumerate(chat.messages):
        where = f"messages[{at}]"
        if message.role in ("system", "developer"):
            system += _only_text(blocks_of(message, where, fetched), where)
            continue
        if message.role == "assistant":
            role, blocks = "assistant", assistant_blocks(message, where, fetched)
        elif message.role == "tool":
            role, blocks = "user", [tool_result(message, where, fetched)]
        else:
            role, blocks = "user", blocks_of(message, where, fetched)
        if blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise BadRequest("`messages` must hold a message of the user that is not empty.", param="messages")
    return system, turns


def _only_text(blocks: list[Block], where: str) -> list[Block]:
    if any(block["type"] != "text" for block in blocks):
        raise BadRequest(f"`{where}.content` may only hold text.", param=f"{where}.content")
    return blocks


def _tools(chat: ChatRequest, fields: dict[str, Any]) -> None:
    choice = chat.tool_choice
    tools = list(enumerate(chat.tools or ()))
    if isinstance(choice, AllowedToolChoice):
        allowed = {tool.function.name for tool in choice.allowed_tools.tools}
        tools = [(at, tool) for at, tool in tools if tool.function.name in allowed]
        choice = choice.allowed_tools.mode
    if not tools:
        if choice is not None and choice not in ("none", "auto"):
            raise BadRequest("`tool_choice` needs `tools` to choose from.", param="tool_choice")
        return
    fields["tools"] = [_tool(tool, f"tools[{at}].function.parameters") for at, tool in tools]
    if isinstance(choice, NamedTool):
        said: Block | None = {"type": "tool", "name": choice.function.name}
    else:
        kind = {"required": "any", "none": "none", "auto": "auto"}.get(choice or "")
        said = {"type": kind} if kind else None
    if chat.parallel_tool_calls is False and (said is None or said["type"] != "none"):
        said = {**(said or {"type": "auto"}), "disable_parallel_tool_use": True}
    if said is not None:
        fields["tool_choice"] = said


def _tool(tool: Tool, where: str) -> Block:
    function = tool.function
    schema = {"type": "object", **(function.parameters or {"properties": {}})}
    said: Block = {"name": function.name, "input_schema": schema}
    if function.description is not None:
        said["description"] = function.description
    if function.strict:
        said["strict"] = True
        said["input_schema"] = strict_schema({"properties": {}, **schema}, where)
    if tool.cache_control is not None:
        said["cache_control"] = marker(tool.cache_control)
    return said


def _tools_of_the_past(fields: dict[str, Any]) -> None:
    """A conversation with calls in it must come with tools, even where the client offers none any more."""
    called = [
        block["name"]
        for turn in fields["messages"]
        for block in turn["content"]
        if block["type"] == "tool_use"
    ]
    if called and "tools" not in fields:
        fields["tools"] = [
            {"name": name, "input_schema": {"type": "object"}} for name in dict.fromkeys(called)
        ]
        fields["tool_choice"] = {"type": "none"}


def _thinking(chat: ChatRequest, traits: Traits, fields: dict[str, Any], adapted: Fit) -> None:
    budget, effort = chat.thinking_budget, chat.effort
    asked = next((name for name in ("thinking", "reasoning", "reasoning_effort") if name in chat.names), "")
    if not asked or (budget is None and effort is None):
        return
    if effort == "none" or budget == 0:
        if traits.adaptive:
            fields["thinking"] = {"type": "disabled"}
    elif not traits.thinks:
        adapted.drop(asked)
    elif traits.adaptive:
        _adaptive(chat, traits, budget, fields, adapted, asked)
    elif _forces_tool(fields) or lacks_thoughts(map(loop_turn, reversed(fields["messages"]))):
        adapted.drop(asked)
    elif budget is None and not traits.schemas and isinstance(chat.response_format, JsonSchemaFormat):
        adapted.drop(asked)  # a tool will be forced
    else:
        _budgeted(chat, budget, fields, adapted, asked)


def _forces_tool(fields: dict[str, Any]) -> bool:
    """Then these models cannot think: the call is what the client cannot do without."""
    return fields.get("tool_choice", {}).get("type") in ("any", "tool")


def _adaptive(
    chat: ChatRequest, traits: Traits, budget: int | None, fields: dict[str, Any], adapted: Fit, asked: str
) -> None:
    forced, effort = _forces_tool(fields), chat.effort
    if not forced:
        display = "omitted" if chat.hides_reasoning else "summarized"
        fields["thinking"] = {"type": "adaptive", "display": display}
    elif effort is None:
        adapted.drop(asked)
        return
    if effort is not None:
        # It holds for all that the model does, a call that it is made to make as well.
        accepted = accepted_effort(effort, traits, thinks=not forced)
        fields["output_config"] = {"effort": accepted}
        if is_less(accepted, effort):
            adapted.drop(asked)
    elif budget is not None and budget > 0:
        # These models take no budget of tokens; the effort that stands for about as much is said instead.
        fields["output_config"] = {"effort": effort_of_budget(budget)}
        adapted.drop(f"{asked}.budget_tokens" if asked == "thinking" else f"{asked}.max_tokens")


def _budgeted(
    chat: ChatRequest, budget: int | None, fields: dict[str, Any], adapted: Fit, asked: str
) -> None:
    limit: int | None = chat.limit
    if budget is None:
        budget = budget_of(chat.effort or "medium", limit)
        if budget < MIN_BUDGET:
            adapted.drop(asked)  # no room to think within the client's limit
            return
    elif budget == -1:
        budget = MIN_BUDGET
    if budget < MIN_BUDGET:
        adapted.refuse(asked, f"the least budget to think with is {MIN_BUDGET} tokens")
    if limit is not None and budget >= limit:
        adapted.refuse(asked, "the budget to think with must be below the limit on completion tokens")
    fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if chat.hides_reasoning:
        fields["thinking"]["display"] = "omitted"
    if limit is None:
        fields["max_tokens"] = max(fields["max_tokens"], budget + 4_096)


def _format(
    chat: ChatRequest, traits: Traits, fields: dict[str, Any], system: list[Block], adapted: Fit
) -> None:
    asked = chat.response_format
    if asked is None or isinstance(asked, TextFormat):
        return
    if isinstance(asked, JsonSchemaFormat) and traits.schemas:
        schema = asked.json_schema.schema
        if not (asked.json_schema.strict or is_closed(schema)):
            refuse_too_deep(schema, _SCHEMA)
            system.append({"type": "text", "text": in_words(asked)})
            adapted.drop("response_format")  # what is said in words is not enforced
            return
        form = {"type": "json_schema", "schema": strict_schema(schema, _SCHEMA)}
        fields["output_config"] = {**fields.get("output_config", {}), "format": form}
        return
    thinks = fields.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if isinstance(asked, JsonObjectFormat):
        schema = {"type": "object"}
        if thinks or "tools" in fields:
            system.append({"type": "text", "text": in_words(asked)})
            return
    else:
        schema = {"type": "object", **asked.json_schema.schema}
        if thinks or "tools" in fields:
            raise BadRequest(
                "`response_format` with a schema cannot be used with this model together with tools or reasoning.",
                param="response_format",
            )
    fields["tools"] = [{"name": JSON_TOOL, "description": "Give the answer.", "input_schema": schema}]
    fields["tool_choice"] = {"type": "tool", "name": JSON_TOOL}


def _rest(chat: ChatRequest, fields: dict[str, Any], adapted: Fit) -> None:
    stops = [stop for stop in chat.stops if stop]
    if any(not stop.strip() for stop in stops):
        adapted.refuse("stop", "a sequence to stop at must hold more than white space")
    if stops:
        fields["stop_sequences"] = stops
    if chat.cache_control is not None:
        fields["cache_control"] = marker(chat.cache_control)
    user = chat.user or chat.safety_identifier
    if user:
        fields["metadata"] = {"user_id": user}
    if chat.service_tier is not None:
        tier = _SERVICE_TIERS.get(chat.service_tier)
        if tier is None:
            adapted.drop("service_tier")
        else:
            fields["service_tier"] = tier
