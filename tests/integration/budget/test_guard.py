"""What comes before any route of the admin API: who may come in, and how much may be sent."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.budget.main import budget_service
from shared.eventlog.port import EventLog
from tests.support.budget_api import ENVIRON, TOKEN, created, error_of, settings_for


@pytest.mark.parametrize("token", ["", "wrong", "sk-fo-anything"])
@pytest.mark.parametrize("path", ["/api/virtual-keys", "/api/providers", "/api/routes", "/api/models"])
async def test_only_the_admin_token_opens_the_api(api: httpx.AsyncClient, token: str, path: str) -> None:
    answer = await api.get(path, headers={"authorization": f"Bearer {token}"})

    assert error_of(answer)[:2] == (401, "invalid_admin_token")


@pytest.mark.parametrize("content", [b"{", b'{"colour": "red"}', b"x" * 2_000_000])
async def test_who_may_not_come_in_learns_nothing_about_what_was_sent(
    api: httpx.AsyncClient, content: bytes
) -> None:
    headers = {"authorization": "Bearer wrong", "content-type": "application/json"}

    answer = await api.post("/api/virtual-keys", content=content, headers=headers)

    assert error_of(answer)[:2] == (401, "invalid_admin_token")


@pytest.mark.parametrize("path", ["/api/virtual-keys", "/login"])
@pytest.mark.parametrize("is_declared", [True, False])
async def test_no_body_is_large(api: httpx.AsyncClient, path: str, is_declared: bool) -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 65_536
            yield b"x" * 65_536

    content = b"x" * 6_553_600 if is_declared else pieces()
    headers = {
        "content-type": "application/x-www-form-urlencoded" if path == "/login" else "application/json"
    }

    answer = await api.post(path, content=content, headers=headers)

    assert error_of(answer) == (413, "body_too_large", None)
    assert read < 2_000_000


async def test_a_fault_of_ours_has_the_shape_of_every_error(log: EventLog, tmp_path: Path) -> None:
    async with budget_service(settings_for(tmp_path), log, ENVIRON) as app:
        assert isinstance(app, FastAPI)
        del app.state.services
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://finops.test") as client:
            answer = await client.get("/api/providers", headers={"authorization": f"Bearer {TOKEN}"})

    assert error_of(answer) == (500, "internal_error", None)


async def test_a_virtual_key_does_not_open_the_api(api: httpx.AsyncClient) -> None:
    key = await created(api)

    answer = await api.get("/api/providers", headers={"authorization": f"Bearer {key['key']}"})

    assert answer.status_code == 401
