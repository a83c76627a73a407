"""The provider types: what is known of a kind of provider before anybody configures one. Data, no behaviour.

`type` in finops.yaml names one of these. A server that speaks OpenAI's format but has no type of its own is
`type: openai` with its own `base_url`. What parameters a type wants different is the gateway's business
(`services/gateway/providers/`); prices are the price book's (`shared/pricing/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Wire = Literal[
    "openai",
    "demo",
    "anthropic",
    "azure",
    "gemini",
    "vertex",
    "bedrock",
    "cohere",
    "mistral",
    "replicate",
    "huggingface",
]
"""The format that the provider speaks: which adapter of the gateway serves it."""

Auth = Literal["bearer", "optional_bearer", "none"]

Endpoint = Literal[
    "chat.completions",
    "completions",
    "embeddings",
    "images.generations",
    "images.edits",
    "images.variations",
    "audio.speech",
    "audio.transcriptions",
    "audio.translations",
    "moderations",
    "rerank",
    "responses",
    "messages",
    "messages.count_tokens",
]
"""As in events: the path below the base URL with dots for slashes."""


@dataclass(frozen=True, slots=True)
class ProviderType:
    """One kind of provider."""

    name: str
    wire: Wire
    base_url: str
    """Ends before `/chat/completions`, so it includes `/v1` where the provider has it. Empty: must be given."""
    env_vars: tuple[str, ...]
    """Environment variables that people keep its API key in, the first that is set wins."""
    operations: frozenset[Endpoint]
    """What it can do; anything else is refused before it is called."""
    auth: Auth = "bearer"
    base_url_env_vars: tuple[str, ...] = ()
    """Environment variables that people keep its address in; with one of them set no key is needed."""
    option_env_vars: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(option, environment variables that people keep it in): a region, a project, the version of an API."""
    lists_models: bool = True
    """It answers `GET {base_url}/models`."""
    lists_all: bool = True
    """Its list has every name that it can be asked for; else (aliases, variants, profiles) others are passed on as well."""
    query_options: tuple[str, ...] = ()
    """Options that stand in the query of every call."""
    static_models: tuple[str, ...] = ()
    """The models where it has no such list, else those to assume while the list is not known."""
    unlisted_models: tuple[str, ...] = ()
    """The models that it has beside those in its list."""
    model_wire_form: Literal["plain", "suffixed"] = "plain"
    """`suffixed`: our `{inference_provider}/{org}/{model}` is sent as `{org}/{model}:{inference_provider}`."""


_CHAT: Final[frozenset[Endpoint]] = frozenset({"chat.completions"})
_COUNTED: Final[frozenset[Endpoint]] = frozenset({"messages.count_tokens"})
_TEXT: Final[frozenset[Endpoint]] = _CHAT | {"completions"}
_TEXT_AND_EMBEDDINGS: Final[frozenset[Endpoint]] = _TEXT | {"embeddings"}
_ALL: Final[frozenset[Endpoint]] = _TEXT_AND_EMBEDDINGS | {
    "images.generations",
    "images.edits",
    "audio.speech",
    "audio.transcriptions",
    "moderations",
}
_OPENAI: Final[frozenset[Endpoint]] = _ALL | {"images.variations", "audio.translations"}

