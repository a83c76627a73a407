"""Fits a client's parameters to what a provider accepts; all else passes untouched.

Chat clients send the same parameters to every model. Where a provider would answer 400 to one, it is renamed,
replaced by the nearest it does accept, or left out; what was left out or replaced is reported. What the answer would
be another one without is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.effort import effort_in, effort_of_reasoning, effort_of_thinking
from services.gateway.providers.conversation import DEVELOPER, SYSTEM, fit_messages, fit_tools
from services.gateway.providers.dialects import (
    COMPATIBLE,
    NOTHING,
    Dialect,
    Fields,
    dialect,
    grok_fields,
)
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.request import WRITTEN_OTHERWISE
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.pictures import picture_changes
from services.gateway.providers.reasoning_models import (
    PROBABILITIES,
    USUAL_SAMPLING,
    is_reasoning_model,
    sampling_refused,
)
from services.gateway.providers.usage import NO_PICTURE
from shared.pricing.model import Picture

USER_MAX_CHARS: Final = 64
STREAM_OPTIONS: Final = b'{"include_usage":true}'
_CHAT: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_OPENAIS_OWN: Final = frozenset({"openai", "azure"})
_OPENAIS_MODELS: Final = _OPENAIS_OWN | {COMPATIBLE}
_CHOOSE_MODELS: Final = frozenset({"openrouter", COMPATIBLE})
"""Servers that may go to other models than the one asked for, when the body says so."""
_OTHER_MODELS: Final = ("models", "preset")
_OF_RESPONSES: Final = frozenset({"temperature", "top_p", "top_logprobs"})
"""What a response has of sampling."""
_NOTHING_ASKED: Final[tuple[Any, ...]] = (None, False, 0, [], "", {})
_USUAL: Final[Mapping[str, Any]] = MappingProxyType({"modalities": ["text"], "response_format": "json"})
"""Values of parameters that are refused otherwise: what they say happens anyway."""


@dataclass(slots=True)
class Adjusted:
    """What becomes of a body: fields to set, in the body's own notation, and fields to leave out."""

    changes: dict[str, bytes] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    """Names to report: dropped, or replaced by something else than what was asked for."""
    picture: Picture = NO_PICTURE
    """What is asked for, where it is a picture."""

    def leave_out(self, name: str) -> None:
        self.drop.add(name)
        self.dropped.append(name)


_options: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def adjust(name: str, operation: Operation, model: str, body: ParsedBody) -> Adjusted:
    """The changes that fit `body` to `model` of a provider that speaks the dialect of this name (see `dialect_of`).

    Raises BadRequest on a field of a wrong type, or one that the provider does not have.
    """
    result = Adjusted()
    result.changes["model"] = body.encoded(model)
    if "user" in body and len(body.user) > USER_MAX_CHARS:
        result.leave_out("user")
    if name in _CHOOSE_MODELS:
        _refuse_other_models(body)
    spoken = dialect(name)
    if operation in _CHAT and isinstance(body, JsonBody):
        _adjust_chat(name, spoken, operation, model, body, result)
    elif operation in PICTURES:
        changes, replaced, result.picture = picture_changes(name, model, body)
        for parameter, value in changes.items():
            if value is None:
                result.drop.add(parameter)
            else:
                result.changes[parameter] = value
        result.dropped += replaced
    else:
        _adjust_fields(spoken.others.get(operation, NOTHING), body, result)
        if operation is Operation.RESPONSES and name in _OPENAIS_OWN and isinstance(body, JsonBody):
            _adjust_response(model, body, result)
    return result


def _adjust_response(model: str, body: JsonBody, result: Adjusted) -> None:
    if is_reasoning_model(model):
        refused = sampling_refused(model, _effort_of_response(body))
        _leave_out_sampling(_OF_RESPONSES & refused, body, result)


def _adjust_chat(
    name: str, spoken: Dialect, operation: Operation, model: str, body: JsonBody, result: Adjusted
) -> None:
    reasons = name in _OPENAIS_MODELS and operation is Operation.CHAT and is_reasoning_model(model)
    fields = grok_fields(spoken.chat, model) if name == "xai" else spoken.chat
    _adjust_fields(fields, body, result)
    if reasons:
        _rename(body, "max_tokens", "max_completion_tokens", result)
    if not spoken.reasoning_object and ("reasoning" in body or "thinking" in body):
        _say_effort(body, result, takes_effort="reasoning_effort" not in fields.drop)
    _adjust_values(spoken, body, result)
    if reasons and name in _OPENAIS_OWN:
        _leave_out_sampling(sampling_refused(model, _effort_of_chat(body, result)), body, result)
    _adjust_conversation(spoken, body, result, reasons=reasons)
    if name == "mistral":
        _write_otherwise(body, result)
    _adjust_stream_options(spoken, body, result)


def _refuse_other_models(body: ParsedBody) -> None:
    """A key is allowed the model that it names, and pays its price: no field may lead the provider to another."""
    for name in _OTHER_MODELS:
        if name in body and not _asks_for_nothing(name, body):
            raise BadRequest(
                f"`{name}` is not passed on to providers: name the models to fall back on in `fallbacks`.",
                param=name,
            )


def _adjust_fields(fields: Fields, body: ParsedBody, result: Adjusted) -> None:
    for name in body.names & fields.drop:
        if name not in result.drop:
            result.leave_out(name)
    for name in sorted(body.names & fields.refuse):
        if not _asks_for_nothing(name, body):
            raise BadRequest(f"`{name}` cannot be used with this model: its provider has none.", param=name)
        result.drop.add(name)
    for old, new in fields.rename:
        _rename(body, old, new, result)


