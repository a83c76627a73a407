"""What Bedrock's models that take a bare prompt are asked and answer, inside of InvokeModel.

Source: Amazon Bedrock User Guide, "Inference request parameters and response fields for foundation models", the pages
"Meta Llama models", "Mistral AI text completion" and "DeepSeek models". The parts of a stream have the fields of the
whole answer, those that are not known yet as null; the last one carries `amazon-bedrock-invocationMetrics`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Unit = Annotated[float, Meta(ge=0, le=1)]
Limit = Annotated[int, Meta(ge=1)]
Stops = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=10)]
Reason = Literal["stop", "length"]

LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-7b-instruct-v0:2"
DEEPSEEK = "us.deepseek.r1-v1:0"
MODELS = (LLAMA, MISTRAL, DEEPSEEK)
INPUT_HEADER = "x-amzn-bedrock-input-token-count"
OUTPUT_HEADER = "x-amzn-bedrock-output-token-count"


class LlamaRequest(Struct, forbid_unknown_fields=True):
    prompt: str
    temperature: Unit | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET
    max_gen_len: Limit | UnsetType = UNSET
    images: list[str] | UnsetType = UNSET


class MistralRequest(Struct, forbid_unknown_fields=True):
    prompt: str
    max_tokens: Limit | UnsetType = UNSET
    stop: Stops | UnsetType = UNSET
    temperature: Unit | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET
    top_k: Limit | UnsetType = UNSET


class DeepSeekRequest(Struct, forbid_unknown_fields=True):
    prompt: str
    temperature: Unit | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET
    max_tokens: Limit | UnsetType = UNSET
    stop: Stops | UnsetType = UNSET


class Metrics(Struct):
    inputTokenCount: int
    outputTokenCount: int
    invocationLatency: int = 812
    firstByteLatency: int = 96


class Extras(Struct, kw_only=True):
    """What Bedrock itself puts beside the model's fields."""

    metrics: Metrics | UnsetType = msgspec.field(name="amazon-bedrock-invocationMetrics", default=UNSET)
    guardrail: Literal["NONE", "INTERVENED"] | UnsetType = msgspec.field(
        name="amazon-bedrock-guardrailAction", default=UNSET
    )


class LlamaAnswer(Extras):
    generation: str
    prompt_token_count: int | None
    generation_token_count: int
    stop_reason: Reason | None


class MistralOutput(Struct):
    text: str
    stop_reason: Reason | None


class MistralAnswer(Extras):
    outputs: list[MistralOutput]


class DeepSeekChoice(Struct):
    text: str
    stop_reason: Reason | None
    index: int = 0


class DeepSeekAnswer(Extras):
    choices: list[DeepSeekChoice]


@dataclass(frozen=True, slots=True)
class Saying:
    """What a model is to write. `counted`: Bedrock counts the tokens, beside what the model itself counts."""

    text: str
    prompt: int
    completion: int
    reason: Reason = "stop"
    counted: bool = True
    blocked: bool = False
    """A guardrail stepped in."""


_FORMATS: dict[str, tuple[type[Struct], type[Struct]]] = {
    "meta.llama": (LlamaRequest, LlamaAnswer),
    "mistral.mistral-7b": (MistralRequest, MistralAnswer),
    "mistral.mixtral-8x7b": (MistralRequest, MistralAnswer),
    "mistral.mistral-large-2402": (MistralRequest, MistralAnswer),
    "mistral.mistral-small-2402": (MistralRequest, MistralAnswer),
    "deepseek.r1": (DeepSeekRequest, DeepSeekAnswer),
}


def takes_prompts(model: str) -> bool:
    return any(name in model for name in _FORMATS)


def wrong_in(model: str, body: bytes) -> str:
    """What the model has against it; empty when it is good."""
    try:
        msgspec.json.decode(body, type=_format(model)[0])
    except msgspec.DecodeError as error:
        return f"Malformed input request: {error}, please reformat your input and try again."
    return ""


def whole(model: str, saying: Saying) -> tuple[bytes, dict[str, str]]:
    """The answer, and the headers that count its tokens."""
    counts = {INPUT_HEADER: str(saying.prompt), OUTPUT_HEADER: str(saying.completion)}
    body = _written(model, saying.text, saying.prompt, saying.completion, saying.reason, _guarded(saying))
    return body, counts if saying.counted else {}


def parts(model: str, saying: Saying) -> list[bytes]:
    """The stream, part by part; the last says why it ended, and has text of its own where the model ends in a word."""
    pieces = [saying.text[at : at + 7] for at in range(0, len(saying.text), 7)] or [""]
    extras: dict[str, Any] = _guarded(saying)
    if saying.counted:
        extras["metrics"] = Metrics(saying.prompt, saying.completion)
    last = len(pieces) - 1
    return [
        _written(
            model,
            piece,
            saying.prompt if at == 0 else None,
            saying.completion if at == last else min(at + 1, saying.completion),
            saying.reason if at == last else None,
            extras if at == last else {},
        )
        for at, piece in enumerate(pieces)
    ]


def text_in(model: str, bodies: Iterable[bytes]) -> str:
    """What answers or parts say, read by the model's own type."""
    found = [msgspec.json.decode(body, type=_format(model)[1]) for body in bodies]
    return "".join(_text_of(one) for one in found)


def _text_of(answer: Any) -> str:
    if isinstance(answer, LlamaAnswer):
        return answer.generation
    pieces: Any = answer.outputs if isinstance(answer, MistralAnswer) else answer.choices
    return str(pieces[0].text)


def _written(
    model: str, text: str, prompt: int | None, completion: int, reason: Reason | None, extras: dict[str, Any]
) -> bytes:
    kind = _format(model)[1]
    if kind is LlamaAnswer:
        return msgspec.json.encode(LlamaAnswer(text, prompt, completion, reason, **extras))
    if kind is MistralAnswer:
        return msgspec.json.encode(MistralAnswer([MistralOutput(text, reason)], **extras))
    return msgspec.json.encode(DeepSeekAnswer([DeepSeekChoice(text, reason)], **extras))


def _guarded(saying: Saying) -> dict[str, Any]:
    return {"guardrail": "INTERVENED"} if saying.blocked else {}


def _format(model: str) -> tuple[type[Struct], type[Struct]]:
    return next(found for name, found in _FORMATS.items() if name in model)
