"""A chat as the parameters of Converse and ConverseStream."""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.models import traits_of
from services.gateway.providers.bedrock.betas import FIELD as BETAS
from services.gateway.providers.bedrock.betas import passed_betas
from services.gateway.providers.bedrock.content import Blocks, addresses
from services.gateway.providers.bedrock.families import (
    KEEPS_FORMATS,
    NOVA,
    Family,
    family_of,
    takes_sampling,
    telling_name,
)
from services.gateway.providers.bedrock.location import guardrail_of
from services.gateway.providers.bedrock.messages import conversation
from services.gateway.providers.bedrock.sampling import limit_of, unit
from services.gateway.providers.bedrock.thinking import OFF, adaptive_effort, thinking, thinks_hard
from services.gateway.providers.bedrock.tools import native_format, tool_config, wants_structure
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.policy import CHANGES_MEANING, Fit, Policy, fit
from services.gateway.providers.chat.request import ChatRequest, JsonObjectFormat, JsonSchemaFormat, read_chat
from services.gateway.providers.chat.structure import in_words
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.port import Target

_PASSED_ON: Final = ("guardrailConfig", "performanceConfig", "additionalModelResponseFieldPaths")
"""Converse's own parameters, which a client may send under their own names."""
_EXTRA_FIELDS: Final = "additionalModelRequestFields"
POLICY: Final = Policy(
    provider="Bedrock",
    keeps=frozenset(
        {
            "tools", "tool_choice", "response_format", "max_tokens", "max_completion_tokens", "temperature",
            "top_p", "top_k", "stop", "reasoning_effort", "reasoning", "thinking", "cache_control", "metadata",
            "service_tier", _EXTRA_FIELDS, *_PASSED_ON,
        }
    ),
    refuses=CHANGES_MEANING,
)  # fmt: skip
_TIERS: Final = frozenset({"priority", "flex"})
_METADATA_TEXT: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_MAX_METADATA: Final = 16
_object: Final = msgspec.json.Decoder(dict[str, Any])
_anything: Final = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class ConverseRequest:
    """`params` as the service's model has them, without the model's id; bytes are bytes."""

    params: dict[str, Any]
    dropped: tuple[str, ...]


def https_addresses(body: JsonBody) -> tuple[str, ...]:
    """What must be fetched before the request can be built."""
    messages = body.raw("messages") or b""
    if b"https" not in messages.lower():
        return ()
    return tuple(dict.fromkeys(url for message in read_chat(body).messages for url in addresses(message)))


def converse_request(target: Target, body: JsonBody) -> ConverseRequest:
    """Raises BadRequest naming the field that Converse cannot take."""
    chat = read_chat(body)
    fitted = fit(POLICY, chat)
    model = telling_name(target.model, target.alias)
    family = family_of(model)
    blocks = Blocks(fitted, family, target.fetched)
    system, messages = conversation(chat, blocks)
    extra = thinking(chat, family, model, fitted, messages)
    thinks = extra.get("thinking", OFF) != OFF
    params: dict[str, Any] = {"messages": messages}
    if system:
        params["system"] = system
    strictly = family == "anthropic" and traits_of(model).schemas
    native = thinks or family in KEEPS_FORMATS
    config = tool_config(chat, messages, blocks, fitted, native=native, keeps_strictly=strictly)
    if config is not None:
        params["toolConfig"] = config
    output = _output(chat, family, model, fitted, native=native, thinks=thinks)
    if output:
        params["outputConfig"] = output
    if native and (words := _said_in_words(chat, output, fitted)):
        params["system"] = [*system, {"text": words}]
    if inference := _inference(chat, family, model, fitted, extra, thinks=thinks):
        params["inferenceConfig"] = inference
    _add_rest(params, chat, body, target, fitted)
    if betas := passed_betas(target, family, fitted):
        extra[BETAS] = betas
    extra |= _own_object(body, _EXTRA_FIELDS)
    if extra:
        params[_EXTRA_FIELDS] = extra
    return ConverseRequest(params, fitted.dropped)


