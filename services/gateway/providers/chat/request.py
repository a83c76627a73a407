"""A chat request as OpenAI's format allows it, typed, for the adapters that must say the same in another format."""

import re
from typing import Any, Final, Literal

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import BadRequest

Json = dict[str, Any]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CacheControl(msgspec.Struct, omit_defaults=True):
    """A prompt caching marker: cache the prompt up to the part that carries it."""

    type: str = "ephemeral"
    ttl: str | None = None


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl | None = None


class ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl
    cache_control: CacheControl | None = None


class InputAudio(msgspec.Struct):
    data: str
    format: str


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    input_audio: InputAudio
    cache_control: CacheControl | None = None


class File(msgspec.Struct):
    """`file_data` is a data URL (or an https address); `file_id` names a file that was uploaded to OpenAI."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    file: File
    cache_control: CacheControl | None = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str = ""
    """JSON as a text, as the model wrote it."""


class ToolCall(msgspec.Struct, omit_defaults=True):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    extra_content: Json | None = None
    """What a provider needs back with the call, such as `{"google": {"thought_signature": ...}}`."""


class ReasoningDetail(msgspec.Struct, omit_defaults=True):
    """One block of a model's reasoning with what its provider needs to believe it when it comes back."""

    type: str
    """`reasoning.text`, `reasoning.summary` or `reasoning.encrypted`."""
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    cache_control: CacheControl | None = None
    audio: Json | None = None
    function_call: Json | None = None

    @property
    def parts(self) -> list[Part]:
        """The content as parts; a marker on the message itself stands on its last part."""
        if isinstance(self.content, list):
            return self.content
        return [TextPart(self.content, self.cache_control)] if self.content else []

    @property
    def text(self) -> str:
        """All its text, without what is not text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or () if isinstance(part, TextPart))

    @property
    def thoughts(self) -> str:
        """Its reasoning in plain text."""
        return self.reasoning_content or self.reasoning or ""


class Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    function: Function
    type: Literal["function"] = "function"
    cache_control: CacheControl | None = None


class ToolName(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct, tag_field="type", tag="function"):
    function: ToolName


class AllowedFunction(msgspec.Struct):
    function: ToolName
    type: Literal["function"] = "function"


class AllowedTools(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[AllowedFunction]


class AllowedToolChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedToolChoice


class JsonSchema(msgspec.Struct):
    name: str = "answer"
    schema: Json = {}
    description: str | None = None
    strict: bool | None = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    pass


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class Reasoning(msgspec.Struct):
    """OpenRouter's object: an effort or a budget."""

    effort: Effort | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None


class Thinking(msgspec.Struct):
    """Anthropic's object."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class ChatRequest(msgspec.Struct):
    """`names` holds every field that the client sent with a value, known here or not."""

    messages: list[Message]
    model: str = ""
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    thinking: Thinking | None = None
    cache_control: CacheControl | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    audio: Json | None = None
    prediction: Json | None = None
    web_search_options: Json | None = None
    verbosity: str | None = None
    store: bool | None = None
    stream: bool | None = None
    names: frozenset[str] = frozenset()

    @property
    def limit(self) -> int | None:
        """The limit on completion tokens, under either name."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def effort(self) -> Effort | None:
        """How hard to think, under either name."""
        return self.reasoning_effort or (self.reasoning.effort if self.reasoning is not None else None)

    @property
    def thinking_budget(self) -> int | None:
        """Tokens to think with; 0: not at all; -1: as the provider likes; None: the client did not say."""
        if self.thinking is not None:
            if self.thinking.type == "disabled":
                return 0
            return self.thinking.budget_tokens if self.thinking.budget_tokens is not None else -1
        if self.reasoning is None:
            return None
        if self.reasoning.enabled is False:
            return 0
        if self.reasoning.max_tokens is None and self.reasoning.enabled and self.effort is None:
            return -1
        return self.reasoning.max_tokens

    @property
    def hides_reasoning(self) -> bool:
        """The client does not want to see it."""
        return bool(self.reasoning is not None and self.reasoning.exclude) or (
            self.thinking is not None and self.thinking.display == "omitted"
        )


_decoder: Final = msgspec.json.Decoder(ChatRequest)
_PLACE: Final = re.compile(r"(.*?) - at `\$\.?(.*)`", re.DOTALL)
_object: Final = msgspec.json.Decoder(Json)


def read_chat(body: JsonBody) -> ChatRequest:
    """The request in `body`. Raises BadRequest naming the place of the first thing that is wrong."""
    try:
        chat = _decoder.decode(body.raw_body)
    except msgspec.ValidationError as error:
        raise _bad_request(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    if not chat.messages:
        raise BadRequest("`messages` must hold at least one message.", param="messages")
    for at, message in enumerate(chat.messages):
        _check(message, f"messages[{at}]")
    chat.names = frozenset(name for name in body.names if body.raw(name) is not None)
    return chat


def _check(message: Message, where: str) -> None:
    if message.role == "tool" and not message.tool_call_id:
        param = f"{where}.tool_call_id"
        raise BadRequest(f"`{param}` must name the call that this is the result of.", param=param)
    if message.audio is not None:
        param = f"{where}.audio"
        raise BadRequest(f"`{param}`: only the provider that spoke knows what it said.", param=param)
    if message.function_call is not None:
        param = f"{where}.function_call"
        raise BadRequest(f"`{param}` cannot be used with this model: use `tool_calls`.", param=param)


def arguments_of(call: ToolCall, where: str) -> Json:
    """The arguments of a call as an object; `where` is its place in the request, for the BadRequest otherwise."""
    if not call.function.arguments.strip():
        return {}
    try:
        return _object.decode(call.function.arguments)
    except msgspec.DecodeError as error:
        param = f"{where}.function.arguments"
        raise BadRequest(f"`{param}` must hold a JSON object.", param=param) from error


def _bad_request(message: str) -> BadRequest:
    match = _PLACE.fullmatch(message)
    if match is None or not match[2]:
        missing = re.search(r"required field `(\w+)`", message)
        name = missing[1] if missing else None
        return BadRequest(f"`{name}` is missing." if name else f"{message}.", param=name)
    return BadRequest(f"`{match[2]}` is wrong: {match[1]}.", param=match[2])
