"""The port to a wire format: builds the upstream request, reads the answer, relays the stream, maps errors.

Adapters do no I/O and keep no state between requests. What they are given and hand back on the client's side is
always OpenAI's format. A route of the gateway goes:

    prepared = adapter.build(operation, target, body)
    response = await client.send(prepared.request)
    status >= 400      -> raise adapter.map_error(status, headers, await response.read(limit))
    prepared.streams   -> relay = adapter.relay(operation, options); feed every chunk, end or fail, send what it returns
    otherwise          -> answer = adapter.read_answer(operation, body, headers, await response.read(limit))
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import NO_PICTURE, Usage
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimeouts,
)
from shared.catalogue.provider_types import ProviderType
from shared.governance.model import Provider
from shared.pricing.model import Picture

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
NOTHING_FETCHED: Final[Mapping[str, Fetched]] = MappingProxyType({})


class Target(msgspec.Struct, frozen=True):
    """Where one attempt goes."""

    provider: Provider
    type: ProviderType
    model: str
    """The provider's own id of the model."""
    credential_name: str
    secret: str
    """Empty where the provider needs none."""
    timeouts: UpstreamTimeouts
    alias: str = ""
    """What the provider calls the model for this credential: a deployment, a profile. Empty: the same."""
    fetched: Mapping[str, Fetched] = NOTHING_FETCHED
    """What the addresses hold that the adapter asked for with `needs_bytes`."""

    passed_headers: Mapping[str, str] = NO_HEADERS
    """Headers of the client that mean something to the provider's format, in lower case."""

    @property
    def model_on_wire(self) -> str:
        """How the model is called in a request."""
        return self.alias or self.model


Converse = Callable[[UpstreamClient, UpstreamRequest], Awaitable[UpstreamResponse]]
"""Gets the answer to a request where that takes more than one call. It stands for `client.send`: the same errors,
closed at once when cancelled, and every response but the one it gives back is closed."""


class Prepared(msgspec.Struct, frozen=True):
    """A request ready to be sent."""

    request: UpstreamRequest
    streams: bool
    """The answer is relayed event by event."""
    dropped: tuple[str, ...] = ()
    """Parameters of the client that this provider would have refused, so that they were left out or changed."""
    converse: Converse | None = None
    """How the answer is had; None: by sending the request."""
    picture: Picture = NO_PICTURE
    """What the provider is asked to draw, in its own words, as far as a price may depend on it."""


class Answer(Protocol):
    """A whole answer. When `error` is set nothing else counts."""

    body: bytes
    content_type: str
    usage: Usage
    """Reported by the provider, else estimated."""
    finish_reason: str
    error: UpstreamError | None
    """The provider answered 200 with an error inside."""

    def with_cost(self, cost_usd: str) -> bytes:
        """The body with `usage.cost` set to this decimal (a JSON number); unchanged when it is not a JSON object."""
        ...


Tell = Callable[[UpstreamError], UpstreamError]
"""A failure in the words and the code that clients are told. What is told already stays as it is."""
CostOf = Callable[[Usage], str | None]
"""The price of this usage as a decimal in USD, ready to stand in JSON as a number; None leaves it out."""


def in_its_own_words(error: UpstreamError) -> UpstreamError:
    """See Tell. For whoever has no client to tell."""
    return error


class RelayOptions(msgspec.Struct, frozen=True):
    """How one stream is relayed."""

    send_usage: bool
    """Give the client the usage chunk: it asked, or its key always gets it."""
    cost_of: CostOf
    """Called at most once, when the usage is final, just before the usage chunk goes out."""
    prompt_estimate: int
    """Prompt tokens to assume when the provider sends no usage."""
    transcript_limit: int
    """Bytes of the stream kept for the log."""
    model: str = ""
    """The model asked for, for providers whose stream does not name it."""
    tell: Tell = in_its_own_words
    """Called when a stream of chat completions ends with an error, which the client gets as this gives it back."""


class Relay(Protocol):
    """One stream on its way to the client. Push in what arrives, send what comes back; no I/O.

    Only whole events come back, so a comment line may go out between any two results.
    """

    done: bool
    """The stream has ended for the client: `[DONE]` was given back. What is fed later is ignored."""
    started: bool
    """Something of the answer was given back. While False the request may still be tried elsewhere."""
    error: UpstreamError | None
    """The provider reported an error, or its stream ended early; as `RelayOptions.tell` gives it, where it is asked."""
    finish_reason: str

    def feed(self, chunk: bytes) -> bytes:
        """What to send now; empty when there is nothing yet."""
        ...

    def end(self) -> bytes:
        """The upstream body has ended: the rest, with the usage chunk and `[DONE]` if they have not gone out yet."""
        ...

    def fail(self, error: UpstreamError) -> bytes:
        """The upstream body broke off: an error event and `[DONE]`, unless the answer was already whole."""
        ...

    def usage(self) -> Usage:
        """What was used so far: reported by the provider, else estimated from the text seen."""
        ...

    @property
    def transcript(self) -> bytes:
        """What was received, as far as it fits into the limit."""
        ...

    @property
    def received_bytes(self) -> int: ...


class Adapter(Protocol):
    """One wire format."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        """https addresses in the request that the gateway must fetch before `build`, because the provider will not."""
        ...

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        """Raises Unsupported, or BadRequest when the body lacks what this provider must have."""
        ...

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        """Read the whole answer to a request with this `body`."""
        ...

    def relay(self, operation: Operation, options: RelayOptions) -> Relay: ...

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """The error in an answer with status 400 or above. Never raises, whatever the body is."""
        ...

    def models_request(self, target: Target) -> UpstreamRequest | None:
        """The request that lists the provider's models; None when it has no such list."""
        ...

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        """Ids of the models in the answer to `models_request`. Raises UpstreamError when it is something else."""
        ...


@runtime_checkable
class ListsInParts(Protocol):
    """An adapter whose list of models may take more than one request."""

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        """The request for the next part of the list, after this answer to the last one; None: that was all."""
        ...


@runtime_checkable
class CountsTokens(Adapter, Protocol):
    """An adapter whose provider counts the tokens of a chat without answering it, of some of its models at least."""

    def count_request(self, target: Target, chat: JsonBody) -> Prepared | None:
        """What asks how many tokens the request of this chat has; None where this model has no such call.

        Raises BadRequest, as `build` does for the chat itself.
        """
        ...

    def read_count(self, answer: bytes) -> int:
        """The tokens in the answer to `count_request`. Raises UpstreamError when it is something else."""
        ...

    def cannot_count(self, target: Target, error: UpstreamError) -> bool:
        """Whether this error says that no count is to be had here of this model, and nothing of the request."""
        ...


@runtime_checkable
class HasSeveralLists(Protocol):
    """An adapter whose provider keeps its models in several lists, of which a credential may see some and not others."""

    def models_requests(self, target: Target) -> tuple[UpstreamRequest, ...]:
        """The first request for each list; `models_request` gives one of them."""
        ...
