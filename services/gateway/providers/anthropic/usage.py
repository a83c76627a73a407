"""What Anthropic says that a request used."""

import msgspec

from services.gateway.providers.usage import Usage, tier_of
from shared.events import Tokens


class OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class Counts(msgspec.Struct):
    """The `usage` of a message; in a stream the later one has what changed."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None

    def updated(self, later: "Counts") -> "Counts":
        """These counts with everything that `later` says."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(later, name)) is not None}
        return msgspec.structs.replace(self, **said)

    def usage(self) -> Usage:
        """Their input leaves out what was read from and written to the cache; ours includes it."""
        created = self.cache_creation or CacheCreation()
        parts = _count(created.ephemeral_5m_input_tokens) + _count(created.ephemeral_1h_input_tokens)
        write = max(_count(self.cache_creation_input_tokens), parts)
        read = _count(self.cache_read_input_tokens)
        details = self.output_tokens_details or OutputDetails()
        tools = self.server_tool_use or ServerTools()
        return Usage(
            Tokens(
                prompt=_count(self.input_tokens) + read + write,
                completion=_count(self.output_tokens),
                cached_read=read,
                cache_write=write,
                cache_write_1h=_count(created.ephemeral_1h_input_tokens),
                reasoning=_count(details.thinking_tokens),
                searches=_count(tools.web_search_requests),
            ),
            # of their tiers only the fast mode has a price of its own
            service_tier=tier_of(self.speed or ""),
        )


def _count(value: int | None) -> int:
    return value if value is not None and value > 0 else 0
