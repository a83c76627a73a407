"""A real browser for page tests: Debian's chromium, driven by Playwright, for 127.0.0.1 only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

from playwright.async_api import Browser, Page, async_playwright, expect

PATIENCE_MS = 30_000
"""How long an expectation may take to come true on a slow, busy machine; Playwright's own 5 s are not enough there."""
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """The installed chromium. Raises RuntimeError with what to do when there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := which(name):
            return found
    raise RuntimeError("No browser found: install Debian's `chromium` package.")


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), headless=True, args=list(_ARGUMENTS)
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser, base_url: str, **context: object
) -> AsyncIterator[tuple[Page, list[str]]]:
    """A fresh page and the list of what went wrong in it: script errors, policy violations, failed loads."""
    options = {"base_url": base_url, "viewport": {"width": 1440, "height": 900}, **context}
    session = await browser.new_context(**options)  # type: ignore[arg-type]  # options are Playwright's own
    page = await session.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None,
    )
    try:
        yield page, faults
    finally:
        await session.close()


async def log_in(page: Page, token: str, path: str = "/logs") -> None:
    await page.goto(path)
    await page.get_by_label("Admin token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(lambda url: "/login" not in url)


async def screenshot(page: Page, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=path)
