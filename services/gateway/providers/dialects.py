"""What each provider type wants different from what chat clients send. Data; `parameters.py` applies it.

A parameter is dropped where the answer stays what was asked for without it, and refused where the client would get
something else. Whatever is not named here passes untouched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from services.gateway.providers.conversation import CACHING
from services.gateway.providers.operations import Operation
from shared.catalogue.provider_types import ProviderType, is_ones_own

COMPATIBLE: Final = "openai-compatible"
"""The dialect of a provider of type openai at another address than OpenAI's own."""

_LOCAL_ONLY: Final = frozenset(
    {
        "keep_alive", "format", "think", "num_ctx", "num_batch", "num_gpu", "num_keep", "num_thread",
        "mirostat", "mirostat_eta", "mirostat_tau", "repeat_last_n", "tfs_z", "use_mmap", "use_mlock", "options",
    }
)  # fmt: skip
_SAMPLING_EXTRAS: Final = frozenset({"top_k", "min_p", "repeat_penalty", "repetition_penalty", "typical_p"})
_OPENAI_ONLY: Final = frozenset(
    {
        "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "verbosity", "store",
        "web_search_options", "safety_identifier", "moderation",
    }
)  # fmt: skip
_OF_ANSWERS: Final = frozenset(
    {"reasoning_content", "reasoning", "reasoning_details", "extra_content", "annotations"}
)
"""What the answers of some models carry, and clients send back to any."""
_BREAKPOINT: Final = frozenset({"prompt_cache_breakpoint"})
"""OpenAI's own marker of prompt caching."""
_FOREIGN: Final = CACHING | _OF_ANSWERS | _BREAKPOINT
_SOUNDS: Final = frozenset({"audio", "modalities"})
_FUNCTIONS: Final = frozenset({"functions", "function_call"})


@dataclass(frozen=True, slots=True)
class Fields:
    """What becomes of the parameters of one operation."""

    drop: frozenset[str] = frozenset()
    refuse: frozenset[str] = frozenset()
    rename: tuple[tuple[str, str], ...] = ()
    """(from, to); the old one loses where both are there."""


NOTHING: Final = Fields()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one provider type wants different."""

    chat: Fields = NOTHING
    """Of chat and text completions."""
    others: Mapping[Operation, Fields] = field(default_factory=lambda: MappingProxyType({}))
    synonyms: tuple[tuple[str, str, str], ...] = ()
    """(chat parameter, value, how it is said here)."""
    nearest: tuple[tuple[str, str, str], ...] = ()
    """(chat parameter, value that it lacks, the nearest that it has); an empty one: leave it out."""
    stream_options: bool = True
    """It knows `stream_options.include_usage`."""
    reasoning_object: bool = False
    """It knows the objects `reasoning` and `thinking` beside OpenAI's `reasoning_effort`."""
    developer: bool = False
    """It knows the role `developer`."""
    message_fields: frozenset[str] = frozenset()
    """Fields of messages, of their parts and calls, and of tools, that it refuses."""
    strict: bool = False
    """It refuses the empty fields that messages of OpenAI's answers have, when they come back to it."""


