"""What a person does in Open WebUI, done by a headless Chromium; every step leaves a screenshot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Page, expect

from tests.e2e.open_webui.webui import WebUI
from tests.support.browser import open_browser

STEP_TIMEOUT_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Conversation:
    """One chat page with one model selected."""

    page: Page
    pictures: Path
    label: str
    """What Open WebUI calls the model."""

    @property
    def chat_id(self) -> str:
        """The id of the stored conversation; known once the first message is sent."""
        return self.page.url.rpartition("/c/")[2]

    async def picture(self, name: str) -> None:
        await self.page.screenshot(path=self.pictures / f"{name}.png")

    async def offered_models(self) -> list[str]:
        """The labels in the model selector."""
        await self.page.click("#model-selector-model-button")
        options = self.page.get_by_role("listbox", name="Available models").get_by_role("option")
        await expect(options.first).to_be_visible(timeout=STEP_TIMEOUT_MS)
        names = await options.all_inner_texts()
        await self.picture("models")
        await self.page.keyboard.press("Escape")
        return [name.strip().splitlines()[0] for name in names]

    async def switch_image_on(self) -> None:
        await self.page.click("#integration-menu-button")
        await self.page.get_by_role("menuitemcheckbox", name="Image").click()
        await self.page.keyboard.press("Escape")

    async def say(self, text: str) -> None:
        await self.page.click("#chat-input")
        await self.page.keyboard.type(text)
        await self.page.click("#send-message-button")

    async def wait_for_answer(self) -> str:
        """Until the answer is whole: its info button appears then. Returns all messages' text."""
        await expect(self.page.locator("[id^=info-]").last).to_be_visible(timeout=STEP_TIMEOUT_MS)
        return await self.text()

    async def wait_for_image(self) -> str:
        """Until a generated image is loaded in the chat. Returns its address."""
        image = self.page.locator("[id^=message-] img[alt^=generated]").last
        await expect(image).to_be_visible(timeout=STEP_TIMEOUT_MS)
        return await image.get_attribute("src") or ""

    async def wait_for_text(self, text: str) -> None:
        await expect(self.page.get_by_text(text).first).to_be_visible(timeout=STEP_TIMEOUT_MS)

    async def text(self) -> str:
        return "\n".join(await self.page.locator("[id^=message-]").all_inner_texts())

    async def info_tooltip(self) -> str:
        """What the (i) under the last answer shows: its usage, with our cost."""
        await self.page.locator("[id^=info-]").last.hover()
        tooltip = self.page.locator(".tippy-content", has_text="prompt_tokens").last
        await expect(tooltip).to_be_visible(timeout=STEP_TIMEOUT_MS)
        return await tooltip.inner_text()


@asynccontextmanager
async def conversations(webui: WebUI, pictures: Path) -> AsyncIterator["Browser"]:
    """A browser signed in at `webui`."""
    async with open_browser() as chromium:
        context = await chromium.new_context(viewport={"width": 1280, "height": 800})
        await context.add_init_script(f"localStorage.token = {webui.token!r}")
        yield Browser(webui, await context.new_page(), pictures)


@dataclass(frozen=True, slots=True)
class Browser:
    webui: WebUI
    page: Page
    pictures: Path

    async def new_chat(self, model: str) -> Conversation:
        label = (await self.webui.models())[model]
        await self.page.goto(f"{self.webui.url}/?models={model}")
        await expect(self.page.locator("#chat-input")).to_be_visible(timeout=STEP_TIMEOUT_MS)
        await expect(self.page.locator("#model-selector-model-button")).to_contain_text(label)
        return Conversation(self.page, self.pictures, label)
