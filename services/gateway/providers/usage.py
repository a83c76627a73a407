"""Reads what a provider says a request used, in all the shapes of OpenAI-compatible servers."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Final

import msgspec

from shared.events import Tokens
from shared.pricing.model import Picture

NANOS_PER_USD: Final = 1_000_000_000
MOST_USD: Final = 1_000_000
"""What one request is said to cost beyond this is a mistake of the provider's."""
Count = Annotated[int, msgspec.Meta(le=10**12)]
"""Of tokens: nobody ever used more for one request, and the records of it must hold their sums."""
Seconds = Annotated[float, msgspec.Meta(le=10**9)]
TICKS_PER_USD: Final = 10_000_000_000
"""xAI's unit of money."""
USUAL_TIERS: Final = frozenset({"auto", "default", "on_demand", "standard", "unspecified"})
MAX_TIER_CHARS: Final = 32
MAX_PICTURE_CHARS: Final = 32
NO_PICTURE: Final = Picture()
RawFields = Mapping[str, msgspec.Raw]


class Usage(msgspec.Struct, frozen=True):
    """What one request used."""

    tokens: Tokens
    cost_nanos: int | None = None
    """What the provider itself says it costs; None when it does not say."""
    estimated: bool = False
    """The provider sent no usage: these are the gateway's own estimates."""
    service_tier: str = ""
    """The tier that served it, in the provider's words; empty: the usual one."""
    picture: Picture = NO_PICTURE
    """What the pictures that were made are like, as far as the provider says."""


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Cost(msgspec.Struct):
    total_cost: Decimal | None = None


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: Decimal | None = None


class _Counts(msgspec.Struct):
    """Chat and embeddings say prompt/completion; images, speech and transcription say input/output."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    output_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count | None = None
    cached_tokens: Count | None = None
    seconds: Seconds | None = None
    prompt_audio_seconds: Seconds | None = None
    num_search_queries: Count | None = None
    """Perplexity: searches of the web."""
    cost: msgspec.Raw = msgspec.Raw(b"null")
    is_byok: bool | None = None
    """OpenRouter: it used a key of ours at the provider, so `cost` is only its own fee."""
    cost_details: msgspec.Raw = msgspec.Raw(b"null")
    cost_in_usd_ticks: msgspec.Raw = msgspec.Raw(b"null")


_counts: Final = msgspec.json.Decoder(_Counts, strict=False)
_cost: Final = msgspec.json.Decoder(Decimal | _Cost | None, strict=False)
_cost_details: Final = msgspec.json.Decoder(_CostDetails | None, strict=False)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_seconds: Final = msgspec.json.Decoder(Seconds, strict=False)
_text: Final = msgspec.json.Decoder(str)


def read_usage(raw: bytes, *, images: int = 0) -> Usage | None:
    """The usage in a JSON `usage` object; None when it is not one or says nothing."""
    try:
        counts = _counts.decode(raw)
    except msgspec.DecodeError:
        return None  # unreadable is as good as missing: the caller estimates and marks it so
    prompt = _first(counts.prompt_tokens, counts.input_tokens)
    completion = _first(counts.completion_tokens, counts.output_tokens)
    if (prompt is not None and prompt < 0) or (completion is not None and completion < 0):
        return None  # it says nothing that could be billed
    seconds = counts.seconds if counts.seconds is not None else counts.prompt_audio_seconds
    cost_nanos = _with_upstream(counts, _reported_cost(counts))
    if prompt is None and completion is None and seconds is None and cost_nanos is None:
        return None
    inputs = counts.prompt_tokens_details or counts.input_tokens_details or counts.input_token_details
    outputs = counts.completion_tokens_details or counts.output_tokens_details
    inputs, outputs = inputs or _Details(), outputs or _Details()
    cached = _first(inputs.cached_tokens, counts.prompt_cache_hit_tokens, counts.cached_tokens)
    tokens = Tokens(
        prompt=_count(prompt),
        completion=_with_reasoning(_count(prompt), _count(completion), counts.total_tokens, outputs),
        cached_read=_count(cached),
        cache_write=_count(inputs.cache_write_tokens),
        reasoning=_count(outputs.reasoning_tokens),
        prompt_audio=_count(inputs.audio_tokens),
        prompt_image=_count(inputs.image_tokens),
        completion_audio=_count(outputs.audio_tokens),
        completion_image=_count(outputs.image_tokens),
        images=images,
        audio_ms=milliseconds(seconds),
        searches=_count(counts.num_search_queries),
    )
    return Usage(tokens, cost_nanos)


def at_tier(usage: Usage | None, raw: msgspec.Raw | None) -> Usage | None:
    """The usage with the service tier that the answer names, which need not be the one that was asked for."""
    if usage is None or raw is None:
        return usage
    try:
        return msgspec.structs.replace(usage, service_tier=tier_of(_text.decode(raw)))
    except msgspec.DecodeError:
        return usage  # null, or nothing that names a tier


def picture_of(quality: str | None, size: str | None) -> Picture:
    """What a request or an answer says of its pictures, as it stands in a usage. `auto` says nothing."""
    words = [(word or "").lower()[:MAX_PICTURE_CHARS] for word in (quality, size)]
    return Picture(*("" if word == "auto" else word for word in words))


def with_picture(usage: Usage, fields: Mapping[str, msgspec.Raw]) -> Usage:
    """The usage with what an answer in OpenAI's format says of its pictures."""
    picture = picture_of(_text_in(fields.get("quality")), _text_in(fields.get("size")))
    return msgspec.structs.replace(usage, picture=picture) if picture != NO_PICTURE else usage


