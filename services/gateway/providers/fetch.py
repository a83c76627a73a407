"""Fetches what https addresses in a client's request hold, for providers that take bytes only.

The addresses are the client's, the network is the gateway's: nothing but public addresses is ever connected to. It is
checked where the socket is made, on the very address that it is for: however an URL spells its host, whatever a name
leads to by then, and wherever a server redirects to.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from services.gateway.providers.chat.images import Fetched, media_type_of
from services.gateway.providers.errors import BadRequest
from services.gateway.upstream.port import USER_AGENT
from shared.errors import FinOpsError

MAX_BYTES: Final = 20 * 1_048_576
"""Of one request, all its addresses together."""
MAX_ADDRESSES: Final = 20
MAX_REDIRECTS: Final = 3
TIMEOUT_S: Final = 15.0
SHOWN_CHARS: Final = 200
_CHUNK_BYTES: Final = 65_536
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Allowed = Callable[[Address], bool]


class NotFetched(FinOpsError):
    """What an address holds could not be had; the message says why."""

    code = "not_fetched"


class _Refused(Exception):
    """An address that is not fetched, or could not be; the message says why."""


def is_public(address: Address) -> bool:
    """Whether anybody on the internet would reach the same machine; IPv4 inside IPv6 counts as what it is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            return False
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class Fetcher:
    """Must be made inside a running event loop."""

    def __init__(
        self,
        *,
        resolver: AbstractResolver | None = None,
        allowed: Allowed = is_public,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver or ThreadedResolver(),
                socket_factory=self._socket,
                ssl=tls or True,
                use_dns_cache=False,
                force_close=True,
            ),
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            auto_decompress=False,  # what unfolds to many times its size is counted as it came
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def fetch(self, urls: Iterable[str]) -> Mapping[str, Fetched]:
        """What each address in a client's request holds. Raises BadRequest when one of them cannot be had."""
        wanted = list(dict.fromkeys(urls))
        if len(wanted) > MAX_ADDRESSES:
            raise BadRequest(f"A request may name {MAX_ADDRESSES} addresses at most.", param="messages")
        try:
            return await self.files(wanted)
        except NotFetched as error:
            reason = f"An address in the request cannot be fetched: {error}"
            raise BadRequest(reason, param="messages") from error

    async def files(self, wanted: Sequence[str]) -> Mapping[str, Fetched]:
        """What each of these addresses holds, whoever named them. Raises NotFetched when one of them cannot be had."""
        left = _Allowance(self._max_bytes)
        try:
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(self._one(url, left)) for url in wanted}
        except TimeoutError as error:
            raise NotFetched("They took too long.") from error
        except ExceptionGroup as group_error:
            # The first that failed ended the others.
            reason = group_error.exceptions[0]
            if isinstance(reason, _Refused):
                raise NotFetched(str(reason)) from group_error
            raise
        return {url: task.result() for url, task in tasks.items()}

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _one(self, url: str, left: "_Allowance") -> Fetched:
        at = url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                _check(at)
                async with self._session.get(at, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await _read(response, left)
                    at = urljoin(at, response.headers.get("location", ""))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _Refused(f"{_shown(url)}: {error}") from error
        except _Refused as refused:
            raise _Refused(f"{_shown(url)}: {refused}") from refused
        raise _Refused(f"{_shown(url)}: it was redirected too often")

    def _socket(self, place: AddrInfoType) -> socket.socket:
        """Made for each connection, for the address that it goes to. Raises OSError when nothing may go there."""
        family, kind, protocol, _, address = place
        if not self._allowed(ipaddress.ip_address(address[0].partition("%")[0])):
            raise OSError(errno.EACCES, "it is not a public address")
        return socket.socket(family, kind, protocol)


class _Allowance:
    """Bytes that may still be read."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _Refused("it is too large")


async def _read(response: aiohttp.ClientResponse, left: _Allowance) -> Fetched:
    if response.status != 200:
        raise _Refused(f"it answered with status {response.status}")
    pieces = []
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        left.take(len(chunk))
        pieces.append(chunk)
    data = b"".join(pieces)
    return Fetched(media_type_of(data) or response.content_type, data)


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise _Refused("only https addresses are fetched")
    if parts.username or parts.password:
        raise _Refused("addresses with a password are not fetched")


def _shown(url: str) -> str:
    return url if len(url) <= SHOWN_CHARS else url[:SHOWN_CHARS] + "..."
