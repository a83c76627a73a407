"""How each vendor that speaks OpenAI's format differs from OpenAI: data for one fake of them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.support.providers.script import Document

Placing = Literal["chunk", "last choice", "every chunk", "x_groq"]


def openai_error(status: int, message: str, param: str | None) -> Document:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


def flat_error(status: int, message: str, param: str | None) -> Document:
    """vLLM, SGLang, Mistral."""
    kind = "BadRequestError" if status == 400 else "error"
    return {"object": "error", "message": message, "type": kind, "param": param, "code": status}


def cerebras_error(status: int, message: str, param: str | None) -> Document:
    return {"message": message, "type": "invalid_request_error", "param": param, "code": "wrong_api_format"}


def xai_error(status: int, message: str, param: str | None) -> Document:
    return {"code": "Client specified an invalid argument", "error": message}


def openrouter_error(status: int, message: str, param: str | None) -> Document:
    return {
        "error": {"code": status, "message": message, "metadata": {"provider_name": "Chutes"}},
        "user_id": "u",
    }


def nebius_error(status: int, message: str, param: str | None) -> Document:
    if param is None:
        return {"detail": message}
    return {"detail": [{"type": "value_error", "loc": ["body", param], "msg": message, "input": None}]}


def mistral_error(status: int, message: str, param: str | None) -> Document:
    """Flat; what is wrong with a request stands in `detail`, as FastAPI says it."""
    shown: Any = message
    if param is not None:
        place = ["body", *param.replace("]", "").replace("[", ".").split(".")]
        shown = {"detail": [{"type": "extra_forbidden", "loc": place, "msg": message, "input": None}]}
    return {"object": "error", "message": shown, "type": "invalid_request_error", "param": None, "code": None}


def plain_error(status: int, message: str, param: str | None) -> Document:
    """Hugging Face's router."""
    return {"error": message}


def nested(message: str) -> Document:
    """An error inside a stream or a good answer, as most send it."""
    return {"error": {"message": message, "type": "server_error", "param": None, "code": "server_error"}}


def nested_flat(message: str) -> Document:
    """vLLM, SGLang."""
    return {"error": flat_error(503, message, None)}


def nested_by_cerebras(message: str) -> Document:
    return nested(message) | {"status_code": 503}


def nested_by_xai(message: str) -> Document:
    return {"code": "The service is currently unavailable", "error": message}


def nested_by_openrouter(message: str) -> Document:
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}
    error = {"code": 503, "message": message, "metadata": {"provider_name": "Chutes"}}
    chunk = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return chunk | {"provider": "Chutes", "error": error, "choices": [choice]}


def azure_error(status: int, message: str, param: str | None) -> Document:
    return {"error": {"code": str(status), "message": message, "param": param, "type": None}}


@dataclass(frozen=True, slots=True)
class Quirks:
    """One vendor. The defaults are OpenAI."""

    root: str = "/v1"
    """What stands before `/chat/completions`."""
    error: Callable[[int, str, str | None], Document] = openai_error
    """Status, message and parameter, of an answer with an error status."""
    invalid: int = 400
    """The status of a request that it cannot read."""
    stream_error: Callable[[str], Document] = nested
    """An error in a stream, or in an answer with a good status."""
    done_after_error: bool = False
    strict: bool = True
    """It refuses what OpenAI's types do not know; else it ignores that."""
    refuses: frozenset[str] = frozenset()
    """Parameters of OpenAI's that it does not have."""
    openais_models: bool = False
    """Its models are OpenAI's, and refuse what those do."""
    takes: frozenset[str] = frozenset()
    """Parameters that OpenAI does not have."""
    told_back: frozenset[str] = frozenset()
    """Fields of an assistant's message that it takes back, beside OpenAI's."""
    bare_items: bool = False
    """It takes items of its responses back without their ids and other trimmings, as Codex sends them."""
    thought: str = ""
    """The field that reasoning comes in; empty: it does not come."""
    usage: Placing = "chunk"
    """Where the usage of a stream stands: in a chunk of its own, which a client has to ask for; in the chunk that
    ends the choice; in every chunk; or in that of Groq's."""
    usage_extras: Mapping[str, Any] = field(default_factory=dict)
    """More in the usage, such as what it costs."""
    reasoning_beside: bool = False
    """Reasoning tokens are not among the completion tokens."""
    chunk_extras: Mapping[str, Any] = field(default_factory=dict)
    """More in every chunk and answer."""
    role_in_each: bool = False
    """Every delta says whose it is, not the first alone."""
    comments: tuple[str, ...] = ()
    """Comments in the stream, before anything else."""
    done: bool = True
    """The stream ends with `[DONE]`."""
    retry_after: bool = True
    """It says how long to wait at its limit."""
    lists: bool = True
    """It lists its models."""
    model_extras: Mapping[str, Any] = field(default_factory=dict)


