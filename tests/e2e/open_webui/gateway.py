"""The product as a newcomer starts it, `finops up`, and its admin API."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from shared.settings import process_environment
from tests.support.processes import Child, free_port

START_TIMEOUT_S: Final = 90
ADMIN_TOKEN: Final = "open-webui-check"
PAGE_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and a session with the admin token."""

    url: str
    session: aiohttp.ClientSession

    @property
    def inference_url(self) -> str:
        return f"{self.url}/v1"

    async def create_key(self, name: str, budget_usd: str) -> tuple[str, str]:
        """A virtual key with a monthly budget: its id and the key itself."""
        body = {"name": name, "budgets": [{"limit": budget_usd, "window": "1M", "alignment": "calendar"}]}
        async with self.session.post("/api/virtual-keys", json=body) as response:
            response.raise_for_status()
            created = await response.json()
        return str(created["id"]), str(created["key"])

    async def key(self, key_id: str) -> dict[str, Any]:
        """The key as the API shows it, with what its budgets have spent."""
        return dict(await self._get(f"/api/virtual-keys/{key_id}", {}))

    async def logs(self, key_id: str) -> list[dict[str, Any]]:
        """All rows of a key, newest first."""
        rows: list[dict[str, Any]] = []
        query = {"virtual_key": key_id, "limit": str(PAGE_SIZE)}
        while True:
            page = await self._get("/api/logs", query)
            rows += page["items"]
            if not page["next_cursor"]:
                return rows
            query["cursor"] = page["next_cursor"]

    async def log(self, request_id: str) -> dict[str, Any]:
        """One row with its conversation."""
        return dict(await self._get(f"/api/logs/{request_id}", {}))

    async def complete(self, key: str, model: str, text: str) -> tuple[int, str]:
        """One short completion: the status and, for a refusal, the sentence."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        headers = {"Authorization": f"Bearer {key}"}
        async with self.session.post("/v1/chat/completions", json=body, headers=headers) as response:
            answer = await response.json()
            return response.status, str(answer.get("error", {}).get("message", ""))

    async def _get(self, path: str, query: Mapping[str, str]) -> Any:
        async with self.session.get(path, params=query) as response:
            response.raise_for_status()
            return await response.json()


@asynccontextmanager
async def running(work: Path) -> AsyncIterator[Gateway]:
    """`finops up` on a free port with its data and output below `work`."""
    port = free_port()
    environ = {
        **{name: value for name, value in process_environment().items() if not name.startswith("FINOPS_")},
        "FINOPS_PORT": str(port),
        "FINOPS_DATA_DIR": str(work / "finops"),
        "FINOPS_ADMIN_TOKEN": ADMIN_TOKEN,
        "FINOPS_REQUIRE_VIRTUAL_KEY": "true",
    }
    child = Child("finops", [sys.executable, "-m", "services.cli", "up"], environ, work / "finops.log")
    child.start()
    try:
        url = f"http://127.0.0.1:{port}"
        await child.until_answering(f"{url}/readyz", START_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            await child.until(lambda: _shows_logs(session), START_TIMEOUT_S, "showing its logs")
            yield Gateway(url, session)
    finally:
        await child.stop()


async def _shows_logs(session: aiohttp.ClientSession) -> bool:
    """The log ingester is a process of its own and may come up later than the gateway."""
    async with session.get("/api/logs") as response:
        return response.status == 200