def _asks_for_nothing(name: str, body: ParsedBody) -> bool:
    if isinstance(body, JsonBody):
        raw = body.raw(name)
        value = msgspec.json.decode(raw) if raw is not None else None
    else:
        value = body.text(name)
    return value in _NOTHING_ASKED or value == _USUAL.get(name)


def _rename(body: ParsedBody, old: str, new: str, result: Adjusted) -> None:
    """The new name wins where both are there."""
    if old not in body:
        return
    result.drop.add(old)
    if not isinstance(body, JsonBody):
        return  # no field of a form has another name anywhere
    value = body.raw(old)
    if value is not None and body.raw(new) is None:
        result.changes[new] = value


def _say_effort(body: JsonBody, result: Adjusted, *, takes_effort: bool) -> None:
    """The objects of other formats as OpenAI's `reasoning_effort`, as far as that can say it."""
    efforts = []
    for name, read in (("reasoning", effort_of_reasoning), ("thinking", effort_of_thinking)):
        if name not in body:
            continue
        raw = body.raw(name)
        effort = read(raw) if raw is not None else None
        if effort is not None and takes_effort:
            efforts.append(effort)
            result.drop.add(name)
        elif raw is None:
            result.drop.add(name)
        else:
            result.leave_out(name)
    if efforts and body.raw("reasoning_effort") is None:
        result.changes["reasoning_effort"] = body.encoded(efforts[0])


def _leave_out_sampling(names: frozenset[str], body: JsonBody, result: Adjusted) -> None:
    """What says what happens anyway is left out without a word. Raises BadRequest on probabilities that are wanted."""
    for name in sorted(body.names & names):
        raw = body.raw(name)
        if raw is None or msgspec.json.decode(raw) == USUAL_SAMPLING[name]:
            result.drop.add(name)
        elif name in PROBABILITIES:
            raise BadRequest(f"`{name}` cannot be used with this model while it thinks.", param=name)
        else:
            result.leave_out(name)


def _effort_of_chat(body: JsonBody, result: Adjusted) -> str | None:
    raw = result.changes.get("reasoning_effort", body.raw("reasoning_effort"))
    return effort_in(raw) if raw is not None else None


def _effort_of_response(body: JsonBody) -> str | None:
    """In the object, or as a chat has it; None too where it cannot be read."""
    reasoning = body.raw("reasoning")
    try:
        effort = effort_of_reasoning(reasoning) if reasoning is not None else None
    except BadRequest:
        return None  # it goes out as it came: OpenAI says best what is wrong with it
    raw = body.raw("reasoning_effort")
    return effort_in(raw) if effort is None and raw is not None else effort


def _adjust_values(spoken: Dialect, body: JsonBody, result: Adjusted) -> None:
    for name, value, said in spoken.synonyms:
        if name in body and body.raw(name) == body.encoded(value):
            result.changes[name] = body.encoded(said)
    for name, value, said in spoken.nearest:
        if name in result.drop or (name not in body and name not in result.changes):
            continue
        if result.changes.get(name, body.raw(name)) != body.encoded(value):
            continue
        result.dropped.append(name)
        if said:
            result.changes[name] = body.encoded(said)
        else:
            result.drop.add(name)


def _adjust_conversation(spoken: Dialect, body: JsonBody, result: Adjusted, *, reasons: bool) -> None:
    instructions = DEVELOPER if reasons else None if spoken.developer else SYSTEM
    unwanted = spoken.message_fields
    if (raw := body.raw("messages")) is not None:
        fitted = fit_messages(raw, unwanted, strict=spoken.strict, instructions=instructions)
        if fitted is not None:
            result.changes["messages"], removed = fitted
            result.dropped += removed
    if unwanted and (raw := body.raw("tools")) is not None:
        fitted = fit_tools(raw, unwanted)
        if fitted is not None:
            result.changes["tools"], removed = fitted
            result.dropped += removed


def _write_otherwise(body: JsonBody, result: Adjusted) -> None:
    """Raises BadRequest on what Mistral cannot be told."""
    for name, write in WRITTEN_OTHERWISE.items():
        raw = result.changes.get(name) or body.raw(name)
        written = write(raw) if raw is not None else None
        if written is not None:
            result.changes[name] = written


def _adjust_stream_options(spoken: Dialect, body: JsonBody, result: Adjusted) -> None:
    if body.stream and spoken.stream_options:
        result.changes["stream_options"] = _asking_for_usage(body)
    elif "stream_options" in body:
        # Refused without a stream, and unknown to who sends usage unasked: nothing is lost.
        result.drop.add("stream_options")


def _asking_for_usage(body: JsonBody) -> bytes:
    """The client's stream options with usage switched on."""
    raw = body.raw("stream_options")
    if raw is None:
        return STREAM_OPTIONS
    try:
        options = _options.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest("`stream_options` must be an object.", param="stream_options") from error
    options["include_usage"] = msgspec.Raw(b"true")
    return msgspec.json.encode(options)


def left_over(body: ParsedBody, taken: frozenset[str]) -> list[str]:
    """The client's fields that an adapter does nothing with, to be reported as left out."""
    return sorted(
        name
        for name in body.names - taken - {"model"}
        if not isinstance(body, JsonBody) or body.raw(name) is not None
    )
