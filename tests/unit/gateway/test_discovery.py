"""Lists of models from providers: in the background, the last good one kept, nobody waits for a dead provider."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec
import pytest

from services.gateway.credentials import Credentials
from services.gateway.discovery import MAX_PARTS, ModelDiscovery
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.port import Adapter, Target
from services.gateway.upstream.port import UpstreamConnectFailed, UpstreamRequest, UpstreamResponse
from shared.governance.model import Credential, Provider
from shared.pricing.genai import context_window
from shared.settings import Settings
from tests.support.eventually import eventually


class Answer:
    """A whole answer in memory."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._body = body

    async def read(self, limit_bytes: int) -> bytes:
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def drain(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


class FakeClient:
    """Answers by host, or by host and secret; one without an answer hangs for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], UpstreamResponse]] = {}
        self.asked: list[str] = []

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        host = request.url.split("/")[2]
        self.asked.append(host)
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        answer = self.answers.get(f"{secret}@{host}") or self.answers.get(host)
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return answer()

    async def close(self) -> None: ...


def models(*names: str) -> Callable[[], UpstreamResponse]:
    listed = ",".join(f'{{"id":"{name}","object":"model"}}' for name in names)
    return lambda: Answer(200, f'{{"object":"list","data":[{listed}]}}'.encode())


def refused() -> UpstreamResponse:
    raise UpstreamConnectFailed("nobody there")


def provider(name: str, version: int = 1, **overrides: object) -> Provider:
    return Provider(name=name, type="openai", base_url=f"http://{name}.test/v1", version=version, **overrides)  # type: ignore[arg-type]


class Pages(OpenAIAdapter):
    """Asks the hosts page1, page2, ... for the parts of one list."""

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return UpstreamRequest("GET", "http://page1/", {})

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        number = int(asked.url.removeprefix("http://page").removesuffix("/")) + 1
        return None if b"last" in answer else UpstreamRequest("GET", f"http://page{number}/", {})


class Houses(OpenAIAdapter):
    """Asks the hosts one and two for a list each."""

    def models_requests(self, target: Target) -> tuple[UpstreamRequest, ...]:
        return UpstreamRequest("GET", "http://one/", {}), UpstreamRequest("GET", "http://two/", {})


@asynccontextmanager
async def discovering(
    providers: dict[str, Provider],
    client: FakeClient,
    interval_s: float = 0.05,
    adapter: Adapter | None = None,
) -> AsyncIterator[ModelDiscovery]:
    settings = Settings.load({"FINOPS_MODEL_REFRESH_INTERVAL": str(interval_s)})
    adapter = adapter or OpenAIAdapter()
    discovery = ModelDiscovery(
        providers,
        lambda _: client,
        lambda _: adapter,
        Credentials({"ONE": "1", "TWO": "2"}, lambda *_: ""),
        settings,
        GatewayMetrics(),
    )
    task = asyncio.create_task(discovery.run())
    try:
        yield discovery
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_dead_provider_keeps_nobody_waiting() -> None:
    client = FakeClient()
    client.answers["live.test"] = models("m1", "m2")
    providers = {"dead": provider("dead"), "live": provider("live")}

    async with discovering(providers, client) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"live": ("m1", "m2")})

        assert "dead.test" in client.asked


async def test_the_last_good_list_is_kept_and_a_newer_one_replaces_it() -> None:
    client = FakeClient()
    client.answers["p.test"] = models("m1")
    async with discovering({"p": provider("p")}, client) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1",)})
        version = discovery.lists()[0]

        client.answers["p.test"] = refused
        before = len(client.asked)
        await eventually(lambda: len(client.asked) > before + 2)
        assert discovery.lists() == (version, {"p": ("m1",)})

        client.answers["p.test"] = models("m1", "m2")
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "m2")})
        assert discovery.lists()[0] > version


async def test_a_changed_provider_keeps_its_list_until_a_newer_one_comes() -> None:
    client = FakeClient()
    client.answers["p.test"] = models("m1")
    providers = {"p": provider("p")}
    async with discovering(providers, client, interval_s=1000) as discovery:
        await eventually(lambda: "p" in discovery.lists()[1])
        client.answers["p.test"] = refused

        providers["p"] = provider("p", version=2, headers={"x-team": "research"})
        discovery.wake()
        await eventually(lambda: len(client.asked) == 2)
        assert discovery.lists()[1] == {"p": ("m1",)}

        client.answers["p.test"] = models("m2")
        providers["p"] = provider("p", version=3)
        discovery.wake()
        await eventually(lambda: discovery.lists()[1] == {"p": ("m2",)})


async def test_what_is_shown_of_a_new_list_is_looked_up_beside_the_requests() -> None:
    client = FakeClient()
    client.answers["p.test"] = models("gpt-4o", "gpt-4o-mini")
    context_window.cache_clear()
    async with discovering({"p": provider("p")}, client) as discovery:
        await eventually(lambda: "p" in discovery.lists()[1])

        context_window("openai", "gpt-4o-mini")
        assert context_window.cache_info().hits == 1


async def test_another_server_under_the_same_name_has_no_list_yet() -> None:
    client = FakeClient()
    client.answers["p.test"] = models("m1")
    providers = {"p": provider("p")}
    async with discovering(providers, client, interval_s=1000) as discovery:
        await eventually(lambda: "p" in discovery.lists()[1])

        providers["p"] = msgspec.structs.replace(provider("p", 2), base_url="http://elsewhere.test/v1")
        discovery.wake()

        await eventually(lambda: discovery.lists()[1] == {})


async def test_whatever_keeps_a_provider_from_being_asked_is_counted_and_tried_again() -> None:
    client = FakeClient()

    def misconfigured() -> UpstreamResponse:
        raise BadRequest("its region is missing")

    client.answers["p.test"] = misconfigured
    async with discovering({"p": provider("p")}, client) as discovery:
        await eventually(lambda: len(client.asked) > 1)

        failures = discovery._metrics.registry.get_sample_value(
            "finops_gateway_model_list_failures_total", {"provider": "p"}
        )
        assert failures and failures >= 1


async def test_an_error_answer_is_no_list() -> None:
    client = FakeClient()
    client.answers["p.test"] = lambda: Answer(401, b'{"error":{"message":"no"}}')
    async with discovering({"p": provider("p")}, client) as discovery:
        await eventually(lambda: len(client.asked) > 1)

        assert discovery.lists()[1] == {}


async def test_a_new_provider_is_asked_at_once_and_a_removed_one_forgotten() -> None:
    client = FakeClient()
    client.answers["a.test"] = models("m1")
    client.answers["b.test"] = models("m2")
    providers = {"a": provider("a")}
    async with discovering(providers, client, interval_s=1000) as discovery:
        await eventually(lambda: "a" in discovery.lists()[1])

        providers["b"] = provider("b")
        del providers["a"]
        discovery.wake()

        await eventually(lambda: discovery.lists()[1] == {"b": ("m2",)})


async def test_a_provider_with_a_list_of_its_own_is_never_asked() -> None:
    client = FakeClient()
    providers = {"p": provider("p", models=("m1",)), "q": provider("q")}
    client.answers["q.test"] = models("m2")
    async with discovering(providers, client) as discovery:
        await eventually(lambda: "q" in discovery.lists()[1])

        assert "p.test" not in client.asked


async def test_a_list_in_parts_is_asked_for_to_its_end() -> None:
    client = FakeClient()
    client.answers |= {"page1": models("m1", "m2"), "page2": models("m2", "m3"), "page3": models("last")}
    async with discovering({"p": provider("p")}, client, adapter=Pages()) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "m2", "m3", "last")})


async def test_a_part_that_the_credential_may_not_see_is_left_out() -> None:
    client = FakeClient()
    client.answers |= {"page1": models("m1"), "page2": lambda: Answer(403, b'{"error":{"message":"no"}}')}
    async with discovering({"p": provider("p")}, client, adapter=Pages()) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1",)})


async def test_half_a_list_never_replaces_a_whole_one() -> None:
    client = FakeClient()
    client.answers |= {"page1": models("m1"), "page2": models("last")}
    async with discovering({"p": provider("p")}, client, adapter=Pages()) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "last")})

        client.answers |= {"page1": models("m9"), "page2": lambda: Answer(503, b"{}")}
        before = len(client.asked)
        await eventually(lambda: len(client.asked) > before + 4)
        assert discovery.lists()[1] == {"p": ("m1", "last")}


async def test_several_lists_are_one() -> None:
    client = FakeClient()
    client.answers |= {"one": models("m1", "m2"), "two": models("m2", "m3")}
    async with discovering({"p": provider("p")}, client, adapter=Houses()) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "m2", "m3")})


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize(("closed", "left"), [("one", "m2"), ("two", "m1")])
async def test_one_of_several_lists_that_the_credential_may_not_see_is_left_out(
    closed: str, left: str, status: int
) -> None:
    client = FakeClient()
    client.answers |= {"one": models("m1"), "two": models("m2")}
    client.answers[closed] = lambda: Answer(status, b'{"error":{"message":"no"}}')
    async with discovering({"p": provider("p")}, client, adapter=Houses()) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": (left,)})


@pytest.mark.parametrize("second", [503, 403])
async def test_several_lists_of_which_none_came_or_one_failed_are_none(second: int) -> None:
    client = FakeClient()
    client.answers["one"] = models("m1") if second == 503 else lambda: Answer(403, b"{}")
    client.answers["two"] = lambda: Answer(second, b"{}")
    async with discovering({"p": provider("p")}, client, adapter=Houses()) as discovery:
        await eventually(lambda: client.asked.count("two") > 1)

        assert discovery.lists()[1] == {}


async def test_a_list_without_an_end_is_cut() -> None:
    client = FakeClient()
    client.answers |= {f"page{number}": models(f"m{number}") for number in range(1, MAX_PARTS + 5)}
    async with discovering({"p": provider("p")}, client, interval_s=1000, adapter=Pages()) as discovery:
        await eventually(lambda: "p" in discovery.lists()[1])

        assert len(discovery.lists()[1]["p"]) == len(client.asked) == MAX_PARTS


async def test_each_credential_lists_its_own_models_and_only_those_it_is_for() -> None:
    client = FakeClient()
    client.answers["1@p.test"] = models("m1", "m2", "other")
    client.answers["2@p.test"] = models("m2", "m3")
    credentials = (
        Credential(name="one", env="ONE", models=("m*",)),
        Credential(name="two", env="TWO"),
        Credential(name="missing", env="THREE"),
    )
    async with discovering({"p": provider("p", credentials=credentials)}, client) as discovery:
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "m2", "m3")})
        version = discovery.lists()[0]

        client.answers["2@p.test"] = refused
        before = len(client.asked)
        await eventually(lambda: len(client.asked) > before + 5)
        assert discovery.lists() == (version, {"p": ("m1", "m2", "m3")})

        client.answers["2@p.test"] = models("m2", "m4")
        await eventually(lambda: discovery.lists()[1] == {"p": ("m1", "m2", "m4")})
