"""GET /v1/models: rendered once for each set of allowed models, as long as the index is the same."""

import msgspec
import pytest

from services.gateway.auth import Authenticator
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
