"""The logs page in a real browser: login, list, search, filters, detail, live rows. Pictures go to FINOPS_TEST_SHOTS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Page, expect

from services.log_ingest.main import log_ingest_service
from shared.eventlog.port import EventLog
from shared.events import Attempt, RequestLogged
from shared.server import bind, url_of
from shared.settings import process_environment
from tests.support.browser import log_in, open_browser, open_page, screenshot
from tests.support.eventually import eventually
from tests.support.log_events import T0_MS, raw, request_logged
from tests.support.log_ingest import ADMIN_TOKEN, ingest_settings, started_log, to_append

pytestmark = [pytest.mark.browser, pytest.mark.clickhouse]

WEATHER = {
    "messages": [
        {"role": "system", "content": "You answer briefly."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Is it raining in <b>Hamburg</b>?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
    ]
}
CALL = {"function": {"name": "lookup_weather", "arguments": '{"city": "Hamburg"}'}}


def weather_request() -> RequestLogged:
    return request_logged(
        500,
        request=raw(WEATHER),
        response=raw(
            {"choices": [{"message": {"content": "Yes, bring an umbrella.", "tool_calls": [CALL]}}]}
        ),
        attempts=(
            Attempt(
                provider="openai", model="gpt-4o-mini", credential="main", http_status=429, duration_ms=80
            ),
            Attempt(
                provider="openai", model="gpt-4o-mini", credential="second", http_status=200, duration_ms=700
            ),
        ),
        task="title",
    )


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[str, EventLog]]:
    """The service on a port of 127.0.0.1: its URL and its event log."""
    settings = ingest_settings(tmp_path, port="0")
    async with started_log(settings) as log, log_ingest_service(settings, log) as app:
        listener = bind(settings)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test runner keeps its own
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(lambda: server.started, 20)
            yield url_of(listener), log
        finally:
            server.should_exit = True
            await task
            listener.close()


async def shoot(page: Page, name: str) -> None:
    if folder := process_environment().get("FINOPS_TEST_SHOTS"):
        await screenshot(page, Path(folder) / f"{name}.png")


async def test_an_administrator_finds_and_reads_a_conversation(tmp_path: Path) -> None:
    others = [request_logged(number, started_at_ms=T0_MS + number * 1000) for number in range(120)]
    failed = request_logged(
        400, outcome="error", http_status=402, error_code="budget_exceeded", provider="groq"
    )
    async with served(tmp_path) as (url, log), open_browser() as browser:
        await log.append(to_append(log, [*others, failed, weather_request()]))
        async with open_page(browser, url) as (page, faults):
            await log_in(page, ADMIN_TOKEN)
            row = page.locator("tr[data-row]")
            await expect(row).to_have_count(50)
            await shoot(page, "logs")

            await page.mouse.wheel(0, 20_000)
            await expect(row).not_to_have_count(50)
            await page.mouse.wheel(0, 20_000)
            await expect(row).to_have_count(122)

            await page.get_by_label("Search in conversations").fill("umbrella hamburg")
            await expect(row).to_have_count(1)
            assert "search=umbrella" in page.url and "provider" not in page.url
            await row.first.click()
            panel = page.locator("#panel")
            chat = panel.locator(".chat")
            await expect(chat.get_by_text("Yes, bring an umbrella.")).to_be_visible()
            await expect(chat.get_by_text("Is it raining in <b>Hamburg</b>?")).to_be_visible()
            await expect(chat.get_by_text("lookup_weather")).to_be_visible()
            await expect(panel.locator("[data-kind=image]")).to_have_text("image/png")
            await shoot(page, "logs-panel")
            await panel.get_by_role("tab", name="Attempts (2)").click()
            await expect(panel.get_by_text("second")).to_be_visible()
            await panel.get_by_role("tab", name="Request", exact=True).click()
            await expect(panel.locator("#body-request")).to_contain_text('"role": "system"')
            await page.keyboard.press("Escape")
            await expect(panel).to_be_empty()

            await page.get_by_role("link", name="Clear").click()
            await page.get_by_label("Status").select_option("error")
            await expect(row).to_have_count(1)
            await expect(row.first).to_contain_text("groq")
            await page.get_by_label("Search in conversations").fill("nothingsays")
            await expect(page.get_by_text("No request matches")).to_be_visible()
            await page.goto("/logs?min_cost=much")
            await expect(page.get_by_role("alert")).to_contain_text("min_cost is wrong")

            await page.get_by_role("button", name="Log out").click()
            await page.goto("/logs")
            await expect(page.get_by_label("Admin token")).to_be_visible()
        assert faults == []


async def test_a_phone_shows_what_a_request_cost_without_scrolling_sideways(tmp_path: Path) -> None:
    phone = {"width": 390, "height": 844}
    async with served(tmp_path) as (url, log), open_browser() as browser:
        await log.append(to_append(log, [weather_request()]))
        async with open_page(browser, url, viewport=phone) as (page, faults):
            await log_in(page, ADMIN_TOKEN)
            row = page.locator("tr[data-row]").first
            for part in (row.locator(".cost"), row.locator(".status"), row.locator(".model")):
                await expect(part).to_be_in_viewport(ratio=1)
            await shoot(page, "logs-phone")
            await row.click()
            await expect(page.locator("#panel .chat").get_by_text("Yes, bring an umbrella.")).to_be_visible()
            width = await page.evaluate("document.documentElement.scrollWidth")
        assert width == phone["width"]
        assert faults == []


async def test_new_requests_appear_by_themselves_and_keep_the_readers_place(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, log), open_browser() as browser:
        async with open_page(browser, url, color_scheme="dark") as (page, faults):
            await log_in(page, ADMIN_TOKEN)
            await expect(page.get_by_text("No requests yet")).to_be_visible()
            await shoot(page, "logs-empty")
            row = page.locator("tr[data-row]")

            await log.append(to_append(log, [request_logged(number) for number in range(60)]))
            await expect(row).to_have_count(50)

            await row.nth(2).click()
            await expect(page.locator("#panel").get_by_role("tab", name="Conversation")).to_be_visible()
            newest = request_logged(900, model="brand-new-model")
            await log.append(to_append(log, [newest]))
            await expect(row.first).to_contain_text("brand-new-model")
            await expect(row).to_have_count(51)
            await expect(page.locator("#panel").get_by_role("tab", name="Conversation")).to_be_visible()
            await shoot(page, "logs-dark")
        assert faults == []
