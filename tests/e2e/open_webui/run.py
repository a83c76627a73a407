"""Drive the real Open WebUI against the gateway, as a person would: `python -m tests.e2e.open_webui.run --help`.

Ends with status 0 and one JSON object when every check held; screenshots and output files stay in the output folder.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from playwright.async_api import expect

from tests.e2e.open_webui import gateway as gateways
from tests.e2e.open_webui import webui as webuis
from tests.e2e.open_webui.browser import Browser, conversations
from tests.e2e.open_webui.gateway import Gateway
from tests.e2e.open_webui.webui import SPENT_PREFIX, WebUI

CHAT_MODEL: Final = "demo/echo"
IMAGE_MODEL: Final = "demo/image"
KEY_NAME: Final = "open-webui"
SPENT_NAME: Final = "open-webui-spent"
LAST_QUESTION: Final = "One more question"
SETTLE_TIMEOUT_S: Final = 60
EXPECTED_CALLS: Final = {"message": 2, "title": 2, "tags": 2, "follow_ups": 2, "image": 1}
"""What two first turns cause, the second of them with the image button on: Open WebUI asks three background
questions after each. All of them must stand in the log under the key."""
TASK_MARKS: Final = {"title": "concise title", "tags": "broad tags", "follow_ups": "might natura"}


class CheckFailed(AssertionError):
    """Something a user would notice is not as promised."""


def check(holds: bool, what: str, *, quiet: bool = False) -> None:
    if not holds:
        raise CheckFailed(f"not so: {what}")
    if not quiet:
        print(f"  ok: {what}", flush=True)


async def chat(browser: Browser, webui: WebUI) -> None:
    """A streamed conversation whose cost is visible below the answer and stored with it."""
    conversation = await browser.new_chat(CHAT_MODEL)
    offered = await conversation.offered_models()
    check(conversation.label in offered, f"the selector offers {CHAT_MODEL}: {', '.join(offered)}")
    await conversation.say("The quick brown fox asks what a gateway costs")
    text = await conversation.wait_for_answer()
    check("quick brown fox" in text.partition(conversation.label)[2], "the answer is shown")
    tooltip = await conversation.info_tooltip()
    await conversation.picture("cost")
    cost = next(
        (line.removeprefix("cost: ") for line in tooltip.splitlines() if line.startswith("cost: ")), "0"
    )
    check(float(cost) > 0, f"the info tooltip shows the cost: {cost} USD")
    stored = (await webui.chat(conversation.chat_id))["chat"]["history"]["messages"].values()
    usage = next(message["usage"] for message in stored if message["role"] == "assistant")
    check(usage["cost"] == float(cost), "the same cost is stored with the message, once")


async def image(browser: Browser) -> None:
    """The image button makes an image through the gateway."""
    conversation = await browser.new_chat(CHAT_MODEL)
    await conversation.switch_image_on()
    await conversation.say("A red square on a white ground")
    source = await conversation.wait_for_image()
    await conversation.wait_for_answer()
    await conversation.picture("image")
    check(bool(source), "an image was generated and is shown")


async def refused(browser: Browser, sentence: str) -> None:
    """A key whose budget is gone: the gateway's own sentence stands in the chat."""
    conversation = await browser.new_chat(f"{SPENT_PREFIX}.{CHAT_MODEL}")
    await conversation.say(LAST_QUESTION)
    opening = sentence.partition(SPENT_NAME)[0] + SPENT_NAME
    await conversation.wait_for_text(opening)
    text = await conversation.text()
    await conversation.picture("budget")
    shown = next(line for line in text.splitlines() if opening in line)
    check(shown.endswith("."), f"the refusal is shown as the gateway put it: {shown}")
    check("402" not in text and "{" not in text, "as a sentence, without status codes or JSON")


async def spend_all(gateway: Gateway, key: str) -> str:
    """Use a key until it is refused for good; returns the sentence."""
    for _ in range(2_000):
        status, sentence = await gateway.complete(key, CHAT_MODEL, LAST_QUESTION)
        if status == 402:
            return sentence
        check(
            status in (200, 429), f"a request within the budget is served ({status} {sentence})", quiet=True
        )
    raise CheckFailed("a key with a tiny budget was never refused")


