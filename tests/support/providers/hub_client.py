"""Hugging Face's own library, unchanged but for the network: its router and its hub are a fake on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.inference._providers import _common
from huggingface_hub.utils._http import default_client_factory

ROUTER: Final = "https://router.huggingface.co"
HUB: Final = "https://huggingface.co"


class _Elsewhere(httpx2.HTTPTransport):
    """Calls to the router and to the hub go to one server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._place = urlsplit(url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        address = str(request.url)
        for known in (ROUTER, HUB):
            if address.startswith(f"{known}/"):
                request.url = request.url.copy_with(
                    scheme=self._place.scheme, host=self._place.hostname, port=self._place.port
                )
        return super().handle_request(request)


@contextmanager
def hub_client_at(url: str) -> Iterator[None]:
    """While it lasts, `huggingface_hub` calls this server. It blocks, so it is for another thread."""

    def client() -> httpx2.Client:
        return httpx2.Client(transport=_Elsewhere(url), follow_redirects=True, timeout=None)

    _common._fetch_inference_provider_mapping.cache_clear()
    set_client_factory(client)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
        _common._fetch_inference_provider_mapping.cache_clear()
