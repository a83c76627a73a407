"""Logging in and out, and the headers of pages."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from shared.web.login import web_routes
from shared.web.pages import Pages
from shared.web.session import COOKIE, AdminAccess

TOKEN = "fo-admin-secret"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=web_routes(AdminAccess(TOKEN, b"k" * 32), Pages(), home="/home"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_the_right_token_opens_a_session_out_of_reach_of_scripts_and_other_sites(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post("/login", params={"next": "/logs?search=a"}, data={"token": f" {TOKEN} "})

    assert (response.status_code, response.headers["location"]) == (303, "/logs?search=a")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie


async def test_behind_tls_the_cookie_never_travels_in_the_clear(client: httpx.AsyncClient) -> None:
    response = await client.post("/login", data={"token": TOKEN}, headers={"x-forwarded-proto": "https"})

    assert "secure" in response.headers["set-cookie"].lower()


async def test_a_wrong_token_is_told_and_sets_nothing(client: httpx.AsyncClient) -> None:
    response = await client.post("/login", data={"token": "wrong"})

    assert response.status_code == 401
    assert "That is not the admin token" in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "", "javascript:x"]
)
async def test_a_login_never_leads_to_another_site(client: httpx.AsyncClient, target: str) -> None:
    response = await client.post("/login", params={"next": target}, data={"token": TOKEN})

    assert response.headers["location"] == "/home"


async def test_logging_out_takes_the_cookie_away(client: httpx.AsyncClient) -> None:
    await client.post("/login", data={"token": TOKEN})
    assert COOKIE in client.cookies

    response = await client.post("/logout")

    assert response.headers["location"] == "/login"
    assert COOKIE not in client.cookies


async def test_pages_forbid_foreign_and_inline_scripts(client: httpx.AsyncClient) -> None:
    response = await client.get("/login")

    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    assert "http://" not in response.text.replace("http://test", "") and "https://" not in response.text


async def test_static_files_are_kept_by_browsers_and_missing_ones_are_not(client: httpx.AsyncClient) -> None:
    found, missing = await client.get("/static/app.css"), await client.get("/static/../session.py")

    assert "immutable" in found.headers["cache-control"]
    assert missing.status_code == 404
