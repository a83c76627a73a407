"""The client formats that are served, and which providers speak them themselves."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from services.gateway.catalogue import Route
from services.gateway.errors import ClientError, error_body
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.inbound import ErrorFormat, Inbound, InboundAdapter
from services.gateway.providers.messages.format import CountAdapter, MessagesFormat
from services.gateway.providers.operations import Operation
from services.gateway.providers.responses.format import ResponsesFormat
from services.gateway.providers.sse import DONE_EVENT, event
from shared.catalogue.provider_types import ProviderType, is_ones_own
from shared.governance.model import Provider

NATIVE: Final = "native"
"""Value of a provider's option named as an operation: the server at its own address speaks that format too."""


class OpenAIErrors:
    """See ErrorFormat. OpenAI's shape, for everything that is not in a format of its own."""

    def error_body(self, error: ClientError) -> bytes:
        return error_body(error)

    def error_event(self, error: ClientError) -> bytes:
        return event(error_body(error)) + DONE_EVENT


MESSAGES: Final = MessagesFormat()
INBOUNDS: Final[Mapping[Operation, Inbound]] = MappingProxyType(
    {
        Operation.RESPONSES: ResponsesFormat(),
        Operation.MESSAGES: MESSAGES,
    }
)
_OPENAI: Final = OpenAIErrors()


def errors_of(operation: Operation) -> ErrorFormat:
    """How the clients of an operation are told errors."""
    if operation is Operation.COUNT_TOKENS:
        return MESSAGES
    return INBOUNDS.get(operation, _OPENAI)


def route_for(route: Route, operation: Operation, body: ParsedBody) -> Route:
    """The same route, through chat completions where its provider does not speak the client's format."""
    if operation is Operation.COUNT_TOKENS and not speaks(route.provider, route.type, operation):
        return replace(route, adapter=CountAdapter(route.adapter))
    inbound = INBOUNDS.get(operation)
    if inbound is None or not isinstance(body, JsonBody) or speaks(route.provider, route.type, operation):
        return route
    return replace(route, adapter=InboundAdapter(route.adapter, inbound, body))


def speaks(provider: Provider, kind: ProviderType, operation: Operation) -> bool:
    """Whether a provider answers this operation itself.

    A server of type openai at another address is somebody's own, of which only chat completions can be expected.
    """
    if operation.value not in kind.operations:
        return False
    return not is_ones_own(kind, provider.base_url) or provider.options.get(operation.value) == NATIVE
