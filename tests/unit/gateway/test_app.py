"""Paths and methods: careless slashes are forgiven, everything else is an error in OpenAI's shape."""

from typing import Any

import pytest

from services.gateway.app import GatewayApp
from services.gateway.errors import ClientError
from services.gateway.incoming import Incoming
from services.gateway.metrics import GatewayMetrics
from tests.support.asgi import Sent, call, incoming_of, receive_of, scope_of


async def hello(incoming: Incoming) -> None:
    await incoming.answer(200, b'{"hello":1}')


async def unauthorized(incoming: Incoming) -> None:
    raise ClientError("invalid_api_key")


async def broken(incoming: Incoming) -> None:
    raise RuntimeError("a fault of ours")


async def broken_halfway(incoming: Incoming) -> None:
    incoming.answered = True
    await incoming.send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("a fault of ours")


async def model(incoming: Incoming, name: str) -> None:
    await incoming.answer(200, f'{{"id":"{name}"}}'.encode())


def app() -> GatewayApp:
    endpoints: Any = {
        "/v1/models": {"GET": hello, "HEAD": hello},
        "/v1/private": {"GET": unauthorized},
        "/v1/broken": {"GET": broken},
        "/v1/halfway": {"GET": broken_halfway},
    }
    return GatewayApp(endpoints, model, GatewayMetrics())


@pytest.mark.parametrize("path", ["/v1/models", "/v1//models", "/v1/models/", "//v1///models//"])
async def test_slashes_are_collapsed(path: str) -> None:
    assert (await call(app(), "GET", path)).json == {"hello": 1}


async def test_a_model_id_may_hold_slashes() -> None:
    assert (await call(app(), "GET", "/v1/models/openrouter/openai/gpt-4o")).json == {
        "id": "openrouter/openai/gpt-4o"
    }


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/", "/v1/models.json"])
async def test_an_unknown_path_is_404_in_openais_shape(path: str) -> None:
    sent = await call(app(), "GET", path)

    assert (sent.status, sent.code) == (404, "unknown_endpoint")
    assert sent.header("content-type") == "application/json"
    assert (sent.header("x-request-id") or "").startswith("req_")


async def test_a_wrong_method_is_405_and_says_which_is_right() -> None:
    sent = await call(app(), "DELETE", "/v1/models")

    assert (sent.status, sent.code) == (405, "method_not_allowed")
    assert sent.header("allow") == "GET"


async def test_a_401_is_counted_and_says_how_to_authenticate() -> None:
    gateway = app()

    sent = await call(gateway, "GET", "/v1/private")

    assert sent.status == 401
    assert sent.header("www-authenticate") == "Bearer"
    counted = gateway._metrics.registry.get_sample_value(
        "finops_gateway_unauthorized_total", {"code": "invalid_api_key"}
    )
    assert counted == 1


@pytest.mark.parametrize(("wait_s", "told"), [(0.0, "1"), (1.2, "2"), (7.0, "7")])
async def test_nobody_is_told_to_come_back_too_early(wait_s: float, told: str) -> None:
    sent = Sent()

    await incoming_of(sent.send).refuse(ClientError("provider_rate_limited", retry_after_s=wait_s))

    assert sent.header("retry-after") == told


async def test_a_fault_of_ours_is_a_plain_500_that_tells_nothing() -> None:
    sent = await call(app(), "GET", "/v1/broken")

    assert (sent.status, sent.code) == (500, "internal_error")
    assert "fault of ours" not in sent.body.decode()


async def test_a_fault_in_the_middle_of_an_answer_breaks_the_connection() -> None:
    sent = Sent()

    with pytest.raises(RuntimeError):
        await app()(scope_of("GET", "/v1/halfway"), receive_of(b""), sent.send)

    assert sent.status == 200
