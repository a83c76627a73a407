"""A caller of providers on a clock of its own, with providers that answer as they are told."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from services.gateway.calling import Caller
from services.gateway.catalogue import Catalogue, Route
from services.gateway.circuits import Circuits
from services.gateway.credentials import Credentials
from services.gateway.exchange import Exchange
from services.gateway.fallbacks import Candidates
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import parse_json
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.trip import Opened, Trip
from services.gateway.upstream.port import UpstreamFault, UpstreamRequest, UpstreamResponse
from shared.catalogue.provider_types import ProviderType
from shared.events import GovernanceChanged
from shared.governance.model import Credential, Entity, Provider, VirtualKey
from shared.governance.model import Route as RouteConfig
from shared.governance.state import GovernanceState
from shared.settings import Settings
from tests.support.asgi import Sent, incoming_of
from tests.support.gateway import virtual_key


class ToldResponse:
    """An answer with nothing in it but its status; reading it ends in `fault` if there is one."""

    def __init__(self, status: int, headers: Mapping[str, str], fault: UpstreamFault | None = None) -> None:
        self.status = status
        self.headers = headers
        self.fault = fault

    async def read(self, limit_bytes: int) -> bytes:
        if self.fault is not None:
            raise self.fault
        return b'{"error":{"message":"as told"}}'

    async def chunks(self) -> AsyncIterator[bytes]:
        yield await self.read(0)

    async def drain(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


Told = int | tuple[int, float] | UpstreamFault | float | ToldResponse
"""A status, one with Retry-After, a fault, (float) seconds that pass before a 200, or the answer itself."""

KEY = virtual_key()[1]
BODY = parse_json(b'{"model":"m","messages":[]}')


async def _fetch_nothing(urls: Sequence[str]) -> Mapping[str, Fetched]:
    raise AssertionError("nothing here needs to be fetched")


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class ToldProviders:
    """A client whose calls (`provider/credential`) go as told; what nobody told is a 200."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.told: dict[str, list[Told]] = {}
        self.calls: list[str] = []
        self.requests: list[UpstreamRequest] = []

    def tell(self, call: str, *answers: Told) -> None:
        self.told[call] = list(answers)

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        host = request.url.split("/")[2]
        call = f"{host}/{request.headers.get('authorization', '').removeprefix('Bearer ')}"
        self.calls.append(call)
        self.requests.append(request)
        answers = self.told.get(call, [])
        answer = answers.pop(0) if len(answers) > 1 else answers[0] if answers else 200
        if isinstance(answer, UpstreamFault):
            raise answer
        if isinstance(answer, float):
            self.clock.now += answer
            answer = 200
        if isinstance(answer, ToldResponse):
            return answer
        if isinstance(answer, tuple):
            return ToldResponse(answer[0], {"retry-after": str(answer[1])})
        return ToldResponse(answer, {})

    async def close(self) -> None: ...


def provider(name: str, *credentials: str, **overrides: Any) -> Provider:
    """Its secrets are called like its credentials, its host like itself."""
    found = tuple(Credential(name=each, env=each) for each in credentials)
    return Provider(name=name, type="openai", base_url=f"http://{name}", credentials=found, **overrides)


def governed(*entities: Entity) -> GovernanceState:
    state = GovernanceState()
    for entity in entities:
        match entity:
            case Provider():
                kind, identity = "provider", entity.name
            case RouteConfig():
                kind, identity = "route", entity.name
            case _:
                raise ValueError(f"not of use here: {entity}")
        change = GovernanceChanged(
            change_id=f"chg_{identity}",
            entity=kind,  # type: ignore[arg-type]  # one of the two literals above
            entity_id=identity,
            version=1,
            at_ms=0,
            actor="test",
            action="apply",
            value=msgspec.Raw(msgspec.json.encode(entity)),
        )
        assert state.apply(change)
    return state


def catalogue_of(*entities: Entity) -> Catalogue:
    adapter = OpenAIAdapter()
    return Catalogue(governed(*entities), lambda: (0, {}), lambda _: adapter, Settings.load({}))


class World:
    """`ask` sends one request for a model with fallbacks; what became of it stands in its exchange."""

    def __init__(self, *entities: Entity, request_timeout_s: float = 900.0) -> None:
        self.clock = Clock()
        self.providers = ToldProviders(self.clock)
        self.catalogue = catalogue_of(*entities)
        self.candidates = Candidates(self.catalogue, lambda: 0.5)
        self.circuits = Circuits()
        environ = {
            credential.env: credential.env
            for entity in entities
            if isinstance(entity, Provider)
            for credential in entity.credentials
        }
        self.caller = Caller(
            self._client,
            Credentials(environ, lambda sealed, context: sealed),
            self.circuits,
            GatewayMetrics(),
            lambda: self.clock.now,
            request_timeout_s,
            _fetch_nothing,
            lambda exchange: None,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
        )

    def _client(self, kind: ProviderType) -> ToldProviders:
        return self.providers

    def exchange(self, key: VirtualKey = KEY) -> Exchange:
        incoming = incoming_of(Sent().send)
        incoming.began = self.clock.now
        return Exchange(incoming, key, Operation.CHAT)

    async def begin(self, exchange: Exchange, *models: str) -> Trip:
        routes: Sequence[Route] = self.candidates.of(exchange.key, models[0], models[1:])
        exchange.candidates = routes
        return await self.caller.begin(exchange, routes, BODY)

    async def ask(self, *models: str, exchange: Exchange | None = None) -> Opened:
        exchange = exchange or self.exchange()
        trip = await self.begin(exchange, *models)
        opened = await self.caller.open(exchange, trip)
        self.caller.served(exchange, trip)
        return opened
