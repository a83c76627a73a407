"""Azure OpenAI: OpenAI's bodies at addresses of deployments, with a key of the resource or a token of Entra's."""

import re
from typing import Final
from urllib.parse import quote

from services.gateway.providers.azure.claude import resource_of
from services.gateway.providers.azure.entra import sealed_principal
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import Unsupported
from services.gateway.providers.openai import CHUNKED, OpenAIAdapter, streams_by
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import adjust
from services.gateway.providers.port import Adapter, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.responses.native import adjust_responses
from services.gateway.providers.token_client import with_token
from services.gateway.upstream.port import UpstreamRequest

API_VERSION: Final = "2024-10-21"
"""The newest that is not a preview; `options.api_version` replaces it for every operation at a deployment."""
PREVIEW_VERSION: Final = "2025-04-01-preview"
RESPONSES_VERSION: Final = "preview"
"""They have an address of their own, whose versions have no dates."""
_PREVIEW: Final = frozenset({Operation.IMAGES, Operation.IMAGE_EDITS, Operation.SPEECH})
"""What the stable version lacks, or lacks for the newer models."""
_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class AzureAdapter(OpenAIAdapter):
    """See Adapter. Answers, streams and errors are OpenAI's."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation.value not in target.type.operations:
            raise Unsupported(
                f"{target.provider.name} (azure) does not offer {operation.value.replace('.', ' ')}."
            )
        deployment = target.alias or target.model
        if operation is Operation.RESPONSES and isinstance(body, JsonBody):
            adjusted = adjust_responses("azure", target.model, body)
        else:
            adjusted = adjust("azure", operation, target.model, body)
        adjusted.changes["model"] = body.encoded(deployment)
        streams = streams_by(operation, body)
        request = UpstreamRequest(
            method="POST",
            url=_url(target, operation, deployment),
            headers=_headers(
                target, "text/event-stream" if streams else "*/*", content_type=body.content_type
            ),
            body=body.with_changes(adjusted.changes, adjusted.drop),
            timeouts=target.timeouts,
        )
        dropped = tuple(sorted(adjusted.dropped))
        principal = sealed_principal(target)
        if principal is not None:
            request = with_token(request, principal)
        return Prepared(request, streams, dropped, picture=adjusted.picture)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return AzureRelay(options) if operation in CHUNKED else super().relay(operation, options)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        """None: the service lists what could be deployed, not what is."""
        return None


class AzureRelay(OpenAIRelay):
    """See Relay. The verdict on the prompt, which comes before the answer as a chunk without choices, stays here."""

    __slots__ = ()

    def _block(self, block: bytes) -> bytes:
        if not self.started and _NO_CHOICES.search(block):
            return b""
        return super()._block(block)


def _url(target: Target, operation: Operation, deployment: str) -> str:
    endpoint = resource_of(target)
    if operation is Operation.RESPONSES:
        return f"{endpoint}/openai/v1{operation.path}?api-version={RESPONSES_VERSION}"
    version = target.provider.options.get("api_version") or (
        PREVIEW_VERSION if operation in _PREVIEW else API_VERSION
    )
    name = quote(deployment, safe="")
    return f"{endpoint}/openai/deployments/{name}{operation.path}?api-version={quote(version, safe='')}"


def _headers(target: Target, accept: str, *, content_type: str) -> dict[str, str]:
    headers = {"accept": accept, "content-type": content_type}
    if target.secret and sealed_principal(target) is None:
        headers["api-key"] = target.secret.strip()
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def proves_port(adapter: AzureAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