_TYPES: Final = (
    ProviderType(
        "openai", "openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",), _OPENAI | {"responses"}
    ),
    ProviderType(
        "azure",
        "azure",
        "",
        ("AZURE_OPENAI_API_KEY",),
        _ALL - {"moderations"} | {"audio.translations", "responses", "messages", "messages.count_tokens"},
        auth="optional_bearer",
        base_url_env_vars=("AZURE_OPENAI_ENDPOINT",),
        option_env_vars=(("api_version", ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION")),),
        lists_models=False,
    ),
    ProviderType(
        "anthropic",
        "anthropic",
        "https://api.anthropic.com/v1",
        ("ANTHROPIC_API_KEY",),
        _CHAT | {"messages", "messages.count_tokens"},
        lists_all=False,
    ),
    ProviderType(
        "groq",
        "openai",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        _CHAT | {"audio.speech", "audio.transcriptions", "audio.translations"},
    ),
    ProviderType("cerebras", "openai", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), _TEXT),
    ProviderType(
        "xai",
        "openai",
        "https://api.x.ai/v1",
        ("XAI_API_KEY",),
        _TEXT | {"images.generations", "responses"},
        lists_all=False,
    ),
    ProviderType(
        "openrouter",
        "openai",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        _TEXT_AND_EMBEDDINGS | {"responses"},
        lists_all=False,
    ),
    ProviderType(
        "nebius",
        "openai",
        "https://api.tokenfactory.nebius.com/v1",
        ("NEBIUS_API_KEY",),
        _TEXT_AND_EMBEDDINGS | {"images.generations"},
        query_options=("ai_project_id",),
    ),
    ProviderType("parasail", "openai", "https://api.parasail.io/v1", ("PARASAIL_API_KEY",), _CHAT),
    ProviderType(
        "perplexity",
        "openai",
        "https://api.perplexity.ai",
        ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY", "PPLX_API_KEY"),
        _CHAT,
        lists_models=False,
        static_models=("sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"),
    ),
    ProviderType(
        "mistral",
        "mistral",
        "https://api.mistral.ai/v1",
        ("MISTRAL_API_KEY",),
        _TEXT_AND_EMBEDDINGS | {"audio.speech", "audio.transcriptions", "moderations"},
    ),
    ProviderType(
        "bedrock",
        "bedrock",
        "https://bedrock-runtime.{region}.amazonaws.com",
        ("AWS_BEARER_TOKEN_BEDROCK",),
        _TEXT_AND_EMBEDDINGS
        | _COUNTED
        | {"images.generations", "images.edits", "images.variations", "rerank"},
        auth="optional_bearer",
        option_env_vars=(("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),),
        lists_all=False,
    ),
    ProviderType(
        "gemini",
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        _CHAT
        | _COUNTED
        | {"embeddings", "images.generations", "images.edits", "audio.speech", "audio.transcriptions"},
    ),
    ProviderType(
        "vertex",
        "vertex",
        "https://aiplatform.googleapis.com",
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        _CHAT
        | _COUNTED
        | {
            "embeddings",
            "images.generations",
            "images.edits",
            "audio.speech",
            "audio.transcriptions",
            "rerank",
            "messages",
        },
        auth="optional_bearer",
        option_env_vars=(
            ("project", ("GOOGLE_CLOUD_PROJECT",)),
            ("location", ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION")),
        ),
        lists_all=False,
        static_models=(
            "gemini-3.8-flash",
            "gemini-3.1-pro-preview",
            "gemini-2.5-pro",
            "gemini-2.5-flash",
            "gemini-2.5-flash-lite",
            "gemini-2.5-flash-image",
            "gemini-embedding-001",
            "text-embedding-005",
            "imagen-4.0-generate-001",
            "semantic-ranker-default-004",
        ),
        unlisted_models=("semantic-ranker-default-004",),
    ),
    ProviderType(
        "cohere",
        "cohere",
        "https://api.cohere.com",
        ("COHERE_API_KEY", "CO_API_KEY"),
        _CHAT | {"embeddings", "audio.transcriptions", "rerank"},
    ),
    ProviderType(
        "replicate",
        "replicate",
        "https://api.replicate.com",
        ("REPLICATE_API_TOKEN",),
        _TEXT | {"images.generations", "images.edits"},
        lists_all=False,
    ),
    ProviderType(
        "ollama",
        "openai",
        "",
        ("OLLAMA_API_KEY",),
        _TEXT_AND_EMBEDDINGS,
        auth="optional_bearer",
        base_url_env_vars=("OLLAMA_BASE_URL", "OLLAMA_HOST"),
        lists_all=False,
    ),
    ProviderType(
        "vllm",
        "openai",
        "",
        ("VLLM_API_KEY",),
        _TEXT_AND_EMBEDDINGS | {"audio.transcriptions", "audio.translations", "rerank"},
        auth="optional_bearer",
        base_url_env_vars=("VLLM_BASE_URL",),
    ),
    ProviderType(
        "sgl",
        "openai",
        "",
        ("SGL_API_KEY", "SGLANG_API_KEY"),
        _TEXT_AND_EMBEDDINGS,
        auth="optional_bearer",
        base_url_env_vars=("SGL_BASE_URL", "SGLANG_BASE_URL"),
    ),
    ProviderType(
        "huggingface",
        "huggingface",
        "https://router.huggingface.co/v1",
        ("HF_TOKEN", "HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN"),
        _CHAT | {"embeddings", "images.generations", "images.edits", "audio.speech", "audio.transcriptions"},
        lists_all=False,
        model_wire_form="suffixed",
    ),
    ProviderType(
        "demo",
        "demo",
        "demo:",
        (),
        _ALL,
        auth="none",
        lists_models=False,
        static_models=("echo", "lorem", "embedding", "image", "speech", "transcription", "moderation"),
    ),
)

PROVIDER_TYPES: Final[Mapping[str, ProviderType]] = MappingProxyType({kind.name: kind for kind in _TYPES})


def is_ones_own(kind: ProviderType, base_url: str) -> bool:
    """A server of type openai at another address than OpenAI's is somebody's own: of it nothing is known for certain."""
    return kind.name == "openai" and base_url.rstrip("/") != kind.base_url


def model_on_wire(kind: ProviderType, model: str) -> str:
    """The model's name as the provider wants it in a request."""
    if kind.model_wire_form == "plain" or model.count("/") < 2:
        return model
    inference_provider, _, rest = model.partition("/")
    return f"{rest}:{inference_provider}"


def base_url_from_environment(kind: ProviderType, environ: Mapping[str, str]) -> str:
    """The address that the environment gives for a type; empty when it gives none.

    The variables are other programs': Ollama's may lack the scheme, the port and `/v1`, and may name the address
    that a server listens on, which nobody can call.
    """
    text = next(
        (environ[name].strip() for name in kind.base_url_env_vars if environ.get(name, "").strip()), ""
    )
    if not text:
        return ""
    if kind.wire == "azure":
        return text.rstrip("/")  # the address of the resource; the rest of the path is each deployment's own
    scheme, separator, rest = text.rstrip("/").partition("://")
    if not separator:
        scheme, rest = "http", text.rstrip("/")
    authority, slash, path = rest.partition("/")
    authority = authority.replace("0.0.0.0", "127.0.0.1", 1)
    if kind.name == "ollama" and scheme == "http" and ":" not in authority:
        authority += ":11434"
    return f"{scheme}://{authority}/{path}" if slash else f"{scheme}://{authority}/v1"