# What only OpenAI itself (and Azure) has.
_ONLY_OPENAI: Final = frozenset(
    {"prediction", "prompt_cache_key", "prompt_cache_retention", "verbosity", "store", "web_search_options"}
)
_PERPLEXITY_COST: Final = {
    "input_tokens_cost": 0.000025,
    "output_tokens_cost": 0.000014,
    "request_cost": 0.005,
    "total_cost": 0.005039,
}

_OWN_SERVER: Final = Quirks(
    error=flat_error,
    stream_error=nested_flat,
    done_after_error=True,
    strict=False,
    thought="reasoning_content",
    retry_after=False,
)

QUIRKS: Final[Mapping[str, Quirks]] = {
    "openai": Quirks(
        openais_models=True,
        bare_items=True,
        chunk_extras={"service_tier": "default", "system_fingerprint": "fp_1"},
    ),
    "azure": Quirks(openais_models=True, error=azure_error, chunk_extras={"system_fingerprint": "fp_1"}),
    "groq": Quirks(
        root="/openai/v1",
        refuses=_ONLY_OPENAI | {"logprobs", "top_logprobs", "logit_bias"},
        thought="reasoning",
        told_back=frozenset({"reasoning"}),
        usage="x_groq",
        usage_extras={
            "queue_time": 0.07,
            "prompt_time": 0.006,
            "completion_time": 0.022,
            "total_time": 0.028,
        },
        model_extras={"active": True, "context_window": 131072, "public_apps": None},
    ),
    "cerebras": Quirks(
        error=cerebras_error,
        stream_error=nested_by_cerebras,
        refuses=_ONLY_OPENAI | {"frequency_penalty", "presence_penalty", "logit_bias"},
        thought="reasoning",
        told_back=frozenset({"reasoning"}),
        usage="last choice",
        chunk_extras={"time_info": {"queue_time": 0.0001, "total_time": 0.02, "created": 1_700_000_000}},
        done=False,
        retry_after=False,
    ),
    "xai": Quirks(
        error=xai_error,
        stream_error=nested_by_xai,
        strict=False,
        refuses=frozenset({"logit_bias"}),
        thought="reasoning_content",
        usage_extras={"num_sources_used": 0},
        reasoning_beside=True,
        retry_after=False,
    ),
    "openrouter": Quirks(
        root="/api/v1",
        error=openrouter_error,
        stream_error=nested_by_openrouter,
        strict=False,
        thought="reasoning",
        usage_extras={"cost": 0.00095, "cost_details": {"upstream_inference_cost": None}},
        chunk_extras={"provider": "Chutes"},
        comments=("OPENROUTER PROCESSING", "OPENROUTER PROCESSING"),
        retry_after=False,
        model_extras={"pricing": {"prompt": "0.000001"}, "context_length": 128000},
    ),
    "nebius": Quirks(error=nebius_error, strict=False, refuses=_ONLY_OPENAI, thought="reasoning_content"),
    "parasail": Quirks(strict=False, refuses=_ONLY_OPENAI, thought="reasoning_content"),
    "perplexity": Quirks(
        root="",
        refuses=(_ONLY_OPENAI - {"web_search_options"}) | {"max_completion_tokens"},
        takes=frozenset({"top_k", "search_mode", "search_domain_filter", "return_images"}),
        usage="every chunk",
        role_in_each=True,
        usage_extras={"search_context_size": "low", "cost": _PERPLEXITY_COST},
        chunk_extras={"citations": ["https://example.org/"], "search_results": []},
        done=False,
        lists=False,
        retry_after=False,
    ),
    "ollama": Quirks(strict=False, thought="reasoning", retry_after=False),
    "vllm": _OWN_SERVER,
    "sgl": _OWN_SERVER,
    "mistral": Quirks(error=mistral_error, invalid=422, usage="last choice"),
    "huggingface": Quirks(
        error=plain_error,
        refuses=_ONLY_OPENAI,
        thought="reasoning",
        told_back=frozenset({"reasoning"}),
        role_in_each=True,
        done=False,
        retry_after=False,
    ),
}
