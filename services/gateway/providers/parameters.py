"""Fits a client's parameters to what a provider accepts; all else passes untouched.

Chat clients send the same parameters to every model. Where a provider would answer 400 to one, it is renamed,
replaced by the nearest it does accept, or left out; what was left out or replaced is reported.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import PICTURES, Operation
from shared.catalogue.provider_types import ProviderType

USER_MAX_CHARS: Final = 64
COMPATIBLE: Final = "openai-compatible"
"""The dialect of a provider of type openai at another address than OpenAI's own."""
STREAM_OPTIONS: Final = b'{"include_usage":true}'
_LOCAL_ONLY: Final = frozenset(
    {
        "keep_alive", "format", "think", "num_ctx", "num_batch", "num_gpu", "num_keep", "num_thread",
        "mirostat", "mirostat_eta", "mirostat_tau", "repeat_last_n", "tfs_z", "use_mmap", "use_mlock", "options",
    }
)  # fmt: skip
_SAMPLING_EXTRAS: Final = frozenset({"top_k", "min_p", "repeat_penalty", "repetition_penalty", "typical_p"})
_OPENAI_ONLY: Final = frozenset(
    {"prediction", "prompt_cache_key", "prompt_cache_retention", "verbosity", "store", "web_search_options"}
)
_CHAT: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one provider type wants different from what chat clients send."""

    drop: frozenset[str] = frozenset()
    """Chat parameters that it refuses."""
    rename: tuple[tuple[str, str], ...] = ()
    """(from, to) of chat parameters; the old one loses where both are there."""
    stream_options: bool = True
    """It knows `stream_options.include_usage`."""


@dataclass(slots=True)
class Adjusted:
    """What becomes of a body: fields to set, in the body's own notation, and fields to leave out."""

    changes: dict[str, bytes] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    """Names to report: dropped, or replaced by something else than what was asked for."""

    def leave_out(self, name: str) -> None:
        self.drop.add(name)
        self.dropped.append(name)


_OLDER_NAME: Final = (("max_completion_tokens", "max_tokens"),)
_HOSTED: Final = _LOCAL_ONLY | _SAMPLING_EXTRAS
_HOSTED_OTHER: Final = _HOSTED | _OPENAI_ONLY
_OPEN_WEIGHTS: Final = _LOCAL_ONLY | _OPENAI_ONLY | {"repeat_penalty"}
DIALECTS: Final[dict[str, Dialect]] = {
    "openai": Dialect(drop=_HOSTED),
    "azure": Dialect(drop=_HOSTED),
    "groq": Dialect(drop=_HOSTED_OTHER | {"logit_bias", "logprobs", "top_logprobs"}),
    "cerebras": Dialect(drop=_HOSTED_OTHER | {"frequency_penalty", "presence_penalty", "logit_bias"}),
    "xai": Dialect(drop=_HOSTED_OTHER | {"logit_bias"}),
    "mistral": Dialect(
        drop=_HOSTED_OTHER | {"logit_bias", "logprobs", "top_logprobs", "user", "service_tier"},
        rename=(*_OLDER_NAME, ("seed", "random_seed")),
        stream_options=False,
    ),
    "perplexity": Dialect(
        drop=_LOCAL_ONLY | (_OPENAI_ONLY - {"web_search_options"}) | {"min_p", "repeat_penalty"},
        rename=_OLDER_NAME,
    ),
    "openrouter": Dialect(drop=_LOCAL_ONLY, rename=(("repeat_penalty", "repetition_penalty"),)),
    "nebius": Dialect(drop=_OPEN_WEIGHTS),
    "parasail": Dialect(drop=_OPEN_WEIGHTS),
    "huggingface": Dialect(drop=_HOSTED_OTHER),
    # Somebody's own server that speaks OpenAI's format: nobody knows what it refuses, so all passes.
    COMPATIBLE: Dialect(),
    # These take anything: unknown parameters are ignored, and the local ones are theirs.
    "ollama": Dialect(),
    "vllm": Dialect(drop=_LOCAL_ONLY, rename=(("repeat_penalty", "repetition_penalty"),)),
    "sgl": Dialect(drop=_LOCAL_ONLY, rename=(("repeat_penalty", "repetition_penalty"),)),
}
_UNKNOWN: Final = Dialect()


def dialect_of(provider_type: ProviderType, base_url: str) -> str:
    """The name of the dialect that a server speaks: its type's, but for OpenAI's own, which is known by its address."""
    if provider_type.name == "openai" and base_url.rstrip("/") != provider_type.base_url:
        return COMPATIBLE
    return provider_type.name


