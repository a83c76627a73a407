"""Which adapter and which client serve a provider type."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.gateway.providers.anthropic.adapter import AnthropicAdapter
from services.gateway.providers.azure.adapter import AzureAdapter
from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.cohere.adapter import CohereAdapter
from services.gateway.providers.gemini.adapter import GeminiAdapter
from services.gateway.providers.huggingface.adapter import HuggingFaceAdapter
from services.gateway.providers.huggingface.talk import FetchFiles
from services.gateway.providers.mistral.adapter import MistralAdapter
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.port import Adapter
from services.gateway.providers.replicate.adapter import ReplicateAdapter
from services.gateway.providers.vertex.adapter import VertexAdapter
from services.gateway.upstream.port import UpstreamClient
from shared.catalogue.provider_types import ProviderType, Wire


@dataclass(frozen=True, slots=True)
class Channel:
    """How one wire format is spoken, and over what."""

    adapter: Adapter
    client: UpstreamClient


class Channels:
    """All channels of one gateway. Whoever made the clients closes them."""

    def __init__(
        self,
        *,
        network: UpstreamClient,
        demo: UpstreamClient,
        azure: UpstreamClient,
        aws: UpstreamClient,
        vertex: UpstreamClient,
        huggingface: UpstreamClient,
        files: FetchFiles,
    ) -> None:
        """`files` fetches what providers' models made, wherever it lies."""
        openai = OpenAIAdapter()
        self._by_wire: Mapping[Wire, Channel] = MappingProxyType(
            {
                "openai": Channel(openai, network),
                "demo": Channel(openai, demo),
                "anthropic": Channel(AnthropicAdapter(), network),
                "azure": Channel(AzureAdapter(), azure),
                "bedrock": Channel(BedrockAdapter(), aws),
                "cohere": Channel(CohereAdapter(), network),
                "huggingface": Channel(HuggingFaceAdapter(files), huggingface),
                "mistral": Channel(MistralAdapter(), network),
                "replicate": Channel(ReplicateAdapter(), network),
                "gemini": Channel(GeminiAdapter(), network),
                "vertex": Channel(VertexAdapter(), vertex),
            }
        )

    def channel_for(self, kind: ProviderType) -> Channel:
        return self._by_wire[kind.wire]

    def adapter_for(self, kind: ProviderType) -> Adapter:
        return self._by_wire[kind.wire].adapter

    def client_for(self, kind: ProviderType) -> UpstreamClient:
        return self._by_wire[kind.wire].client
