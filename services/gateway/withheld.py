"""Keeps the credentials of a call out of what is said of its failure: to the client, in the log, in the attempts.

Some servers repeat in their errors the request that they got, headers included.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from services.gateway.providers.bedrock.signing import AwsRequest
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.token_client import TokenRequest
from services.gateway.upstream.port import UpstreamFault, UpstreamRequest

MARK: Final = "[withheld]"
LEAST_CHARS: Final = 8
"""Of a secret: a shorter one cannot be told from the words around it."""
_CARRIES: Final = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_Failure = TypeVar("_Failure", bound=UpstreamError | UpstreamFault)


class Withheld:
    """The secrets of one request, in every form that a server may repeat them in. Made when a call has failed."""

    __slots__ = ("_forms",)

    def __init__(self, request: UpstreamRequest) -> None:
        secrets = {secret for secret in _secrets_in(request) if len(secret) >= LEAST_CHARS}
        forms = {form for secret in secrets for form in _forms_of(secret)}
        # The longest first: a shorter one may be a part of it.
        self._forms = sorted(forms, key=len, reverse=True)

    def from_text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text

    def from_bytes(self, data: bytes) -> bytes:
        """The same object where it holds none of them."""
        for form in self._forms:
            sought = form.encode()
            if sought in data:
                data = data.replace(sought, MARK.encode())
        return data

    def from_failure(self, failure: _Failure) -> _Failure:
        """The failure itself, with nothing left in it that must not be said."""
        failure.args = tuple(self.from_text(part) if isinstance(part, str) else part for part in failure.args)
        if isinstance(failure, UpstreamError):
            failure.message = self.from_text(failure.message)
            failure.upstream_code = self.from_text(failure.upstream_code)
            failure.type = self.from_text(failure.type)
            failure.param = None if failure.param is None else self.from_text(failure.param)
        else:
            failure.received = self.from_bytes(failure.received)
        return failure


def _secrets_in(request: UpstreamRequest) -> Iterator[str]:
    for name, value in request.headers.items():
        if _CARRIES.search(name):
            yield value.strip()
            yield value.rpartition(" ")[2]  # without `Bearer` before it
    if isinstance(request, TokenRequest):
        yield request.secret
        yield from request.tokens
    elif isinstance(request, AwsRequest):
        identity = request.identity
        yield from (identity.access_key, identity.secret_key, identity.token)


def _forms_of(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield msgspec.json.encode(secret).decode()[1:-1]
    yield b64encode(secret.encode()).decode().rstrip("=")
