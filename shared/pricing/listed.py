"""What is known of a model from vendors' own price lists, where genai-prices knows nothing of it.

Beside pictures these are rankings, by the search unit, and models that genai-prices has under other names only:

| provider type | list, and when it said so |
| --- | --- |
| `azure` | Azure OpenAI Service, 2025-02: its own names of Whisper and TTS |
| `bedrock` | Amazon Bedrock in the United States, 2025-03 |
| `cohere` | Cohere, 2025: a search unit is one query with up to a hundred documents |
| `vertex` | Vertex AI Search's ranking API, 2025-10 |
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from shared.pricing.model import ModelPrice, rates
from shared.pricing.pictures import PRICES as PICTURES
from shared.pricing.sounds import RATES as SOUNDS


def _per_search(nanos: int) -> ModelPrice:
    return ModelPrice(source="built-in", base=rates(), per_request_nanos=nanos)


_COHERE_RERANK: Final = _per_search(2_000_000)
_GOOGLE_RANKING: Final = _per_search(1_000_000)
_COHERE_EMBED: Final = ModelPrice(source="built-in", base=rates(input_nanos=100_000_000))

OTHERS: Final[Mapping[str, Mapping[str, ModelPrice]]] = MappingProxyType(
    {
        "azure": {
            "whisper": ModelPrice(source="built-in", base=rates(), per_audio_hour_nanos=360_000_000),
            "tts": ModelPrice(source="built-in", base=rates(), per_million_characters_nanos=15_000_000_000),
            "tts-hd": ModelPrice(
                source="built-in", base=rates(), per_million_characters_nanos=30_000_000_000
            ),
        },
        "bedrock": {
            "amazon.rerank-v1": _per_search(1_000_000),
            "cohere.rerank-v3-5": _COHERE_RERANK,
            "cohere.embed-english-v3": _COHERE_EMBED,
            "cohere.embed-multilingual-v3": _COHERE_EMBED,
        },
        "cohere": {
            "rerank-english-v3.0": _COHERE_RERANK,
            "rerank-multilingual-v3.0": _COHERE_RERANK,
            "rerank-v3.5": _COHERE_RERANK,
        },
        "vertex": {
            "semantic-ranker-512": _GOOGLE_RANKING,
            "semantic-ranker-default": _GOOGLE_RANKING,
            "semantic-ranker-default-004": _GOOGLE_RANKING,
            "semantic-ranker-fast": _GOOGLE_RANKING,
            "semantic-ranker-fast-004": _GOOGLE_RANKING,
        },
    }
)
"""Provider type -> model -> price."""


def version_of(*lists: Mapping[str, Mapping[str, Any]]) -> str:
    """Another one whenever anything in the lists is."""
    written = msgspec.json.encode([dict(one) for one in lists], order="sorted")
    return hashlib.sha256(written).hexdigest()[:8]


LISTS_VERSION: Final = version_of(PICTURES, OTHERS, SOUNDS)

_IN_PART_OF_THE_WORLD: Final = re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|global)\.")


def listed(provider_type: str, model: str) -> ModelPrice | None:
    """The price on a list; None when it is on none."""
    name = _listed_name(provider_type, model)
    for lists in (PICTURES, OTHERS):
        price = lists.get(provider_type, {}).get(name)
        if price is not None:
            return price
    return None


def listed_models(provider_type: str) -> Iterator[str]:
    """The models on the lists of a provider type, as it calls them."""
    for lists in (PICTURES, OTHERS):
        yield from lists.get(provider_type, {})


def _listed_name(provider_type: str, model: str) -> str:
    """Without what may stand around a model's name: a region, a collection, a publisher, a version."""
    if provider_type == "bedrock":
        return _IN_PART_OF_THE_WORLD.sub("", model.rpartition("/")[2]).partition(":")[0]
    if provider_type in ("gemini", "vertex"):
        return model.rpartition("/")[2].partition("@")[0]
    return model.lower() if provider_type == "nebius" else model
