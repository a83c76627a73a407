"""A request to Anthropic's Messages API, typed: the part of it that chat completions have a counterpart for."""

from typing import Any, Final, Literal

import msgspec

Json = dict[str, Any]


class Source(msgspec.Struct):
    """Of a picture or a document; what a type needs is there."""

    type: Literal["base64", "url", "text", "content"]
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: "str | list[Text | Image]" = ""


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


class SearchResult(msgspec.Struct, tag_field="type", tag="search_result"):
    """What a client found itself and gives to the model."""

    source: str
    title: str
    content: list[Text]
    cache_control: Json | None = None


class ToolReference(msgspec.Struct, tag_field="type", tag="tool_reference"):
    """A tool of the request that a client's own search has found."""

    tool_name: str


class ToolUse(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Json
    cache_control: Json | None = None


class Trace(msgspec.Struct):
    """What was done for an earlier answer, by servers or for them: of no use to another model."""


class BrowserState(Trace, tag_field="type", tag="browser_state"): ...


class ServerToolUse(Trace, tag_field="type", tag="server_tool_use"): ...


class WebSearchResult(Trace, tag_field="type", tag="web_search_tool_result"): ...


class WebFetchResult(Trace, tag_field="type", tag="web_fetch_tool_result"): ...


class CodeResult(Trace, tag_field="type", tag="code_execution_tool_result"): ...


class BashResult(Trace, tag_field="type", tag="bash_code_execution_tool_result"): ...


class EditorResult(Trace, tag_field="type", tag="text_editor_code_execution_tool_result"): ...


class ToolSearchResult(Trace, tag_field="type", tag="tool_search_tool_result"): ...


class AdvisorResult(Trace, tag_field="type", tag="advisor_tool_result"): ...


class McpUse(Trace, tag_field="type", tag="mcp_tool_use"): ...


class McpResult(Trace, tag_field="type", tag="mcp_tool_result"): ...


class McpListing(Trace, tag_field="type", tag="mcp_tool_listing"): ...


class Fallback(Trace, tag_field="type", tag="fallback"): ...


class Compaction(msgspec.Struct, tag_field="type", tag="compaction"):
    """The conversation so far in short. It may say that from here on other tools are offered than in the request."""

    content: str | None = None
    tool_changes: list[Any] | None = None


class ToolResult(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[Text | Image | Document | SearchResult | ToolReference | BrowserState] = ""
    is_error: bool = False
    cache_control: Json | None = None


class Thoughts(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class HiddenThoughts(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    data: str


ServersTrace = (
    ServerToolUse
    | WebSearchResult
    | WebFetchResult
    | CodeResult
    | BashResult
    | EditorResult
    | ToolSearchResult
    | AdvisorResult
    | McpUse
    | McpResult
    | McpListing
    | Fallback
)
Block = (
    Text
    | Image
    | Document
    | SearchResult
    | ToolUse
    | ToolResult
    | Thoughts
    | HiddenThoughts
    | Compaction
    | ServersTrace
)
TRACES: Final = frozenset(str(kind.__struct_config__.tag) for kind in Trace.__subclasses__())
"""The names of all traces."""


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