def adjust(dialect: str, operation: Operation, model: str, body: ParsedBody) -> Adjusted:
    """The changes that fit `body` to `model` of a provider that speaks `dialect` (see `dialect_of`). Raises BadRequest on a field of a wrong type."""
    result = Adjusted()
    result.changes["model"] = body.encoded(model)
    if "user" in body and len(body.user) > USER_MAX_CHARS:
        result.leave_out("user")
    if operation in _CHAT and isinstance(body, JsonBody):
        _adjust_chat(dialect, operation, model, body, result)
    elif operation in PICTURES:
        _adjust_picture(model, body, result)
    return result


def _adjust_chat(name: str, operation: Operation, model: str, body: JsonBody, result: Adjusted) -> None:
    dialect = DIALECTS.get(name, _UNKNOWN)
    for parameter in body.names & dialect.drop:
        result.leave_out(parameter)
    for old, new in dialect.rename:
        _rename(body, old, new, result)
    if name in ("openai", "azure", COMPATIBLE) and operation is Operation.CHAT and _is_reasoning_model(model):
        _rename(body, "max_tokens", "max_completion_tokens", result)
        _system_to_developer(body, result)
    if body.stream and dialect.stream_options:
        result.changes["stream_options"] = _asking_for_usage(body)
    elif not body.stream and "stream_options" in body:
        result.drop.add("stream_options")  # refused without a stream; nothing is lost
    elif "stream_options" in body:
        result.drop.add("stream_options")  # such a provider sends usage unasked


def _rename(body: JsonBody, old: str, new: str, result: Adjusted) -> None:
    value = body.raw(old)
    if old not in body:
        return
    result.drop.add(old)
    if value is not None and body.raw(new) is None:
        result.changes[new] = value


def _asking_for_usage(body: JsonBody) -> bytes:
    """The client's stream options with usage switched on."""
    raw = body.raw("stream_options")
    if raw is None:
        return STREAM_OPTIONS
    try:
        options = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise BadRequest("`stream_options` must be an object.", param="stream_options") from error
    options["include_usage"] = msgspec.Raw(b"true")
    return msgspec.json.encode(options)


@lru_cache(maxsize=1024)
def _is_reasoning_model(model: str) -> bool:
    """OpenAI's models that refuse `max_tokens`, fine-tuned ones included."""
    return re.match(r"(?:ft:)?(?:gpt-[5-9]|o[1-9])", model) is not None and "-chat-latest" not in model


def _system_to_developer(body: JsonBody, result: Adjusted) -> None:
    raw = body.raw("messages")
    if raw is None or b'"system"' not in raw:
        return
    try:
        messages = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]])
    except msgspec.DecodeError as error:
        raise BadRequest("`messages` must be a list of objects.", param="messages") from error
    changed = False
    for message in messages:
        if bytes(message.get("role", b"")) == b'"system"':
            message["role"] = msgspec.Raw(b'"developer"')
            changed = True
    if changed:
        result.changes["messages"] = msgspec.json.encode(messages)


_SIZES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("gpt-image", ("1024x1024", "1536x1024", "1024x1536")),
    ("chatgpt-image", ("1024x1024", "1536x1024", "1024x1536")),
    ("dall-e-3", ("1024x1024", "1792x1024", "1024x1792")),
    ("dall-e-2", ("256x256", "512x512", "1024x1024")),
)


def _adjust_picture(model: str, body: ParsedBody, result: Adjusted) -> None:
    is_gpt = model.startswith(("gpt-image", "chatgpt-image"))
    if is_gpt and "response_format" in body:
        result.leave_out("response_format")
    size = body.text("size")
    sizes = next((sizes for prefix, sizes in _SIZES if model.startswith(prefix)), ())
    if not size or not sizes or size in sizes or (is_gpt and size == "auto"):
        return
    if size == "auto" or (nearest := nearest_size(size, sizes)) is None:
        result.leave_out("size")
        return
    result.changes["size"] = body.encoded(nearest)
    result.dropped.append("size")


def left_over(body: ParsedBody, taken: frozenset[str]) -> list[str]:
    """The client's fields that an adapter does nothing with, to be reported as left out."""
    return sorted(
        name
        for name in body.names - taken - {"model"}
        if not isinstance(body, JsonBody) or body.raw(name) is not None
    )


def nearest_size(size: str, sizes: tuple[str, ...]) -> str | None:
    """The size of the most similar shape, then of the most similar area; None when `size` is no WIDTHxHEIGHT."""
    wanted = _dimensions(size)
    if wanted is None:
        return None
    width, height = wanted

    def distance(candidate: str) -> tuple[float, int]:
        w, h = _dimensions(candidate) or (1, 1)
        shape = max(w * height, h * width) / min(w * height, h * width)
        return shape, abs(w * h - width * height)

    return min(sizes, key=distance)


def _dimensions(size: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]), int(match[2])