def _output(
    chat: ChatRequest, family: Family, model: str, fitted: Fit, *, native: bool, thinks: bool
) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if native and wants_structure(chat):
        form = native_format(chat)
        if form is not None:
            output["textFormat"] = form
        elif thinks and isinstance(chat.response_format, JsonObjectFormat):
            fitted.refuse("response_format", "a model that thinks needs a schema for it")
    effort = adaptive_effort(chat, family, model, fitted, thinks=thinks)
    if effort:
        output["effort"] = effort
    return output


def _said_in_words(chat: ChatRequest, output: dict[str, Any], fitted: Fit) -> str:
    """For models that cannot be held to the format that is asked for."""
    asked = chat.response_format
    if not isinstance(asked, JsonObjectFormat | JsonSchemaFormat) or "textFormat" in output:
        return ""
    if isinstance(asked, JsonSchemaFormat):
        fitted.drop("response_format")  # what is said in words is not enforced
    return in_words(asked)


def _inference(
    chat: ChatRequest, family: Family, model: str, fitted: Fit, extra: dict[str, Any], *, thinks: bool
) -> dict[str, Any]:
    """`inferenceConfig`; what Converse has no name for goes into `extra`."""
    found: dict[str, Any] = {}
    if (limit := limit_of(chat, fitted)) is not None:
        found["maxTokens"] = limit
    stops = [text for text in chat.stops if text.strip()]
    if len(stops) < len(chat.stops):
        fitted.drop("stop")
    if stops:
        found["stopSequences"] = stops
    if thinks or thinks_hard(extra) or not takes_sampling(model):
        for name in ("temperature", "top_p", "top_k"):
            if name in chat.names:
                fitted.drop(name)
        return found
    _sample(chat, family, fitted, found, extra)
    return found


def _sample(
    chat: ChatRequest, family: Family, fitted: Fit, found: dict[str, Any], extra: dict[str, Any]
) -> None:
    if chat.temperature is not None:
        found["temperature"] = unit(chat.temperature, "temperature", fitted)
    if chat.top_p is not None and family == "anthropic" and chat.temperature is not None:
        fitted.drop("top_p")  # Claude takes one of the two
    elif chat.top_p is not None:
        found["topP"] = unit(chat.top_p, "top_p", fitted)
    if chat.top_k is None:
        return
    if family == "anthropic":
        extra["top_k"] = chat.top_k
    elif family in NOVA:
        extra["inferenceConfig"] = {"topK": chat.top_k}
    else:
        fitted.drop("top_k")


def _add_rest(params: dict[str, Any], chat: ChatRequest, body: JsonBody, target: Target, fitted: Fit) -> None:
    if chat.service_tier in _TIERS:
        params["serviceTier"] = {"type": chat.service_tier}
    elif chat.service_tier not in (None, "auto", "default"):
        fitted.drop("service_tier")
    if chat.metadata:
        if _is_metadata(chat.metadata):
            params["requestMetadata"] = chat.metadata
        else:
            fitted.drop("metadata")
    guardrail = guardrail_of(target.provider)
    if guardrail is not None:
        params["guardrailConfig"] = {
            "guardrailIdentifier": guardrail[0],
            "guardrailVersion": guardrail[1],
        }
    for name in _PASSED_ON:
        # The operator's guardrail is not the client's to change.
        if (raw := body.raw(name)) is not None and name not in params:
            params[name] = _anything.decode(raw)


def _own_object(body: JsonBody, name: str) -> dict[str, Any]:
    raw = body.raw(name)
    if raw is None:
        return {}
    try:
        return _object.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{name}` must be an object.", param=name) from error


def _is_metadata(metadata: dict[str, Any]) -> bool:
    texts = [*metadata, *metadata.values()]
    return len(metadata) <= _MAX_METADATA and all(
        isinstance(text, str) and _METADATA_TEXT.fullmatch(text) for text in texts
    )
