"""Gemini's token counts in our terms."""

from collections.abc import Iterable, Mapping
from typing import Final

from services.gateway.providers.gemini.thinking import generation_of
from services.gateway.providers.gemini.wire import Grounding, ModalityCount, UsageMetadata
from services.gateway.providers.usage import Usage, tier_of
from shared.events import Tokens

FINISH_REASONS: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
}
UNSPECIFIED: Final = "FINISH_REASON_UNSPECIFIED"
_ON_DEMAND: Final = "ON_DEMAND_"


def finish_reason_of(reason: str, *, calls_tools: bool) -> str:
    """OpenAI's word for it. A malformed call or another fault of the model's ends the answer all the same: `stop`."""
    found = FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if calls_tools and found == "stop" else found


def usage_of(counts: UsageMetadata, *, images: int = 0, searches: int = 0) -> Usage:
    """Thoughts are counted beside the candidates, and what tools put into the prompt beside the prompt.

    A recording that came out of the cache is in both counts of audio; here it is cached, and nothing else.
    """
    cached_audio = tokens_of("AUDIO", counts.cache_tokens_details)
    thoughts = _count(counts.thoughts_token_count)
    return Usage(
        Tokens(
            prompt=_count(counts.prompt_token_count) + _count(counts.tool_use_prompt_token_count),
            completion=_count(counts.candidates_token_count) + thoughts,
            cached_read=_count(counts.cached_content_token_count),
            reasoning=thoughts,
            prompt_audio=_count(tokens_of("AUDIO", counts.prompt_tokens_details) - cached_audio),
            completion_audio=tokens_of("AUDIO", counts.candidates_tokens_details),
            completion_image=tokens_of("IMAGE", counts.candidates_tokens_details),
            images=images,
            searches=searches,
            prompt_image=tokens_of("IMAGE", counts.prompt_tokens_details),
        ),
        service_tier=tier_of(counts.service_tier or counts.traffic_type.removeprefix(_ON_DEMAND)),
    )


def searches_in(grounding: Grounding | None, model: str) -> int:
    """As Google bills them: each search since Gemini 3, the answer that rests on any before."""
    found = len(grounding.web_search_queries) + len(grounding.image_search_queries) if grounding else 0
    return found if generation_of(model) >= 3 else min(found, 1)


def tokens_of(modality: str, details: Iterable[ModalityCount]) -> int:
    """How many of the tokens are of one kind."""
    return sum(_count(detail.token_count) for detail in details if detail.modality == modality)


def _count(value: int) -> int:
    return max(0, value)