_OLDER_NAME: Final = (("max_completion_tokens", "max_tokens"),)
_HOSTED: Final = _LOCAL_ONLY | _SAMPLING_EXTRAS | CACHING
_HOSTED_OTHER: Final = _HOSTED | _OPENAI_ONLY
_OPEN_WEIGHTS: Final = _LOCAL_ONLY | _OPENAI_ONLY | CACHING | {"repeat_penalty"}
_REPETITION: Final = (("repeat_penalty", "repetition_penalty"),)
_LENIENT: Final = CACHING | _BREAKPOINT | {"reasoning_details", "extra_content"}
_LOW_TO_HIGH: Final = (
    ("reasoning_effort", "minimal", "low"),
    ("reasoning_effort", "xhigh", "high"),
    ("reasoning_effort", "max", "high"),
)
_SERVED_BY_ONESELF: Final = Dialect(
    Fields(drop=_LOCAL_ONLY, rename=_REPETITION), nearest=_LOW_TO_HIGH, message_fields=_LENIENT
)
DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        "openai": Dialect(Fields(drop=_HOSTED), developer=True, message_fields=CACHING | _OF_ANSWERS),
        "azure": Dialect(Fields(drop=_HOSTED), developer=True, message_fields=CACHING | _OF_ANSWERS),
        "groq": Dialect(
            Fields(drop=_HOSTED_OTHER | {"logit_bias"}, refuse=frozenset({"logprobs", "top_logprobs"})),
            nearest=_LOW_TO_HIGH,
            message_fields=(_FOREIGN | {"name"}) - {"reasoning"},
            strict=True,
        ),
        "cerebras": Dialect(
            Fields(drop=_HOSTED_OTHER | {"frequency_penalty", "presence_penalty", "logit_bias"}),
            nearest=_LOW_TO_HIGH,
            message_fields=_FOREIGN - {"reasoning"},
            strict=True,
        ),
        "xai": Dialect(
            Fields(drop=_HOSTED_OTHER | {"logit_bias"}),
            nearest=_LOW_TO_HIGH,
            developer=True,
            message_fields=_LENIENT,
        ),
        "mistral": Dialect(
            Fields(
                drop=(_LOCAL_ONLY | _OPENAI_ONLY | CACHING | {"min_p", "typical_p", "logit_bias", "user"})
                - {"prediction", "prompt_cache_key", "web_search_options"},
                refuse=_SOUNDS | _FUNCTIONS | {"web_search_options"},
                rename=(*_OLDER_NAME, ("seed", "random_seed"), *_REPETITION),
            ),
            others=MappingProxyType(
                {
                    Operation.EMBEDDINGS: Fields(
                        drop=frozenset({"user"}), rename=(("dimensions", "output_dimension"),)
                    ),
                    Operation.TRANSCRIPTIONS: Fields(
                        drop=frozenset({"prompt", "include", "chunking_strategy"}),
                        refuse=frozenset({"response_format"}),
                    ),
                }
            ),
            synonyms=(("tool_choice", "required", "any"), ("service_tier", "default", "standard_only")),
            nearest=(
                ("service_tier", "flex", ""),
                ("service_tier", "scale", ""),
                ("service_tier", "priority", ""),
                ("service_tier", "fast", ""),
            ),
            stream_options=False,
            message_fields=_FOREIGN | {"name"},
            strict=True,
        ),
        "perplexity": Dialect(
            Fields(
                drop=_LOCAL_ONLY
                | CACHING
                | (_OPENAI_ONLY - {"web_search_options"})
                | {"min_p", "repeat_penalty"},
                rename=_OLDER_NAME,
            ),
            nearest=_LOW_TO_HIGH,
            message_fields=_FOREIGN,
        ),
        "openrouter": Dialect(
            Fields(drop=_LOCAL_ONLY, rename=_REPETITION), reasoning_object=True, developer=True
        ),
        "nebius": Dialect(Fields(drop=_OPEN_WEIGHTS), nearest=_LOW_TO_HIGH, message_fields=_LENIENT),
        "parasail": Dialect(Fields(drop=_OPEN_WEIGHTS), nearest=_LOW_TO_HIGH, message_fields=_LENIENT),
        "huggingface": Dialect(
            Fields(drop=_HOSTED_OTHER, rename=_OLDER_NAME), message_fields=_FOREIGN, strict=True
        ),
        # Somebody's own server that speaks OpenAI's format: nobody knows what it refuses, so all passes.
        COMPATIBLE: Dialect(reasoning_object=True, developer=True),
        # These take anything: unknown parameters are ignored, and the local ones are theirs.
        "ollama": Dialect(Fields(rename=_OLDER_NAME), nearest=_LOW_TO_HIGH, message_fields=_LENIENT),
        "vllm": _SERVED_BY_ONESELF,
        "sgl": _SERVED_BY_ONESELF,
    }
)


def dialect_of(provider_type: ProviderType, base_url: str) -> str:
    """The name of the dialect that a server speaks: its type's, but for OpenAI's own, which is known by its address."""
    return COMPATIBLE if is_ones_own(provider_type, base_url) else provider_type.name


def dialect(name: str) -> Dialect:
    """A type that has none of its own is spoken to as anybody's server."""
    return DIALECTS.get(name, DIALECTS[COMPATIBLE])


_NO_EFFORT: Final = re.compile(r"grok-(?:2|3(?!-mini)|4$|4-|4\.1|4\.20(?!-multi-agent)|code|beta|vision)")


@lru_cache(maxsize=1024)
def grok_fields(fields: Fields, model: str) -> Fields:
    """`fields` and what else a Grok refuses: reasoning models penalties and stops, and most to be told how hard to think."""
    drop, refuse = set(fields.drop), set(fields.refuse)
    if _NO_EFFORT.match(model) or "non-reasoning" in model:
        drop.add("reasoning_effort")
    if "non-reasoning" not in model and not re.match(r"grok-(?:2|beta|vision)", model):
        drop.add("presence_penalty")
        if not re.match(r"grok-3(?!-mini)", model):
            drop.add("frequency_penalty")
            refuse.add("stop")
    return Fields(frozenset(drop), frozenset(refuse), fields.rename)
