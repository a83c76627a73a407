"""The admin API as the commands see it: answers become objects, everything else one sentence."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.cli.api import AdminApi
from services.cli.outcome import CommandFailed

Handler = Callable[[httpx.Request], httpx.Response]
TOKEN = "fo-admin-token"


def api(handler: Handler) -> AdminApi:
    return AdminApi("http://finops.test/", TOKEN, transport=httpx.MockTransport(handler))


def test_every_call_carries_the_admin_token() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"id": "vk_1"})

    with api(handler) as session:
        answer = session.call("POST", "/api/virtual-keys", body={"name": "a"})

    assert answer == {"id": "vk_1"}
    assert seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert str(seen[0].url) == "http://finops.test/api/virtual-keys"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            httpx.Response(409, json={"error": {"message": "Changed by somebody else."}}),
            "Changed by somebody else.",
        ),
        (httpx.Response(401, json={"error": {"message": "No."}}), "The admin token was refused."),
        (httpx.Response(502, text="<html>"), "502 Bad Gateway"),
        (httpx.Response(200, text="<html>"), "does not answer like FinOps"),
        (httpx.Response(200, json=[1]), "does not answer like FinOps"),
    ],
)
def test_whatever_goes_wrong_is_one_sentence(answer: httpx.Response, sentence: str) -> None:
    with api(lambda _: answer) as session, pytest.raises(CommandFailed) as failed:
        session.call("GET", "/api/virtual-keys")

    assert sentence in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with api(refuse) as session, pytest.raises(CommandFailed) as failed:
        session.call("GET", "/api/logs")

    assert "http://finops.test" in str(failed.value)
    assert "finops up" in str(failed.value)


def keys_in_two_pages(request: httpx.Request) -> httpx.Response:
    if request.url.path != "/api/virtual-keys":
        known = request.url.path.endswith("/vk_2")
        return (
            httpx.Response(200, json=key(2))
            if known
            else httpx.Response(404, json={"error": {"message": "no"}})
        )
    if "cursor" in request.url.params:
        assert request.url.params["cursor"] == "next"
        return httpx.Response(200, json={"items": [key(3), key(4, "twin")], "next_cursor": None})
    return httpx.Response(200, json={"items": [key(1, "twin"), key(2)], "next_cursor": "next"})


def key(number: int, name: str = "") -> dict[str, Any]:
    return {"id": f"vk_{number}", "name": name or f"team {number}"}


def test_pages_are_followed_to_the_end() -> None:
    with api(keys_in_two_pages) as session:
        pages = list(session.pages("/api/virtual-keys"))

    assert [item["id"] for page in pages for item in page] == ["vk_1", "vk_2", "vk_3", "vk_4"]


def test_a_key_is_found_by_id_or_by_name() -> None:
    with api(keys_in_two_pages) as session:
        assert session.find_key("vk_2")["id"] == "vk_2"
        assert session.find_key("team 3")["id"] == "vk_3"


def test_a_name_that_nobody_or_several_have_is_an_error() -> None:
    with api(keys_in_two_pages) as session:
        with pytest.raises(CommandFailed, match="No virtual key has the id or name 'nobody'"):
            session.find_key("nobody")
        with pytest.raises(CommandFailed, match="vk_1, vk_4"):
            session.find_key("twin")
