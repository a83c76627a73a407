"""Every chat provider at once: a fake of each on a port of its own, and what the gateway must know of it."""

import dataclasses
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Credential, PriceOverride, Provider, Timeouts
from tests.support.providers.anthropic import running_anthropic
from tests.support.providers.azure import running_azure
from tests.support.providers.bedrock import CLAUDE, STATIC, running_bedrock
from tests.support.providers.cohere import running_cohere
from tests.support.providers.gemini import KEY, running_google
from tests.support.providers.huggingface import running_router
from tests.support.providers.mistral import FakeMistral
from tests.support.providers.openai_wire import FakeOpenAI, running_openai
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.replicate import running_replicate

KINDS: Final = tuple(name for name in PROVIDER_TYPES if name != "demo")
MODELS: Final[Mapping[str, str]] = {
    "openai": "gpt-4o-mini",
    "azure": "gpt-4o",
    "anthropic": "claude-opus-5",
    "groq": "openai/gpt-oss-120b",
    "cerebras": "gpt-oss-120b",
    "xai": "grok-4",
    "openrouter": "anthropic/claude-opus-5",
    "nebius": "Qwen/Qwen3-235B-A22B",
    "parasail": "parasail-llama-33-70b-fp8",
    "perplexity": "sonar-pro",
    "mistral": "magistral-medium-latest",
    "bedrock": CLAUDE,
    "gemini": "gemini-3-pro-preview",
    "vertex": "gemini-3-pro-preview",
    "cohere": "command-a-reasoning-08-2025",
    "replicate": "meta/meta-llama-3-70b-instruct",
    "ollama": "qwen3:8b",
    "vllm": "Qwen/Qwen3-8B",
    "sgl": "Qwen/Qwen3-8B",
    "huggingface": "groq/openai/gpt-oss-120b",
}
_OPTIONS: Final[Mapping[str, dict[str, str]]] = {
    "bedrock": {"region": "eu-central-1"},
    "vertex": {"location": "europe-west4"},
}
INPUT_NANOS, CACHED_NANOS, OUTPUT_NANOS = 1_000, 100, 2_000
"""What a token costs."""


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    """One provider's fake. `url` is the base URL that the gateway is given, `secret` what opens the fake."""

    kind: str
    fake: Any
    url: str
    secret: str

    def provider(self, name: str = "", *, listed: bool = False, stall_s: float = 60.0) -> Provider:
        """It, under this name; `listed`: the gateway asks it for its models."""
        model = MODELS[self.kind]
        return Provider(
            name=name or self.kind,
            type=self.kind,
            base_url=self.url,
            models=None if listed else (model,),
            credentials=(
                Credential(
                    name="main",
                    env=variable(self.kind),
                    aliases={model: "prod-chat"} if self.kind == "azure" else {},
                ),
            ),
            options=_OPTIONS.get(self.kind, {}),
            timeouts=Timeouts(between_chunks=stall_s),
        )


def variable(kind: str) -> str:
    """The environment variable with the secret of a house."""
    return f"HOUSE_{kind.upper()}"


def price_of(name: str, kind: str) -> PriceOverride:
    return PriceOverride(
        model=f"{name}/{MODELS[kind]}",
        input_per_million_nanos=INPUT_NANOS * 1_000_000,
        cached_read_per_million_nanos=CACHED_NANOS * 1_000_000,
        output_per_million_nanos=OUTPUT_NANOS * 1_000_000,
    )


def cost_of(prompt: int, completion: int, cached: int = 0) -> int:
    """Nano-dollars at those prices."""
    return (prompt - cached) * INPUT_NANOS + cached * CACHED_NANOS + completion * OUTPUT_NANOS


@asynccontextmanager
async def running_house(kind: str) -> AsyncIterator[House]:
    """The fake of one kind, running."""
    async with AsyncExitStack() as stack:
        if kind in _NATIVE:
            fake, url, secret = await _NATIVE[kind](stack)
        else:
            fake = FakeMistral() if kind == "mistral" else FakeOpenAI(QUIRKS[kind])
            url, secret = await stack.enter_async_context(running_openai(fake)), fake.key
            fake.models = (MODELS[kind],)
        yield House(kind, fake, url, secret)


@contextmanager
def known_to_gateways(*houses: House) -> Iterator[None]:
    """Their secrets are in the environment; OpenAI's own address is that of its fake, which then is OpenAI itself."""
    types = dict(PROVIDER_TYPES)
    with pytest.MonkeyPatch.context() as patch:
        for house in houses:
            patch.setenv(variable(house.kind), house.secret)
            if house.kind == "openai":
                types["openai"] = dataclasses.replace(types["openai"], base_url=house.url)
        for module in ("catalogue", "discovery"):
            patch.setattr(f"services.gateway.{module}.PROVIDER_TYPES", MappingProxyType(types))
        yield


Started = tuple[Any, str, str]


async def _anthropic(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_anthropic())
    return fake, f"{url}/v1", "anthropic-key"


async def _azure(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_azure())
    return fake, url, fake.key


async def _bedrock(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_bedrock())
    arn = f"arn:aws:bedrock:eu-central-1::foundation-model/{CLAUDE}"
    fake.models = [{"modelArn": arn, "modelId": CLAUDE, "inferenceTypesSupported": ["ON_DEMAND"]}]
    return fake, url, STATIC


async def _cohere(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_cohere())
    return fake, url, "cohere-key"


async def _gemini(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_google())
    return fake, f"{url}/v1beta", KEY


async def _vertex(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_google())
    return fake, url, _service_account(url)


async def _replicate(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_replicate())
    return fake, url, "replicate-token"


async def _huggingface(stack: AsyncExitStack) -> Started:
    fake, url = await stack.enter_async_context(running_router())
    return fake, url, fake.key


_NATIVE: Final[Mapping[str, Callable[[AsyncExitStack], Awaitable[Started]]]] = {
    "anthropic": _anthropic,
    "azure": _azure,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "gemini": _gemini,
    "vertex": _vertex,
    "replicate": _replicate,
    "huggingface": _huggingface,
}


@functools.cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _service_account(url: str) -> str:
    """A key as Google hands it out, for the fake's token server."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "acme-1",
            "private_key_id": "1",
            "private_key": _private_key(),
            "client_email": "gateway@acme-1.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
    )
