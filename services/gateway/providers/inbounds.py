"""The client formats that are served, and which providers speak them themselves."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Final

from services.gateway.catalogue import Route
from services.gateway.errors import ClientError, error_body
from services.gateway.providers.azure.claude import OPERATIONS as CLAUDES_OPERATIONS
from services.gateway.providers.azure.claude import AzureClaudeAdapter, is_claude
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.inbound import ErrorFormat, Inbound, InboundAdapter
from services.gateway.providers.messages.counting import CountAdapter, EstimateAdapter, NativeCountAdapter
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.messages.thinking import Way
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import CountsTokens
from services.gateway.providers.reasoning_models import highest_effort
from services.gateway.providers.responses.format import ResponsesFormat
from services.gateway.providers.sse import DONE_EVENT, event
from services.gateway.providers.vertex.location import publisher_of
from shared.catalogue.provider_types import ProviderType, is_ones_own
from shared.governance.model import Provider

_AZURE_CLAUDE: Final = AzureClaudeAdapter()
_OPENAIS_OPERATIONS: Final = frozenset(Operation) - {Operation.MESSAGES, Operation.COUNT_TOKENS}
NATIVE: Final = "native"
"""Value of a provider's option named as an operation: the server at its own address speaks that format too."""
THROUGH_CHAT: Final = "chat"
"""Another, at Azure and Vertex AI: its models do not speak that format, although most there do."""


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
_WITH_PICTURES: Final = ResponsesFormat(pictures_in_results=True)
_OPENAI: Final = OpenAIErrors()


def errors_of(operation: Operation) -> ErrorFormat:
    """How the clients of an operation are told errors."""
    if operation is Operation.COUNT_TOKENS:
        return MESSAGES
    return INBOUNDS.get(operation, _OPENAI)


def route_for(route: Route, operation: Operation, body: ParsedBody) -> Route:
    """The same route, through chat completions where its provider does not speak the client's format."""
    if route.type.wire == "azure" and is_claude(route.model):
        route = replace(route, adapter=_AZURE_CLAUDE)
    inbound = INBOUNDS.get(operation)
    if inbound is None and operation is not Operation.COUNT_TOKENS:
        return route
    if not isinstance(body, JsonBody):
        return route
    if inbound is None and isinstance(route.adapter, CountsTokens):
        is_native = speaks(route.provider, route.type, Operation.MESSAGES, route.model)
        counting = NativeCountAdapter if is_native else CountAdapter
        return replace(route, adapter=counting(route.adapter, body))
    if speaks(route.provider, route.type, operation, route.model):
        return route
    if inbound is None:
        return replace(route, adapter=EstimateAdapter(route.adapter))
    if inbound is MESSAGES:
        inbound = _messages_by(way_of(route.provider, route.type, route.model))
    elif _takes_pictures_in_results(route):
        inbound = _WITH_PICTURES
    return replace(route, adapter=InboundAdapter(route.adapter, inbound, body))


def _takes_pictures_in_results(route: Route) -> bool:
    """Anthropic's models do, wherever they are served, and Bedrock's. Elsewhere the result of a tool is text."""
    return route.type.wire in ("anthropic", "bedrock") or (
        route.type.wire in ("azure", "vertex") and is_claude(route.model)
    )


@cache
def _messages_by(way: Way) -> Inbound:
    return MessagesFormat(way)


def way_of(provider: Provider, kind: ProviderType, model: str) -> Way:
    """How a provider is told to think by clients who cannot know what its model understands.

    Most have a dialect that makes the best of Anthropic's own words. OpenAI's models know efforts, some more than others;
    so does somebody's own server, and others of open models, which may refuse whatever is not OpenAI's.
    """
    if is_ones_own(kind, provider.base_url) or kind.wire in ("replicate", "huggingface", "mistral"):
        return Way("effort")
    if kind.name == "openai" or kind.wire == "azure":
        return Way() if is_claude(model) else Way("effort", highest_effort(model))
    if kind.wire == "vertex":
        publisher = publisher_of(model)[0]
        if publisher in ("openapi", "mistralai"):
            return Way("effort", top_k=publisher == "mistralai")
    return Way("reasoning") if kind.name == "openrouter" else Way()


def speaks(provider: Provider, kind: ProviderType, operation: Operation, model: str = "") -> bool:
    """Whether a provider answers this operation of a model's itself, in the client's format unless its adapter
    CountsTokens.

    A server of type openai at another address is somebody's own, of which only chat completions can be expected.
    At Azure Claude speaks Anthropic's format and everybody else OpenAI's; at Vertex AI Claude alone speaks Anthropic's.
    """
    if operation.value not in kind.operations:
        return False
    if kind.wire == "azure":
        spoken = CLAUDES_OPERATIONS if is_claude(model) else _OPENAIS_OPERATIONS
        return operation in spoken and provider.options.get(operation.value) != THROUGH_CHAT
    if kind.wire == "vertex" and operation is Operation.MESSAGES:
        is_claudes = publisher_of(model)[0] == "anthropic"
        return is_claudes and provider.options.get(operation.value) != THROUGH_CHAT
    return not is_ones_own(kind, provider.base_url) or provider.options.get(operation.value) == NATIVE
