"""The betas of Anthropic's that a request asks for: a header at Anthropic's own API, a field of the body at the clouds."""

from collections.abc import Iterable
from typing import Final

HEADER: Final = "anthropic-beta"


def betas_of(headers: Iterable[str | None]) -> tuple[str, ...]:
    """The names in these values of the header, each once."""
    names = (name.strip() for header in headers for name in (header or "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))