def _text_in(raw: msgspec.Raw | None) -> str | None:
    try:
        return _text.decode(raw) if raw is not None else None
    except msgspec.DecodeError:
        return None  # null, or nothing that says what a picture is like


def tier_of(name: str) -> str:
    """A service tier as it stands in a usage."""
    name = name.lower()[:MAX_TIER_CHARS]
    return "" if name in USUAL_TIERS else name


def read_duration_ms(raw: bytes) -> int:
    """Milliseconds in a JSON number (or string) of seconds; 0 when it is neither."""
    try:
        return milliseconds(_seconds.decode(raw))
    except msgspec.DecodeError:
        return 0  # not a length: the caller estimates it from the file


def milliseconds(seconds: float | None) -> int:
    return round(seconds * 1000) if seconds and seconds > 0 else 0


def usage_json(usage: Usage, *, images: bool = False) -> dict[str, msgspec.Raw]:
    """A `usage` object for an answer whose provider sent none."""
    tokens = usage.tokens
    prompt, completion = (
        ("input_tokens", "output_tokens") if images else ("prompt_tokens", "completion_tokens")
    )
    counts = {
        prompt: tokens.prompt,
        completion: tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }
    fields = {name: msgspec.Raw(b"%d" % value) for name, value in counts.items()}
    if usage.estimated:
        fields["estimated"] = msgspec.Raw(b"true")
    return fields


def with_cost(raw_usage: bytes, cost_usd: str) -> msgspec.Raw:
    """A `usage` object with `cost` set to this decimal, as a number."""
    fields = _fields.decode(raw_usage)
    fields["cost"] = msgspec.Raw(cost_usd.encode())
    return msgspec.Raw(msgspec.json.encode(fields))


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _count(value: int | None) -> int:
    return value if value is not None and value > 0 else 0


def _with_reasoning(prompt: int, completion: int, total: int | None, outputs: _Details) -> int:
    """Some providers (xAI) leave the reasoning tokens out of `completion_tokens`; only their total gives it away."""
    reasoning = _count(outputs.reasoning_tokens)
    if reasoning and total == prompt + completion + reasoning:
        return completion + reasoning
    return completion


def _reported_cost(counts: _Counts) -> int | None:
    """Nano-dollars: `cost` is a number (OpenRouter) or an object with `total_cost` (Perplexity); xAI counts in ticks."""
    usd = _amount(counts.cost)
    if usd is None and (ticks := _amount(counts.cost_in_usd_ticks)) is not None:
        usd = ticks / TICKS_PER_USD
    return _nanos(usd)


def _amount(raw: msgspec.Raw) -> Decimal | None:
    try:
        cost = _cost.decode(raw)
    except msgspec.DecodeError:
        return None  # some other meaning of `cost`: priced from the tokens then
    return cost.total_cost if isinstance(cost, _Cost) else cost


def _with_upstream(counts: _Counts, fee_nanos: int | None) -> int | None:
    """The fee alone is not what the request costs where the provider bills the model's use to another account."""
    if not counts.is_byok or fee_nanos is None:
        return fee_nanos
    try:
        details = _cost_details.decode(counts.cost_details)
    except msgspec.DecodeError:
        return None  # priced from the tokens then
    upstream_nanos = _nanos(details.upstream_inference_cost) if details is not None else None
    return None if upstream_nanos is None else fee_nanos + upstream_nanos


def _nanos(usd: Decimal | None) -> int | None:
    if usd is None or not usd.is_finite() or not 0 <= usd <= MOST_USD:
        return None
    return int((usd * NANOS_PER_USD).to_integral_value(ROUND_HALF_UP))