def kind_of(detail: Mapping[str, Any]) -> str:
    """Which of Open WebUI's calls a logged request is, read from its prompt."""
    if detail["endpoint"].startswith("images."):
        return "image"
    prompt = json.dumps(detail["request"])
    if "### Task:" not in prompt:
        return "message"
    return next((task for task, mark in TASK_MARKS.items() if mark in prompt), "unknown task")


async def every_call_logged(gateway: Gateway, key_id: str) -> list[dict[str, Any]]:
    """Waits until the log holds what Open WebUI asked for under the key; then exactly that, all paid for."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    expected = sum(EXPECTED_CALLS.values())
    while len(rows := await gateway.logs(key_id)) < expected and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    details = [await gateway.log(row["request_id"]) for row in rows]
    calls = Counter(kind_of(detail) for detail in details)
    check(calls == EXPECTED_CALLS, f"every call stands in the log under the key, none twice: {dict(calls)}")
    labels = Counter(detail["task"] for detail in details if detail["task"])
    expected_labels = {task: times for task, times in EXPECTED_CALLS.items() if task in TASK_MARKS}
    check(labels == expected_labels, f"the background calls are labelled: {dict(labels)}")
    check(all(detail["status"] == "success" for detail in details), "all of them succeeded")
    check(all(detail["virtual_key_id"] == key_id for detail in details), "all of them under the key")
    return details


async def show_logs(browser: Browser, gateway: Gateway, key_id: str) -> None:
    """The same calls on the page that the operator looks at."""
    page = await browser.page.context.new_page()
    await page.goto(f"{gateway.url}/login?next=/logs")
    await page.get_by_label("Admin token").fill(gateways.ADMIN_TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{gateway.url}/logs")
    await page.goto(f"{gateway.url}/logs?virtual_key={key_id}")
    rows = page.get_by_role("cell", name=KEY_NAME, exact=True)
    await expect(rows).to_have_count(sum(EXPECTED_CALLS.values()))
    await page.screenshot(path=browser.pictures / "logs.png")
    await page.close()


async def drive(gateway: Gateway, venv: Path, work: Path) -> dict[str, Any]:
    key_id, key = await gateway.create_key(KEY_NAME, "5.00")
    spent_id, spent_key = await gateway.create_key(SPENT_NAME, "0.002")
    sentence = await spend_all(gateway, spent_key)
    print(f"The gateway refuses a spent key with: {sentence}", flush=True)
    async with (
        webuis.running(venv, gateway.inference_url, key, spent_key, work, IMAGE_MODEL) as webui,
        conversations(webui, work) as browser,
    ):
        models = await webui.models()
        check(CHAT_MODEL in models, f"Open WebUI lists the gateway's models: {', '.join(models)}")
        check(IMAGE_MODEL not in models, "models that cannot chat are not among them")
        await chat(browser, webui)
        await image(browser)
        details = await every_call_logged(gateway, key_id)
        await show_logs(browser, gateway, key_id)
        await refused(browser, sentence)
    settled = (await gateway.key(key_id))["budgets"][0]["settled"]
    spent = (await gateway.key(spent_id))["budgets"][0]["settled"]
    return {"calls": len(details), "settled_usd": settled, "spent_key_usd": spent, "screenshots": str(work)}


async def main(arguments: argparse.Namespace) -> None:
    venv = arguments.open_webui_venv or await asyncio.to_thread(webuis.install, arguments.cache)
    work = arguments.output or Path(tempfile.mkdtemp(prefix="finops-open-webui-"))
    work.mkdir(parents=True, exist_ok=True)
    async with gateways.running(work) as gateway:
        print(json.dumps(await drive(gateway, venv, work)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cache", type=Path, default=Path(".tools/open-webui"), help="where Open WebUI is installed"
    )
    parser.add_argument("--open-webui-venv", type=Path, help="an environment that holds Open WebUI already")
    parser.add_argument(
        "--output", type=Path, help="an empty folder for screenshots and logs (default: a new one)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
