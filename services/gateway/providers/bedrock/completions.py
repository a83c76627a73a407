"""Text completions by InvokeModel, for the models that take a bare prompt there.

Formats as in the Amazon Bedrock User Guide, "Inference request parameters and response fields for foundation models":
Meta Llama models, Mistral AI text completion, DeepSeek models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.bedrock.embeddings import TOKEN_HEADER
from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.bedrock.families import TextFamily, text_family_of
from services.gateway.providers.bedrock.location import guardrail_of
from services.gateway.providers.bedrock.sampling import limit_of, unit
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer, new_id
from services.gateway.providers.chat.policy import CHANGES_MEANING, Policy, fit
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.chat.text_completion import as_chat, text_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Target
from services.gateway.providers.usage import Count, Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

OUTPUT_HEADER: Final = "x-amzn-bedrock-output-token-count"
_REFUSED: Final = CHANGES_MEANING | {"guardrailConfig"}
_ALWAYS: Final = frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p"})
_INTERVENED: Final = "INTERVENED"


@dataclass(frozen=True, slots=True)
class _Format:
    """How a maker's models are asked."""

    limit: str
    """What they call the limit on tokens."""
    policy: Policy
    most_stops: int = 0


def _policy(maker: str, *more: str) -> Policy:
    return Policy(f"{maker} on Bedrock", _ALWAYS.union(more), _REFUSED)


_FORMATS: Final[Mapping[TextFamily, _Format]] = MappingProxyType(
    {
        "llama": _Format("max_gen_len", _policy("Llama")),
        "mistral": _Format("max_tokens", _policy("Mistral", "stop", "top_k"), most_stops=10),
        "deepseek": _Format("max_tokens", _policy("DeepSeek", "stop"), most_stops=10),
    }
)


class _Piece(msgspec.Struct):
    text: str = ""
    stop_reason: str | None = None


class _Metrics(msgspec.Struct):
    inputTokenCount: Count | None = None
    outputTokenCount: Count | None = None


class Written(msgspec.Struct):
    """A whole answer, or a part of a stream: Llama says `generation`, Mistral `outputs`, DeepSeek `choices`."""

    generation: str | None = None
    stop_reason: str | None = None
    prompt_token_count: Count | None = None
    """In a stream only the first part has it."""
    generation_token_count: Count | None = None
    """In a stream all tokens so far."""
    outputs: list[_Piece] | None = None
    choices: list[_Piece] | None = None
    metrics: _Metrics | None = msgspec.field(name="amazon-bedrock-invocationMetrics", default=None)
    """In the last part of a stream."""
    guardrail: str | None = msgspec.field(name="amazon-bedrock-guardrailAction", default=None)

    @property
    def text(self) -> str | None:
        """What the model wrote; None where this is no answer of any of them."""
        pieces = self.outputs or self.choices
        return pieces[0].text if pieces else self.generation

    @property
    def finish_reason(self) -> str | None:
        """OpenAI's word for the end; None: it goes on."""
        if self.guardrail == _INTERVENED:
            return "content_filter"
        pieces = self.outputs or self.choices
        reason = pieces[0].stop_reason if pieces else self.stop_reason
        if not reason:
            return None
        return "length" if reason == "length" else "stop"


written_decoder: Final = msgspec.json.Decoder(Written)


def completion_body(target: Target, body: JsonBody) -> tuple[bytes, tuple[str, ...]]:
    """The body in the model's own format, and what was left out.

    Raises BadRequest naming the field: `model` for a model that takes no bare prompt.
    """
    family = text_family_of(target.model, target.alias)
    if family is None:
        raise _no_completions(target)
    wanted = _FORMATS[family]
    chat = read_chat(as_chat(body))
    fitted = fit(wanted.policy, chat)
    params: dict[str, Any] = {"prompt": chat.messages[0].text}
    if (limit := limit_of(chat, fitted)) is not None:
        params[wanted.limit] = limit
    if chat.temperature is not None:
        params["temperature"] = unit(chat.temperature, "temperature", fitted)
    if chat.top_p is not None:
        params["top_p"] = unit(chat.top_p, "top_p", fitted)
    if chat.top_k is not None and "top_k" in wanted.policy.keeps:
        if chat.top_k < 1:
            fitted.refuse("top_k", "it must be at least 1")
        params["top_k"] = chat.top_k
    stops = [text for text in chat.stops if text]
    if stops and len(stops) > wanted.most_stops:
        fitted.refuse("stop", f"it may hold {wanted.most_stops} texts at most")
    if stops:
        params["stop"] = stops
    return msgspec.json.encode(params), fitted.dropped


def guardrail_headers(target: Target) -> dict[str, str]:
    """The operator's guardrail, as InvokeModel is told of it."""
    guardrail = guardrail_of(target.provider)
    if guardrail is None:
        return {}
    identifier, version = guardrail
    return {
        "x-amzn-bedrock-guardrailidentifier": identifier,
        "x-amzn-bedrock-guardrailversion": version,
    }


def read_completion(body: JsonBody, headers: Mapping[str, str], answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set. Usage that is missing is estimated."""
    try:
        written = written_decoder.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    text = written.text
    if text is None:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    usage = _usage(body, written, headers, text)
    said = Said(text=text, finish_reason=written.finish_reason or "stop")
    return text_answer(chat_answer(model=body.model, choices=[said], usage=usage, id=new_id("cmpl-")))


def _usage(body: JsonBody, written: Written, headers: Mapping[str, str], text: str) -> Usage:
    """Counted in the answer or beside it; what neither counts is estimated."""
    prompt, completion = written.prompt_token_count, written.generation_token_count
    prompt = prompt if prompt is not None else _count_in(headers, TOKEN_HEADER)
    completion = completion if completion is not None else _count_in(headers, OUTPUT_HEADER)
    estimated = prompt is None or completion is None
    if prompt is None:
        prompt = estimate_prompt(Operation.COMPLETIONS, body).prompt
    if completion is None:
        completion = estimate_tokens(len(text.encode())) if text else 0
    return Usage(Tokens(prompt=max(0, prompt), completion=max(0, completion)), estimated=estimated)


def _count_in(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isdecimal() else None


def _no_completions(target: Target) -> BadRequest:
    behind = " If it is one of them, call it by that name and let an alias lead to the ARN."
    return BadRequest(
        f"`model`: {target.model} takes no bare prompt on Bedrock. Meta's Llama, Mistral's 7B, 8x7B, Large (24.02) and"
        " Small (24.02) and DeepSeek's R1 have text completions; any other model can be asked by chat completions."
        + (behind if target.model_on_wire.startswith("arn:") else ""),
        param="model",
    )
