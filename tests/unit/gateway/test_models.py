"""GET /v1/models: rendered once for each set of allowed models, as long as the index is the same."""

import msgspec
import pytest

from services.gateway.auth import Authenticator
from services.gateway.errors import ClientError
from services.gateway.routes import models
from services.gateway.routes.models import Models
from shared.governance.model import Provider, VirtualKey
from shared.governance.state import GovernanceState
from tests.support.asgi import Sent, incoming_of
from tests.support.gateway import virtual_key
from tests.support.routing import catalogue_of


class Keys(Authenticator):
    """Whoever asks has the key that is set."""

    def __init__(self) -> None:
        super().__init__(GovernanceState(), required=False)
        self.key = virtual_key()[1]

    def authenticate(self, headers: object, now_ms: int) -> VirtualKey:
        return self.key


def served(*names: str) -> tuple[Models, Keys]:
    keys = Keys()
    return Models(
        keys, catalogue_of(Provider(name="p", type="openai", base_url="http://p", models=names))
    ), keys


async def listed(endpoint: Models, query: str = "") -> tuple[bytes, list[str]]:
    sent = Sent()
    await endpoint.all(incoming_of(sent.send, url=f"/v1/models{query}"))
    return sent.body, [model["id"] for model in msgspec.json.decode(sent.body)["data"]]


async def test_each_key_sees_what_it_may_use() -> None:
    endpoint, keys = served("m1", "m2", "text-embedding-3-small")

    assert (await listed(endpoint))[1] == ["p/m1", "p/m2"]
    assert (await listed(endpoint, "?type=embedding"))[1] == ["p/text-embedding-3-small"]
    keys.key = virtual_key("other", allowed_models=("p/m2",))[1]
    assert (await listed(endpoint))[1] == ["p/m2"]
    assert (await listed(endpoint, "?type=all"))[1] == ["p/m2"]


async def test_a_list_is_rendered_once_and_the_lists_that_are_kept_stay_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint, keys = served(*(f"m{number}" for number in range(50)))
    once, _ = await listed(endpoint)
    assert (await listed(endpoint))[0] is once
    monkeypatch.setattr(models, "MAX_RENDERED_BYTES", 3 * len(once))

    for number in range(20):
        keys.key = virtual_key(f"k{number}", allowed_models=("p/*", f"none/{number}"))[1]
        assert len((await listed(endpoint))[1]) == 50
        assert sum(map(len, endpoint._rendered.values())) <= 3 * len(once)


async def test_several_types_are_listed_together() -> None:
    endpoint, _ = served("m1", "text-embedding-3-small", "dall-e-3")

    both, names = await listed(endpoint, "?type=image&type=embedding&type=image")
    again, _ = await listed(endpoint, "?type=embedding&type=image")

    assert names == ["p/text-embedding-3-small", "p/dall-e-3"]
    assert both is again
    assert (await listed(endpoint, "?type=image&type=all"))[1] == ["p/m1", *names]
    for query in ("?type=image&type=what", "?type=what&type=image", "?type=image,embedding"):
        with pytest.raises(ClientError) as caught:
            await listed(endpoint, query)
        assert (caught.value.status, caught.value.param) == (400, "type")


async def test_a_model_is_found_by_any_name_that_requests_may_call_it() -> None:
    endpoint, keys = served("m1", "org/m2")

    async def found(name: str) -> str:
        sent = Sent()
        await endpoint.one(incoming_of(sent.send, url=f"/v1/models/{name}"), name)
        return str(sent.json["id"])

    assert [await found(name) for name in ("p/m1", "m1", "p/org/m2", "org/m2")] == [
        "p/m1", "p/m1", "p/org/m2", "p/org/m2",
    ]  # fmt: skip
    keys.key = virtual_key("other", allowed_models=("p/m1",))[1]
    assert await found("m1") == "p/m1"
    for name in ("org/m2", "p/org/m2", "m3", "q/m1"):
        with pytest.raises(ClientError) as caught:
            await found(name)
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")


async def test_a_bare_name_that_several_providers_have_is_refused_naming_them() -> None:
    keys = Keys()
    providers = [
        Provider(name=name, type="openai", base_url="http://p", models=("both",)) for name in ("a", "b")
    ]
    endpoint = Models(keys, catalogue_of(*providers))

    with pytest.raises(ClientError, match="'a/both' or 'b/both'") as caught:
        await endpoint.one(incoming_of(Sent().send, url="/v1/models/both"), "both")

    assert caught.value.code == "model_ambiguous"
