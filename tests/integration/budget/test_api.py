"""The admin API over a whole budget service on the embedded log."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from shared.eventlog.port import EventLog
from shared.events import ANONYMOUS_KEY_ID, Charge
from shared.governance.keys import checksum_ok
from tests.support.budget_api import ENVIRON, TOKEN, created, error_of, running
from tests.support.eventually import eventually
from tests.support.usage import UsageProducer, ended, started

KEY_FIELDS = {
    "id", "name", "prefix", "status", "budgets", "allowed_models", "fallbacks", "expires_at", "team_id", "cost_in_usage",
    "always_send_usage", "trust_user_headers", "has_user_jwt_secret", "on_unavailable", "metadata", "spend", "created_at", "managed_by", "version",
}  # fmt: skip
BUDGET_FIELDS = {"id", "limit", "window", "alignment", "settled", "reserved", "resets_at"}


async def test_a_new_key_is_shown_once_and_has_the_documented_shape(api: httpx.AsyncClient) -> None:
    body = {
        "name": "team-a",
        "budgets": [{"limit": "5.00", "window": "1M", "alignment": "calendar"}],
        "allowed_models": ["openai/*"],
        "expires_at": None,
        "metadata": {"owner": "ada"},
    }

    answer = await api.post("/api/virtual-keys", json=body)

    assert answer.status_code == 201
    key = answer.json()
    assert set(key) == KEY_FIELDS | {"key"}
    assert [set(budget) for budget in key["budgets"]] == [BUDGET_FIELDS]
    assert checksum_ok(key["key"]) and key["key"].startswith(key["prefix"])
    assert (key["name"], key["status"], key["version"]) == ("team-a", "active", 1)
    assert (key["allowed_models"], key["metadata"]) == (["openai/*"], {"owner": "ada"})
    budget = key["budgets"][0]
    assert (budget["limit"], budget["settled"], budget["reserved"]) == ("5.00", "0.00", "0.00")
    assert budget["resets_at"].endswith("-01T00:00:00Z")
    assert key["created_at"].endswith("Z")

    one = (await api.get(f"/api/virtual-keys/{key['id']}")).json()
    assert "key" not in one
    assert one == {name: value for name, value in key.items() if name != "key"}


async def test_spend_moves_as_requests_run_and_end(api: httpx.AsyncClient, log: EventLog) -> None:
    key = await created(api, budgets=[{"limit": "1.00", "window": "lifetime"}])
    charges = (Charge(key["budgets"][0]["id"], 0, 0), Charge(key["id"], 0, 0))
    start = started("r1", key_id=key["id"], budget_id=charges[0].budget_id, reserved_nanos=2_000_000)
    producer = UsageProducer(log)

    async def budget() -> tuple[str, str]:
        found = (await api.get(f"/api/virtual-keys/{key['id']}")).json()["budgets"][0]
        return found["settled"], found["reserved"]

    async def is_reserved() -> bool:
        return await budget() == ("0.00", "0.002")

    async def is_settled() -> bool:
        return await budget() == ("0.000123456", "0.00")

    await producer.send(start)
    await eventually(is_reserved)
    await producer.send(ended(start, cost_nanos=123_456))
    await eventually(is_settled)
    one = (await api.get(f"/api/virtual-keys/{key['id']}")).json()
    assert one["spend"] == {
        "settled": "0.000123456",
        "reserved": "0.00",
        "requests": 1,
        "tokens": 15,
        "unpriced": 0,
    }


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_field", "name"),
        ({"name": ""}, "invalid_value", "name"),
        ({"name": "x" * 101}, "invalid_value", "name"),
        ({"name": 5}, "invalid_value", "name"),
        ({"name": "a", "colour": "red"}, "unknown_field", "colour"),
        (
            {"name": "a", "budgets": [{"limit": "5.00", "window": "1M", "limits": 1}]},
            "unknown_field",
            "budgets[0].limits",
        ),
        ({"name": "a", "budgets": [{"limit": 5.0, "window": "1M"}]}, "invalid_value", "budgets[0].limit"),
        ({"name": "a", "budgets": [{"limit": "0", "window": "1M"}]}, "invalid_value", "budgets[0].limit"),
        ({"name": "a", "budgets": [{"limit": "-1", "window": "1M"}]}, "invalid_value", "budgets[0].limit"),
        (
            {"name": "a", "budgets": [{"limit": "0.0000000001", "window": "1M"}]},
            "invalid_value",
            "budgets[0].limit",
        ),
        ({"name": "a", "budgets": [{"limit": "1", "window": "2M"}]}, "invalid_value", "budgets[0].window"),
        ({"name": "a", "budgets": [{"limit": "1", "window": "1M"}] * 2}, "invalid_value", "budgets"),
        ({"name": "a", "allowed_models": ["openai /*"]}, "invalid_value", "allowed_models[0]"),
        ({"name": "a", "allowed_models": ["openai/\ud800"]}, "invalid_value", "allowed_models[0]"),
        ({"name": "a", "fallbacks": ["openai/\ud800"]}, "invalid_value", "fallbacks[0]"),
        ({"name": "a", "expires_at": "2030-01-01"}, "invalid_value", "expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-05:00"}, "invalid_value", "expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59.9999Z"}, "invalid_value", "expires_at"),
        ({"name": "a", "expires_at": "0001-01-01T00:00:00+14:00"}, "invalid_value", "expires_at"),
        ({"name": "a", "metadata": {"x": "y" * 9_000}}, "invalid_value", "metadata"),
        ({"name": "a", "metadata": {"x": "\ud800"}}, "invalid_value", "metadata"),
        ({"name": "a", "metadata": {"x": float("nan")}}, "invalid_value", "metadata"),
        ({"name": "a", "metadata": {"x": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}}, "invalid_value", "metadata"),
        ([], "invalid_json", None),
    ],
)
async def test_a_wrong_field_is_named(
    api: httpx.AsyncClient, body: object, code: str, param: str | None
) -> None:
    content = json.dumps(body).encode()
    answer = await api.post(
        "/api/virtual-keys", content=content, headers={"content-type": "application/json"}
    )

    assert error_of(answer) == (400, code, param)
    assert (await api.get("/api/virtual-keys")).json()["items"] == []


@pytest.mark.parametrize("content", [b"{", b"", b"\xff"])
async def test_a_body_that_is_no_json_is_a_400(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post(
        "/api/virtual-keys", content=content, headers={"content-type": "application/json"}
    )

    assert error_of(answer)[0] == 400


async def test_a_patch_changes_what_it_names_and_keeps_the_spend_of_its_budgets(
    api: httpx.AsyncClient,
) -> None:
    key = await created(api, budgets=[{"limit": "5.00", "window": "1M"}, {"limit": "1.00", "window": "1d"}])
    month, day = (budget["id"] for budget in key["budgets"])

    answer = await api.patch(
        f"/api/virtual-keys/{key['id']}",
        json={
            "name": "team-b",
            "budgets": [{"limit": "7.00", "window": "1M"}, {"id": day, "limit": "1.00", "window": "1w"}],
            "expires_at": "2020-01-01T00:00:00Z",
            "version": 1,
        },
    )

    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["name"], changed["version"], changed["status"]) == ("team-b", 2, "expired")
    assert changed["allowed_models"] == ["*"]
    assert changed["budgets"][0]["id"] == month and changed["budgets"][0]["limit"] == "7.00"
    assert changed["budgets"][1]["id"] not in {month, day}
    back = (await api.patch(f"/api/virtual-keys/{key['id']}", json={"expires_at": None})).json()
    assert (back["status"], back["expires_at"]) == ("active", None)


async def test_an_old_version_is_a_conflict(api: httpx.AsyncClient) -> None:
    key = await created(api)
    path = f"/api/virtual-keys/{key['id']}"
    assert (await api.patch(path, json={"name": "b", "version": 1})).status_code == 200

    assert error_of(await api.patch(path, json={"name": "c", "version": 1})) == (
        409,
        "version_conflict",
        None,
    )
    assert (await api.patch(path, json={"name": "c"})).json()["version"] == 3


async def test_rotate_replaces_the_key_and_revoke_ends_it(api: httpx.AsyncClient) -> None:
    key = await created(api)
    path = f"/api/virtual-keys/{key['id']}"

    rotated = (await api.post(f"{path}/rotate")).json()
    assert rotated["key"] != key["key"] and rotated["id"] == key["id"]

    assert (await api.post(f"{path}/revoke")).json()["status"] == "revoked"
    assert (await api.post(f"{path}/revoke")).json()["version"] == 3
    assert error_of(await api.post(f"{path}/rotate"))[:2] == (409, "key_revoked")


async def test_lists_are_paged_newest_first_and_filtered(api: httpx.AsyncClient) -> None:
    names = [f"key-{number}" for number in range(5)]
    ids = [(await created(api, name=name))["id"] for name in names]
    await api.post(f"/api/virtual-keys/{ids[2]}/revoke")

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/api/virtual-keys", params=query)).json()
        assert len(page["items"]) <= 2
        seen += [key["name"] for key in page["items"]]
        cursor = page["next_cursor"]

    assert sorted(seen) == names and len(seen) == 5
    by_name = (await api.get("/api/virtual-keys", params={"name": "KEY-3"})).json()
    assert [key["name"] for key in by_name["items"]] == ["key-3"]
    revoked = (await api.get("/api/virtual-keys", params={"status": "revoked"})).json()
    assert [key["id"] for key in revoked["items"]] == [ids[2]]
    assert error_of(await api.get("/api/virtual-keys", params={"cursor": "!"})) == (
        400,
        "invalid_value",
        "cursor",
    )
    assert error_of(await api.get("/api/virtual-keys", params={"limit": "0"})) == (
        400,
        "invalid_value",
        "limit",
    )


async def test_what_is_not_there_is_a_404_in_the_same_shape(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get("/api/virtual-keys/vk_none"))[:2] == (404, "not_found")
    assert error_of(await api.get("/api/nothing"))[:2] == (404, "not_found")
    assert error_of(await api.delete("/api/virtual-keys"))[:2] == (405, "method_not_allowed")


async def test_providers_show_where_secrets_are_and_never_a_secret(
    api: httpx.AsyncClient, log: EventLog
) -> None:
    answer = await api.get("/api/providers")

    found = {provider["name"]: provider for provider in answer.json()["items"]}
    assert set(found) == {"demo", "mock", "openai"}
    shown = [(one["name"], one["source"], one["env"], one["is_set"]) for one in found["mock"]["credentials"]]
    assert shown == [
        ("main", "env", "MOCK_KEY", True),
        ("spare", "sealed", None, True),
        ("third", "env", "UNSET_KEY", False),
    ]
    written = b"".join(
        [
            record.value or b""
            for batch in [b async for b in log.read("finops.governance", 0, 0, 100)]
            for record in batch
        ]
    ).decode()
    for secret in (*ENVIRON.values(), "literal-secret"):
        assert secret not in answer.text
        assert secret not in written


async def test_routes_show_their_targets_and_fallbacks(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/routes")

    assert answer.json() == {
        "items": [
            {
                "name": "fast",
                "targets": [
                    {"model": "mock/gpt-4o-mini", "weight": 3.0},
                    {"model": "openai/gpt-4o-mini", "weight": 1.0},
                ],
                "fallbacks": ["demo/echo"],
                "managed_by": "config",
                "version": 1,
            }
        ],
        "next_cursor": None,
    }


async def test_a_key_has_fallbacks_that_can_be_changed(api: httpx.AsyncClient) -> None:
    key = await created(api, fallbacks=["fast", "openai/gpt-4o-mini"])
    path = f"/api/virtual-keys/{key['id']}"

    renamed = (await api.patch(path, json={"name": "b"})).json()
    emptied = (await api.patch(path, json={"fallbacks": []})).json()
    wrong = await api.patch(path, json={"fallbacks": ["openai/*"]})

    assert key["fallbacks"] == renamed["fallbacks"] == ["fast", "openai/gpt-4o-mini"]
    assert emptied["fallbacks"] == []
    assert error_of(wrong) == (400, "invalid_value", "fallbacks[0]")


async def test_models_have_prices_as_decimal_strings_or_none(api: httpx.AsyncClient) -> None:
    models = {model["id"]: model for model in (await api.get("/api/models")).json()["items"]}

    own = models["mock/gpt-4o-mini"]
    assert (own["input_per_million"], own["output_per_million"], own["price_basis"]) == (
        "0.15",
        "0.60",
        "override",
    )
    unknown = models["mock/unheard-of"]
    assert (unknown["input_per_million"], unknown["price_basis"]) == (None, "unpriced")
    assert models["demo/echo"]["price_basis"] == "built-in"
    assert models["openai/gpt-4o-mini"]["price_basis"] == "genai-prices"
    assert "openai/ft:gpt-4o" not in models  # it stands for many models, and no request can name it
    only = (await api.get("/api/models", params={"provider": "mock"})).json()["items"]
    assert {model["provider"] for model in only} == {"mock"}


async def test_configuration_is_applied_as_differences_and_taken_back(log: EventLog, tmp_path: Path) -> None:
    async with running(log, tmp_path):
        pass
    before = (await log.end_offsets("finops.governance"))[0]

    async with running(log, tmp_path) as api:
        kept = await created(api)
    assert (await log.end_offsets("finops.governance"))[0] == before + 1

    (tmp_path / "finops.yaml").write_text("teams: [{name: research}]")
    async with running(log, tmp_path, environ={}) as api:
        providers = [provider["name"] for provider in (await api.get("/api/providers")).json()["items"]]
        keys = (await api.get("/api/virtual-keys")).json()["items"]
        assert providers == ["demo"]
        assert [key["id"] for key in keys] == [kept["id"]]


async def test_health_readiness_metrics_and_openapi(api: httpx.AsyncClient) -> None:
    assert (await api.get("/healthz")).status_code == 200

    async def is_ready() -> bool:
        return (await api.get("/readyz")).status_code == 200

    await eventually(is_ready)
    assert "finops_budget_owned_partitions 2.0" in (await api.get("/metrics")).text
    schema = (await api.get("/api/openapi.json")).json()
    create = schema["paths"]["/api/virtual-keys"]["post"]
    assert set(create["responses"]) == {"201", "400", "401", "503"}
    assert "HTTPValidationError" not in json.dumps(schema)


async def test_the_home_page_wants_a_session_and_shows_keys(log: EventLog, tmp_path: Path) -> None:
    async with running(log, tmp_path, token="") as browser:
        sent_away = await browser.get("/")
        assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login?next=%2F")

        assert (await browser.post("/login", data={"token": "wrong"})).status_code == 401
        assert (await browser.post("/login", data={"token": TOKEN})).status_code == 303
        assert "No virtual key yet" in (await browser.get("/")).text
        await created(browser, name="<b>team</b>", budgets=[{"limit": "5.00", "window": "1M"}])

        page = await browser.get("/")
        assert "&lt;b&gt;team&lt;/b&gt;" in page.text and "<b>team" not in page.text
        piece = await browser.get("/", headers={"hx-request": "true"})
        assert piece.text.lstrip().startswith("<table>")


async def test_the_home_page_shows_spend_without_a_key_before_there_is_any_key(
    log: EventLog, tmp_path: Path
) -> None:
    start = started("r1", key_id=ANONYMOUS_KEY_ID, budget_id="none")
    await UsageProducer(log).send(start, ended(start, cost_nanos=1_500_000))

    async with running(log, tmp_path) as api:

        async def is_shown() -> bool:
            return "Without a key: $0.0015 in 1 request." in (await api.get("/")).text

        await eventually(is_shown)


async def test_the_home_page_counts_what_nobody_knows_the_price_of_and_never_calls_it_nothing(
    log: EventLog, tmp_path: Path
) -> None:
    producer = UsageProducer(log)

    async def ends(request_id: str, key_id: str, **changes: Any) -> None:
        start = started(request_id, key_id=key_id, budget_id="none")
        await producer.send(start, structs.replace(ended(start, cost_nanos=0), **changes))

    async with running(log, tmp_path) as api:
        key = await created(api)

        async def shows(*texts: str) -> bool:
            page = re.sub(r"<[^>]*>|\s+", " ", (await api.get("/")).text)
            return all(text in " ".join(page.split()) for text in texts)

        assert not await shows("unpriced")
        await ends("r1", key["id"], cost_basis="unpriced")
        await ends("r2", ANONYMOUS_KEY_ID, cost_basis="unpriced")
        await eventually(lambda: shows("no budget 1 unpriced 1", "Without a key: 1 request, 1 unpriced ."))
        assert await shows("Nobody knows the price of an unpriced request")
        assert not await shows("$0")

        await ends("r3", key["id"], cost_nanos=1_500_000)
        await eventually(lambda: shows("no budget $0.0015 1 unpriced 2"))
