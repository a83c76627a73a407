"""Which proxy a call goes through: as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say, in capitals or not.

aiohttp can read them itself, but it asks a thread for each call, and it sends what it finds in `~/.netrc` as well.
"""

import ipaddress
from collections.abc import Mapping

from yarl import URL

from shared.errors import ConfigurationError


class Proxies:
    """Raises ConfigurationError when a variable names something that is no HTTP proxy."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._by_scheme: dict[str, URL] = {}
        for scheme in ("http", "https"):
            name = f"{scheme.upper()}_PROXY"
            if text := _read(environ, name):
                self._by_scheme[scheme] = _proxy(name, text)
        self._direct = tuple(entry.strip().lower() for entry in _read(environ, "NO_PROXY").split(","))

    def proxy_for(self, url: URL) -> URL | None:
        """None: call it directly, as always this machine itself."""
        proxy = self._by_scheme.get(url.scheme)
        if proxy is None or url.host is None:
            return None
        host, address = url.host.lower(), _address(url.host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return None
        for entry in self._direct:
            name = entry.lstrip("*.")
            if entry == "*" or (name and (host == name or host.endswith(f".{name}"))):
                return None
            if entry == f"{host}:{url.port}" or (address is not None and _holds(entry, address)):
                return None
        return proxy


def _read(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name.lower()) or environ.get(name) or "").strip()


def _proxy(name: str, text: str) -> URL:
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
        _ = proxy.explicit_port  # yarl reads the port only when it is asked for
    except ValueError as error:
        raise ConfigurationError(f"{name} is wrong: it is not a valid URL.") from error
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise ConfigurationError(
            f"{name} is wrong: only HTTP proxies can be used, such as http://proxy:3128."
        )
    return proxy


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None  # a name


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an entry of `NO_PROXY` is a network with this address in it."""
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False  # no network
