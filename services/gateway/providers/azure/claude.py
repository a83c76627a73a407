"""Claude at Azure: Anthropic's format at the resource's own address, with the resource's key or a token of Entra's."""

import re
from typing import Final

import msgspec

from services.gateway.providers.anthropic.adapter import AnthropicAdapter
from services.gateway.providers.azure.entra import sealed_principal
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Prepared, Target
from services.gateway.providers.token_client import with_token
from services.gateway.upstream.port import UpstreamRequest

PATH: Final = "/anthropic/v1"
_OF_A_KIND: Final = re.compile(r"/(?:openai|anthropic)(?:/v1)?$")
OPERATIONS: Final = frozenset({Operation.CHAT, Operation.MESSAGES, Operation.COUNT_TOKENS})


def is_claude(model: str) -> bool:
    """Whether a model at Azure is one of Anthropic's; its deployment may have any name."""
    return "claude" in model.lower()


class AzureClaudeAdapter(AnthropicAdapter):
    """See Adapter. Answers, streams and errors are Anthropic's."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        principal = sealed_principal(target)
        key = "" if principal is not None else target.secret.strip()
        own = {"x-api-key": key, "api-key": key} if key else {}
        provider = msgspec.structs.replace(
            target.provider,
            base_url=resource_of(target) + PATH,
            headers={**own, **target.provider.headers},
        )
        prepared = super().build(
            operation, msgspec.structs.replace(target, provider=provider, secret=""), body
        )
        if principal is None:
            return prepared
        return msgspec.structs.replace(prepared, request=with_token(prepared.request, principal))

    def models_request(self, target: Target) -> UpstreamRequest | None:
        """None: as for every other model there, nobody lists what is deployed."""
        return None


def resource_of(target: Target) -> str:
    """The address of the resource, below which each kind of model has its own, which people give as often."""
    return _OF_A_KIND.sub("", target.provider.base_url.rstrip("/"))


def proves_port(adapter: AzureClaudeAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
