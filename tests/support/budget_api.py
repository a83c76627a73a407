"""The admin API over a whole budget service, for tests that ask it as an administrator would."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from services.budget.main import budget_service
from shared.eventlog.port import EventLog
from shared.settings import Settings

TOKEN = "admin-token-for-tests"
ENVIRON = {"OPENAI_API_KEY": "sk-live-openai", "MOCK_KEY": "mock-secret"}
YAML = """
providers:
  mock:
    type: openai
    base_url: http://127.0.0.1:9/v1
    credentials: [{name: main, api_key: env.MOCK_KEY}, {name: spare, api_key: literal-secret}, {name: third, api_key: env.UNSET_KEY}]
    models: [gpt-4o-mini, unheard-of]
routes:
  fast: {targets: [{model: mock/gpt-4o-mini, weight: 3}, openai/gpt-4o-mini], fallbacks: [demo/echo]}
prices:
  mock/gpt-4o-mini: {input_per_million: "0.15", output_per_million: "0.60"}
"""


def settings_for(directory: Path) -> Settings:
    config = directory / "finops.yaml"
    if not config.exists():
        config.write_text(YAML)
    return Settings.load(
        {
            "FINOPS_ADMIN_TOKEN": TOKEN,
            "FINOPS_SECRET_KEY": base64.b64encode(b"k" * 32).decode(),
            "FINOPS_CONFIG": str(config),
            "FINOPS_DATA_DIR": str(directory),
        }
    )


@asynccontextmanager
async def running(
    log: EventLog, directory: Path, environ: Mapping[str, str] = ENVIRON, token: str = TOKEN
) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        budget_service(settings_for(directory), log, environ) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://finops.test",
            headers={"authorization": f"Bearer {token}"} if token else {},
        ) as client,
    ):
        yield client


async def created(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await api.post("/api/virtual-keys", json={"name": "team-a", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]
