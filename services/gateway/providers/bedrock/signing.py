"""An upstream client that puts AWS's signature (SigV4), or a Bedrock API key, on each request that wants it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from services.gateway.providers.bedrock.credentials import (
    AwsCredentials,
    AwsRefused,
    AwsUnavailable,
    Identity,
    static_keys,
)
from services.gateway.providers.bedrock.location import SIGNING_NAME, region_of
from services.gateway.providers.port import Target
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamConnectFailed,
    UpstreamRequest,
    UpstreamResponse,
)
from services.gateway.upstream.whole import WholeResponse

LARGE_BODY_BYTES: Final = 1_048_576
"""Larger bodies are hashed in a thread, so that other requests get their turn."""
FORBIDDEN: Final = 403
ERROR_HEADER: Final = "x-amzn-errortype"
_UNKNOWN_KEYS: Final = ("ExpiredToken", "UnrecognizedClient", "InvalidSignature")
"""The errors of keys that were taken away; a model that is not allowed is another matter."""


@dataclass(slots=True)
class AwsRequest(UpstreamRequest):
    """A request that is signed when it is sent. `identity` itself is never sent."""

    identity: Identity = Identity()
    region: str = ""


class SigningClient:
    """See UpstreamClient."""

    def __init__(self, network: UpstreamClient, credentials: AwsCredentials) -> None:
        """`network` belongs to whoever made it; `close` leaves it open."""
        self._network = network
        self._credentials = credentials

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        if not isinstance(request, AwsRequest):
            return await self._network.send(request)
        try:
            credentials = await self._credentials.get(request.identity)
        except AwsUnavailable as error:
            raise UpstreamConnectFailed(str(error)) from error
        except AwsRefused as error:
            return _refusal(str(error))
        body = request.body
        if isinstance(body, bytes) and len(body) > LARGE_BODY_BYTES:
            headers = await asyncio.to_thread(signed_headers, request, credentials)
        else:
            headers = signed_headers(request, credentials)
        response = await self._network.send(
            UpstreamRequest(request.method, request.url, headers, body, request.timeouts)
        )
        if response.status == FORBIDDEN and response.headers.get(ERROR_HEADER, "").startswith(_UNKNOWN_KEYS):
            self._credentials.forget(request.identity)
        return response

    async def close(self) -> None:
        await self._credentials.close()


def _refusal(message: str) -> UpstreamResponse:
    """What having no credentials means to the call: it is not allowed."""
    headers = {"content-type": "application/json", ERROR_HEADER: "UnrecognizedClientException"}
    return WholeResponse(msgspec.json.encode({"message": message}), FORBIDDEN, headers)


def signed_headers(request: AwsRequest, credentials: Any) -> dict[str, str]:
    """The request's headers with its signature, its date and the session token among them."""
    signable = AWSRequest(request.method, request.url, headers=dict(request.headers), data=request.body)
    SigV4Auth(credentials, SIGNING_NAME, request.region).add_auth(signable)
    return {name.lower(): value for name, value in signable.headers.items()}


def authorised(
    target: Target, region: str, method: str, url: str, headers: dict[str, str], body: bytes | None
) -> UpstreamRequest:
    """The request with the target's API key on it, or to be signed by whoever the target's secret names."""
    options = target.provider.options
    keys = static_keys(target.secret)
    if keys is None:
        headers = {**headers, "authorization": f"Bearer {target.secret.strip()}"}
        return UpstreamRequest(method, url, headers, body, target.timeouts)
    access_key, secret_key, token = keys
    identity = Identity(
        access_key,
        secret_key,
        token,
        profile=options.get("profile", ""),
        role_arn=options.get("role_arn", ""),
        external_id=options.get("external_id", ""),
        role_session_name=options.get("role_session_name", ""),
        region=region_of(target.provider),
    )
    return AwsRequest(method, url, headers, body, target.timeouts, identity=identity, region=region)
