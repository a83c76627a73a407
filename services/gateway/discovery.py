"""Asks providers in the background which models they have. A list once given is kept until a newer one comes.

A provider that is down or slow costs nobody anything but its own background task. Each credential may belong to an
account of its own, so each is asked: what a provider has is what any of them lists and may be used for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.gateway.catalogue import Lists, timeouts_of
from services.gateway.credentials import Chosen, Credentials
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import Adapter, HasSeveralLists, ListsInParts, Target
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest
from services.gateway.withheld import Withheld
from shared.catalogue.provider_types import PROVIDER_TYPES, ProviderType
from shared.errors import FinOpsError
from shared.governance.model import Provider
from shared.pricing.genai import context_window
from shared.settings import Settings
from shared.telemetry import get_logger

log = get_logger(__name__)

ASK_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 15.0
"""After a failure: sooner than the usual interval, because a provider that just started has no list yet."""
MAX_LIST_BYTES: Final = 16 * 1_048_576
MAX_PARTS: Final = 20
_NOT_FOR_US: Final = frozenset({401, 403, 404})
"""A further part of a list, or one of several lists, that is refused with one of these is left out: the credential
may not see it."""


@dataclass(slots=True)
class _Asked:
    """A provider as it was when it was asked. `due` is a time of the loop's clock."""

    provider: Provider
    due: float
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By the name of the credential."""
    task: asyncio.Task[None] | None = None


class ModelDiscovery:
    """`run` does the asking until it is cancelled. `providers` is read again at each `wake`."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clients: Callable[[ProviderType], UpstreamClient],
        adapter_for: Callable[[ProviderType], Adapter],
        credentials: Credentials,
        settings: Settings,
        metrics: GatewayMetrics,
    ) -> None:
        self._providers = providers
        self._clients = clients
        self._adapter_for = adapter_for
        self._credentials = credentials
        self._settings = settings
        self._metrics = metrics
        self._asked: dict[str, _Asked] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._version = 0
        self._awake = asyncio.Event()

    def lists(self) -> tuple[int, Lists]:
        """The lists so far, and a number that changes with them."""
        return self._version, self._lists

    def wake(self) -> None:
        """The providers may have changed."""
        self._awake.set()

    async def run(self) -> None:
        """Ask whoever is due, each in a task of its own; sleep until the next is due or something changed."""
        try:
            while True:
                self._awake.clear()
                self._forget_gone()
                self._ask_due()
                await self._until_next()
        finally:
            for asked in self._asked.values():
                if asked.task is not None:
                    asked.task.cancel()

    def _wanted(self) -> dict[str, Provider]:
        return {
            name: provider
            for name, provider in self._providers.items()
            if provider.models is None
            and provider.type in PROVIDER_TYPES
            and PROVIDER_TYPES[provider.type].lists_models
        }

    def _forget_gone(self) -> None:
        wanted = self._wanted()
        for name, asked in list(self._asked.items()):
            provider = wanted.get(name)
            if provider is not None and provider.version == asked.provider.version:
                continue
            if asked.task is not None:
                asked.task.cancel()
            del self._asked[name]
            if provider is None or _server(provider) != _server(asked.provider):
                self._forget_list(name)

    def _forget_list(self, name: str) -> None:
        if self._lists.pop(name, None) is not None:
            self._version += 1

    def _ask_due(self) -> None:
        loop = asyncio.get_running_loop()
        for name, provider in self._wanted().items():
            asked = self._asked.get(name)
            if asked is None:
                asked = self._asked[name] = _Asked(provider, loop.time())
            if asked.task is None and asked.due <= loop.time():
                asked.task = loop.create_task(self._refresh(provider, asked), name=f"models-of-{name}")

    async def _until_next(self) -> None:
        now = asyncio.get_running_loop().time()
        due = [asked.due - now for asked in self._asked.values() if asked.task is None]
        try:
            await asyncio.wait_for(self._awake.wait(), max(0.0, min(due)) if due else None)
        except TimeoutError:
            pass

    async def _refresh(self, provider: Provider, asked: _Asked) -> None:
        wait_s = RETRY_S
        try:
            if await self._ask_all(provider, asked):
                wait_s = self._settings.model_refresh_interval
            if not asked.lists:
                return
            models = tuple(dict.fromkeys(model for listed in asked.lists.values() for model in listed))
            await asyncio.to_thread(_look_up, provider.type, models)
            if models != self._lists.get(provider.name):
                self._lists[provider.name] = models
                self._version += 1
                log.info("model_list_changed", provider=provider.name, models=len(models))
        finally:
            asked.due = asyncio.get_running_loop().time() + min(wait_s, self._settings.model_refresh_interval)
            asked.task = None
            self._awake.set()

    async def _ask_all(self, provider: Provider, asked: _Asked) -> bool:
        """Ask with each credential; whether all of them were answered."""
        try:
            credentials = self._credentials.all_of(provider)
        except FinOpsError as error:
            self._failed(provider, "", error)
            return False
        whole = True
        for usable in credentials:
            try:
                listed = await self._ask(provider, usable.chosen)
            except FinOpsError as error:
                self._failed(provider, usable.chosen.name, error)
                whole = False
            else:
                asked.lists[usable.chosen.name] = tuple(model for model in listed if usable.serves(model))
        return whole

    def _failed(self, provider: Provider, credential: str, error: FinOpsError) -> None:
        self._metrics.discovery_failures.labels(provider.name).inc()
        log.warning(
            "model_list_not_available", provider=provider.name, credential=credential, reason=str(error)
        )

    async def _ask(self, provider: Provider, chosen: Chosen) -> tuple[str, ...]:
        kind = PROVIDER_TYPES[provider.type]
        adapter = self._adapter_for(kind)
        times = timeouts_of(provider, self._settings)
        times = replace(times, first_byte=min(times.first_byte, ASK_TIMEOUT_S), total=ASK_TIMEOUT_S)
        target = Target(provider, kind, "", chosen.name, chosen.secret, times)
        if isinstance(adapter, HasSeveralLists):
            requests = adapter.models_requests(target)
        elif (only := adapter.models_request(target)) is not None:
            requests = (only,)
        else:
            return tuple(kind.static_models)
        found: list[str] = []
        refusal: UpstreamError | None = None
        for request in requests:
            try:
                found += await self._list(target, adapter, request)
            except UpstreamError as error:
                if error.status not in _NOT_FOR_US:
                    raise
                refusal = error
        if refusal is not None:
            if not found:
                raise refusal
            _cut(provider, refusal)
        return tuple(dict.fromkeys(found))

    async def _list(self, target: Target, adapter: Adapter, request: UpstreamRequest) -> list[str]:
        """One list, to its end."""
        found: list[str] = []
        for _ in range(MAX_PARTS):
            try:
                answer = await self._answer(target.type, adapter, request)
            except UpstreamError as error:
                if not found or error.status not in _NOT_FOR_US:
                    raise
                _cut(target.provider, error)
                break
            found += adapter.read_models(answer)
            following = (
                adapter.next_models_request(target, request, answer)
                if isinstance(adapter, ListsInParts)
                else None
            )
            if following is None:
                break
            request = following
        return found

    async def _answer(self, kind: ProviderType, adapter: Adapter, request: UpstreamRequest) -> bytes:
        response = await self._clients(kind).send(request)
        try:
            answer = await response.read(MAX_LIST_BYTES)
            if response.status >= 400:
                withheld = Withheld(request)
                error = adapter.map_error(response.status, response.headers, withheld.from_bytes(answer))
                raise withheld.from_failure(error)
            return answer
        finally:
            response.close()


def _cut(provider: Provider, refusal: UpstreamError) -> None:
    log.warning("model_list_not_whole", provider=provider.name, reason=str(refusal))


def _look_up(provider_type: str, models: Sequence[str]) -> None:
    """What the list of models shows of each is remembered: for many new ones it takes longer than a request may."""
    for model in models:
        context_window(provider_type, model)


def _server(provider: Provider) -> tuple[object, ...]:
    """What makes another server of it, whose models say nothing of the former's."""
    return provider.type, provider.base_url, provider.options
