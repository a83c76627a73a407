"""Builders of what the gateway's provider code is given."""

from collections.abc import Mapping, Sequence

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.port import RelayOptions, Target
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider


def target(
    type_name: str = "openai", model: str = "gpt-4o-mini", *, base_url: str = "", secret: str = "sk-upstream"
) -> Target:
    kind = PROVIDER_TYPES[type_name]
    provider = Provider(
        name=type_name, type=type_name, base_url=base_url or kind.base_url or "http://local/v1"
    )
    return Target(provider, kind, model, "main", secret, UpstreamTimeouts())


async def no_files(urls: Sequence[str]) -> Mapping[str, Fetched]:
    """For an adapter that has nothing to fetch."""
    raise AssertionError(f"nothing should be fetched: {urls}")


def json_body(text: str) -> JsonBody:
    return parse_json(text.encode())


def relay_options(
    *,
    send_usage: bool = False,
    cost: str | None = None,
    prompt_estimate: int = 7,
    transcript_limit: int = 65_536,
) -> RelayOptions:
    return RelayOptions(send_usage, lambda usage: cost, prompt_estimate, transcript_limit)


def form(parts: list[tuple[str, str | None, bytes]], boundary: str = "XxBOUNDARYxX") -> tuple[bytes, str]:
    """Body and content type of a form; a part is (name, file name or None, content)."""
    pieces = []
    for name, filename, content in parts:
        named = f'name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        head = f"--{boundary}\r\nContent-Disposition: form-data; {named}\r\n"
        kind = "Content-Type: application/octet-stream\r\n" if filename is not None else ""
        pieces.append(head.encode() + kind.encode() + b"\r\n" + content + b"\r\n")
    return b"".join(pieces) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
