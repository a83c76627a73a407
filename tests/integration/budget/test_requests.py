"""What the admin API makes of paths, methods, parameters, versions and patterns that are nearly right."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from services.budget.virtual_keys import ATTEMPTS
from tests.support.budget_api import created, error_of


@pytest.mark.parametrize("change", ["rotate", "revoke"])
@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b'{"version": 99}', 409, "version_conflict", None),
        (b'{"version": 1, "nonsense": 1}', 400, "unknown_field", "nonsense"),
        (b'{"version": "1"}', 400, "invalid_value", "version"),
        (b"{bad", 400, "invalid_json", None),
        (b"[]", 400, "invalid_json", None),
        (b"1", 400, "invalid_json", None),
    ],
)
async def test_a_change_with_a_wrong_body_changes_nothing(
    api: httpx.AsyncClient, change: str, content: bytes, status: int, code: str, param: str | None
) -> None:
    key = await created(api)
    path = f"/api/virtual-keys/{key['id']}"
    before = (await api.get(path)).json()

    answer = await api.post(f"{path}/{change}", content=content, headers={"content-type": "application/json"})

    assert error_of(answer) == (status, code, param)
    assert (await api.get(path)).json() == before


@pytest.mark.parametrize("body", [None, {}, {"version": 1}])
async def test_a_change_with_the_right_version_or_none_is_made(
    api: httpx.AsyncClient, body: dict[str, Any] | None
) -> None:
    key = await created(api)
    path = f"/api/virtual-keys/{key['id']}"

    rotated = (await api.post(f"{path}/rotate", json=body)).json()
    again = None if body is None else body | {"version": 2} if body else body
    revoked = (await api.post(f"{path}/revoke", json=again)).json()

    assert rotated["key"] != key["key"]
    assert (rotated["version"], revoked["version"], revoked["status"]) == (2, 3, "revoked")
    assert (await api.post(f"{path}/revoke")).json()["version"] == 3


async def test_the_body_of_a_change_is_described(api: httpx.AsyncClient) -> None:
    schema = (await api.get("/api/openapi.json")).json()

    for change in ("rotate", "revoke"):
        body = schema["paths"][f"/api/virtual-keys/{{key_id}}/{change}"]["post"]["requestBody"]
        assert not body.get("required", False)
        assert "#/components/schemas/IfVersion" in str(body["content"]["application/json"])


async def test_changes_without_a_version_are_all_made_however_many_come_at_once(
    api: httpx.AsyncClient,
) -> None:
    key = await created(api)
    many = 2 * ATTEMPTS

    answers = await asyncio.gather(
        *(api.patch(f"/api/virtual-keys/{key['id']}", json={"name": f"n{number}"}) for number in range(many))
    )

    assert Counter(answer.status_code for answer in answers) == {200: many}
    assert (await api.get(f"/api/virtual-keys/{key['id']}")).json()["version"] == 1 + many


async def test_of_changes_to_one_version_one_is_made(api: httpx.AsyncClient) -> None:
    key = await created(api)
    body = {"name": "b", "version": 1}

    answers = await asyncio.gather(
        *(api.patch(f"/api/virtual-keys/{key['id']}", json=body) for _ in range(5))
    )

    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 4}


@pytest.mark.parametrize(
    ("path", "code", "param"),
    [
        ("/api/virtual-keys?colour=red", "unknown_parameter", "colour"),
        ("/api/virtual-keys?status=active&status=revoked", "invalid_value", "status"),
        ("/api/virtual-keys?limit=501", "invalid_value", "limit"),
        ("/api/virtual-keys?cursor=nonsense", "invalid_value", "cursor"),
        ("/api/virtual-keys/vk_x?status=active", "unknown_parameter", "status"),
        ("/api/models?type=zz", "unknown_parameter", "type"),
        ("/api/providers?name=demo", "unknown_parameter", "name"),
        ("/api/routes?limit=1", "unknown_parameter", "limit"),
    ],
)
async def test_a_parameter_that_is_not_known_is_refused(
    api: httpx.AsyncClient, path: str, code: str, param: str
) -> None:
    assert error_of(await api.get(path)) == (400, code, param)


async def test_an_unknown_parameter_stops_a_change(api: httpx.AsyncClient) -> None:
    key = await created(api)

    refused = await api.post(f"/api/virtual-keys/{key['id']}/revoke?dry_run=1")

    assert error_of(refused) == (400, "unknown_parameter", "dry_run")
    assert (await api.get(f"/api/virtual-keys/{key['id']}")).json()["status"] == "active"


async def test_an_empty_cursor_is_the_first_page(api: httpx.AsyncClient) -> None:
    key = await created(api)

    (item,) = (await api.get("/api/virtual-keys?cursor=&limit=500")).json()["items"]

    assert item["id"] == key["id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/virtual-keys", "GET, POST"),
        ("PUT", "/api/virtual-keys/vk_x", "GET, PATCH"),
        ("GET", "/api/virtual-keys/vk_x/rotate", "POST"),
        ("POST", "/api/models", "GET"),
        ("POST", "/", "GET"),
        ("DELETE", "/login", "GET, HEAD, POST"),
        ("POST", "/static/style.css", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_all_right_ones(
    api: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await api.request(method, path)

    assert error_of(answer)[:2] == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


async def test_one_slash_at_the_end_of_a_path_is_none(api: httpx.AsyncClient) -> None:
    key = (await api.post("/api/virtual-keys/", json={"name": "a"})).json()
    path = f"/api/virtual-keys/{key['id']}"

    for shown in (await api.get(f"{path}/"), await api.post(f"{path}/revoke/")):
        assert (shown.status_code, shown.json()["id"]) == (200, key["id"])
    for place in ("/api/virtual-keys/", "/api/models/", "/api/providers/", "/api/routes/"):
        assert (await api.get(place)).status_code == 200
    assert (await api.get(f"{path}//")).status_code == 404
    api.headers.pop("authorization")
    assert error_of(await api.get(f"{path}/"))[0] == 401
    assert (await api.get("/api/openapi.json/")).status_code == 200


@pytest.mark.parametrize("pattern", ["gpt-4o", "gpt-*", "openai"])
async def test_a_pattern_that_would_allow_nothing_is_refused(api: httpx.AsyncClient, pattern: str) -> None:
    key = await created(api, allowed_models=["mock/*"])
    path = f"/api/virtual-keys/{key['id']}"

    made = await api.post("/api/virtual-keys", json={"name": "a", "allowed_models": ["*", pattern]})
    changed = await api.patch(path, json={"allowed_models": [pattern]})

    assert error_of(made) == (400, "invalid_value", "allowed_models[1]")
    assert "write provider/model" in made.json()["error"]["message"]
    assert error_of(changed) == (400, "invalid_value", "allowed_models[0]")
    assert (await api.get(path)).json()["allowed_models"] == ["mock/*"]


async def test_a_pattern_may_name_a_route_or_a_provider_to_come(api: httpx.AsyncClient) -> None:
    patterns = ["fast", "fa*", "open*", "*mini", "later/*", "later/m"]

    key = await created(api, allowed_models=patterns)

    assert key["allowed_models"] == patterns
    renamed = await api.patch(
        f"/api/virtual-keys/{key['id']}", json={"name": "b", "allowed_models": patterns}
    )
    assert renamed.status_code == 200


@pytest.mark.parametrize(
    "limit", ["9223372036.854775807", "99999999999999", "1" * 400, 10**30, 1_000_000_001]
)
async def test_a_limit_above_the_largest_is_told_the_largest(api: httpx.AsyncClient, limit: object) -> None:
    body = {"name": "a", "budgets": [{"limit": limit, "window": "1M"}]}

    answer = await api.post("/api/virtual-keys", json=body)

    assert error_of(answer) == (400, "invalid_value", "budgets[0].limit")
    assert answer.json()["error"]["message"] == "`budgets[0].limit` must be at most 1000000000 US dollars."
