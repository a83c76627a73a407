"""Prices out of the genai-prices package: its bundled data only, never its network update.

A model's price may change on a date or by the time of day, so what is found is a schedule; a look-up by time picks
from it. Each price in it knows what the model costs in the provider's other service tiers. Found schedules are
remembered for the life of the process: the data never changes within it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from typing import Final

import msgspec
from genai_prices import __version__ as GENAI_VERSION
from genai_prices import types as genai
from genai_prices.data import providers as BUNDLED
from genai_prices.data_snapshot import DataSnapshot

from shared.pricing.model import ModelPrice, Rates, Tier, rates
from shared.pricing.sounds import unknown_sounds

DATA_VERSION: Final = f"genai-prices-{GENAI_VERSION}"
DAY_MS: Final = 86_400_000

PROVIDER_IDS: Final[Mapping[str, str]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "cohere": "cohere",
    "groq": "groq",
    "cerebras": "cerebras",
    "xai": "x-ai",
    "openrouter": "openrouter",
    # Nebius has no table of its own; Hugging Face's router passes its prices on unchanged.
    "nebius": "huggingface_nebius",
    "perplexity": "perplexity",
    "mistral": "mistral",
    "gemini": "google",
    "vertex": "google",
}
"""Our provider types -> genai-prices' provider ids. A type that is not here has no public prices."""

