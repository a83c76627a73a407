"""A request to Anthropic's Messages API, typed: the part of it that chat completions have a counterpart for."""

from typing import Any, Literal

import msgspec

Json = dict[str, Any]


class Source(msgspec.Struct):
    """Of a picture or a document; what a type needs is there."""

    type: Literal["base64", "url", "text"]
    media_type: str = ""
    data: str = ""
    url: str = ""


class Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    cache_control: Json | None = None


class Image(msgspec.Struct, tag_field="type", tag="image"):
    source: Source
    cache_control: Json | None = None


class Document(msgspec.Struct, tag_field="type", tag="document"):
    source: Source
    title: str | None = None
    cache_control: Json | None = None


class ToolUse(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Json
    cache_control: Json | None = None


class ToolResult(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[Text | Image | Document] = ""
    is_error: bool = False
    cache_control: Json | None = None


class Thoughts(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class HiddenThoughts(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    data: str


Block = Text | Image | Document | ToolUse | ToolResult | Thoughts | HiddenThoughts


class Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolDefinition(msgspec.Struct):
    """Tools of Anthropic's own servers may lack a name."""

    name: str = ""
    input_schema: Json | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    cache_control: Json | None = None


class Choice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(msgspec.Struct):
    type: Literal["json_schema"]
    schema: Json


class OutputConfig(msgspec.Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class MessagesRequest(msgspec.Struct):
    model: str
    messages: list[Turn]
    max_tokens: int | None = None
    system: str | list[Text] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    cache_control: Json | None = None
    stream: bool | None = None