_PREFIXED: Final = frozenset({"bedrock", "gemini", "vertex"})
"""Something may stand before the model: a region, a collection, a publisher."""
_FREE: Final = rates()
HOUR_WRITE_FACTOR: Final = 2
GROQ_MIN_AUDIO_MS: Final = 10_000
"""Groq bills each transcription as at least ten seconds."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIER_KEYS: Final = frozenset({"service_tier", "speed"})

_TOKEN_KEYS: Final = {
    "input_nanos": "input_mtok",
    "output_nanos": "output_mtok",
    "cached_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "prompt_audio": "input_audio_mtok",
    "prompt_image": "input_image_mtok",
    "completion_audio": "output_audio_mtok",
    "completion_image": "output_image_mtok",
    "reasoning": "output_reasoning_mtok",
}


class Scheduled(msgspec.Struct, frozen=True):
    """A price and when it holds: from `from_ms` on, or daily from `from_time_ms` to `to_time_ms` (UTC, may wrap)."""

    price: ModelPrice
    from_ms: int | None = None
    from_time_ms: int | None = None
    to_time_ms: int = 0

    def holds(self, at_ms: int) -> bool:
        if self.from_ms is not None:
            return at_ms >= self.from_ms
        if self.from_time_ms is None:
            return True
        clock_ms = at_ms % DAY_MS
        if self.to_time_ms < self.from_time_ms:
            return clock_ms >= self.from_time_ms or clock_ms < self.to_time_ms
        return self.from_time_ms <= clock_ms < self.to_time_ms


Schedule = tuple[Scheduled, ...]
"""The later entry wins."""


def schedule_for(provider_type: str, model: str) -> Schedule:
    """What is known of a model of a provider type; empty when nothing is."""
    if provider_type == "huggingface":
        return _huggingface(model)
    provider_id = PROVIDER_IDS.get(provider_type)
    if provider_id is None:
        return ()
    if provider_type in _PREFIXED and not model.startswith("arn:"):
        model = model.rpartition("/")[2]
    schedule = _schedule(provider_id, model)
    if provider_type == "vertex" and all(entry.price.base == _FREE for entry in schedule):
        return ()  # free with an API key of the Gemini API only: nobody has said what it costs here
    return schedule


@lru_cache(maxsize=8192)
def context_window(provider_type: str, model: str) -> int | None:
    """How many tokens of prompt and answer a model takes; None when nobody has said."""
    provider_id = PROVIDER_IDS.get(provider_type)
    if provider_id is None:
        return None
    try:
        return _snapshot().find_provider_model(model, None, provider_id, None)[1].context_window
    except LookupError:
        return None


def price_at(schedule: Schedule, at_ms: int | None) -> ModelPrice | None:
    """The price in force at `at_ms`; None as time: the newest that holds all day."""
    if not schedule:
        return None
    for entry in reversed(schedule):
        if entry.from_time_ms is None if at_ms is None else entry.holds(at_ms):
            return entry.price
    return schedule[0].price


def _huggingface(model: str) -> Schedule:
    """`{inference_provider}/{org}/{model}` as we name it, or `{org}/{model}:{inference_provider}` as the router does."""
    name, _, suffix = model.partition(":")
    if suffix:
        return _schedule(f"huggingface_{suffix}", name)
    inference_provider, _, rest = model.partition("/")
    return _schedule(f"huggingface_{inference_provider}", rest) if "/" in rest else ()


@cache
def _snapshot() -> DataSnapshot:
    return DataSnapshot(providers=BUNDLED, from_auto_update=False)


@lru_cache(maxsize=8192)
def _schedule(provider_id: str, model: str) -> Schedule:
    try:
        provider, info = _snapshot().find_provider_model(model, None, provider_id, None)
    except LookupError:
        return ()
    if isinstance(info.prices, list) and any(
        isinstance(entry.constraint, genai.TimeOfDateConstraint) for entry in info.prices
    ):
        return tuple(scheduled(entry) for entry in info.prices)
    is_own = any(info is own for own in provider.models)
    # Azure has OpenAI's models in OpenAI's tiers; others that have a model too have their own, which nobody has said
    tiers = _tiers_of(info) if is_own or provider.id == "azure" else {}
    return tuple(_schedule_by_date(provider.id, info, tiers))


def _schedule_by_date(
    provider_id: str, info: genai.ModelInfo, tiers: Mapping[str, Mapping[str, str]]
) -> Iterator[Scheduled]:
    """The price from the beginning, and from each date on that changes it or its tiers."""
    constraints = [entry.constraint for entry in info.prices] if isinstance(info.prices, list) else []
    constraints += [variant.constraint for variant in info.price_variants or ()] if tiers else []
    dates = {one.start_date for one in constraints if isinstance(one, genai.StartDateConstraint)}
    for moment in (_BEGINNING, *(datetime.combine(day, time(), UTC) for day in sorted(dates))):
        price = _price(provider_id, info, info.get_prices(moment))
        if price is None:
            continue
        own_tiers = {
            name: tier
            for name, context in tiers.items()
            if (tier := _price(provider_id, info, info.get_prices(moment, context))) not in (None, price)
        }
        from_ms = None if moment is _BEGINNING else int(moment.timestamp()) * 1000
        yield Scheduled(msgspec.structs.replace(price, service_tiers=own_tiers), from_ms=from_ms)


def _tiers_of(info: genai.ModelInfo) -> dict[str, Mapping[str, str]]:
    """The tiers that a model has prices of its own for, by the name that answers have for them."""
    contexts = [variant.when for variant in info.price_variants or ()]
    return {
        str(next(iter(when.values()))): when
        for when in contexts
        if len(when) == 1 and when.keys() <= _TIER_KEYS
    }


def _price(provider_id: str, info: genai.ModelInfo, price: genai.ModelPrice) -> ModelPrice | None:
    """None when no price is given: it is not known, except of what is free by name."""
    found = _convert(price, is_claude="claude" in info.id)
    if found == _convert(genai.ModelPrice()) and not _is_free(provider_id, info.id):
        return None
    stored = _stored(price)
    if stored.keys() & {"input_mtok", "output_mtok"}:
        unknown = unknown_sounds(
            provider_id,
            info.id,
            by_hour=found.per_audio_hour_nanos > 0,
            heard="input_audio_mtok" in stored,
            spoken="output_audio_mtok" in stored,
        )
        found = msgspec.structs.replace(found, unknown=unknown)
    if provider_id == "groq" and info.id.startswith("whisper-large-v3"):
        found = msgspec.structs.replace(found, min_audio_ms=GROQ_MIN_AUDIO_MS)
    return found


def _is_free(provider_id: str, model: str) -> bool:
    return (
        model.endswith(":free")
        or model == "moderation"
        or (provider_id == "google" and model.startswith("gemma-"))
    )


def scheduled(entry: genai.ConditionalPrice) -> Scheduled:
    """One of the prices that a model has under conditions."""
    price = _convert(entry.prices)
    constraint = entry.constraint
    if isinstance(constraint, genai.StartDateConstraint):
        start = datetime.combine(constraint.start_date, time(), UTC)
        return Scheduled(price, from_ms=int(start.timestamp()) * 1000)
    if isinstance(constraint, genai.TimeOfDateConstraint):
        return Scheduled(
            price,
            from_time_ms=_time_of_day_ms(constraint.start_time),
            to_time_ms=_time_of_day_ms(constraint.end_time),
        )
    return Scheduled(price)


def _time_of_day_ms(at: time) -> int:
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    moment = datetime.combine(datetime(1970, 1, 2).date(), aware).astimezone(UTC)
    return int(moment.timestamp() * 1000) % DAY_MS


def _convert(price: genai.ModelPrice, *, is_claude: bool = False) -> ModelPrice:
    stored = _stored(price)
    starts = sorted({tier.start for value in stored.values() for tier in _tiers(value)})
    return ModelPrice(
        source="genai-prices",
        base=_rates(stored, 0, is_claude),
        tiers=tuple(Tier(start, _rates(stored, start + 1, is_claude)) for start in starts),
        per_request_nanos=_flat(stored, "requests_kcount", 1000),
        per_search_nanos=_flat(stored, "web_searches_kcount", 1000),
        per_million_characters_nanos=_flat(stored, "input_mchars", 1),
        per_audio_hour_nanos=_flat(stored, "input_audio_hours", 1) or _flat(stored, "audio_hours", 1),
    )


def _stored(price: genai.ModelPrice) -> dict[str, Decimal | genai.TieredPrices]:
    return {key: value for key, value in price.__dict__.items() if value is not None}


def _rates(stored: Mapping[str, Decimal | genai.TieredPrices], prompt_tokens: int, is_claude: bool) -> Rates:
    found = {
        name: _nanos(_at(stored[key], prompt_tokens)) for name, key in _TOKEN_KEYS.items() if key in stored
    }
    if is_claude and "cache_write" in found and "cache_write_1h" not in found:
        # On every cloud Claude's writes for an hour cost twice the input; not all of the data says so.
        found["cache_write_1h"] = HOUR_WRITE_FACTOR * found["input_nanos"]
    return rates(**found)


def _flat(stored: Mapping[str, Decimal | genai.TieredPrices], key: str, per: int) -> int:
    value = stored.get(key)
    return 0 if value is None else _nanos(_at(value, 0) / per)


def _tiers(value: Decimal | genai.TieredPrices) -> Iterable[genai.Tier]:
    return value.tiers if isinstance(value, genai.TieredPrices) else ()


def _at(value: Decimal | genai.TieredPrices, prompt_tokens: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    return reached[-1] if reached else value.base


def _nanos(usd: Decimal) -> int:
    """A few prices in the data have more than nine decimals (1/12): the nearest nano-dollar per million is taken."""
    return int((usd * 1_000_000_000).quantize(Decimal(1), ROUND_HALF_UP))
