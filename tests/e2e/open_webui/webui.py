"""The real Open WebUI: installed into a cache directory, started offline against a gateway, asked over its API."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from shared.settings import process_environment
from tests.support.processes import Child, free_port

VERSION: Final = "0.12.4"
TORCH_VERSION: Final = "2.13.0"
START_TIMEOUT_S: Final = 180
SPENT_PREFIX: Final = "spent"


@dataclass(frozen=True, slots=True)
class WebUI:
    """A running Open WebUI without log-in; `token` is its only user's, an admin."""

    url: str
    token: str
    session: aiohttp.ClientSession

    async def models(self) -> dict[str, str]:
        """The models its selector offers: id -> label."""
        return {model["id"]: model["name"] for model in (await self._get("/api/models"))["data"]}

    async def chat(self, chat_id: str) -> dict[str, Any]:
        """One stored conversation with its message tree."""
        return dict(await self._get(f"/api/v1/chats/{chat_id}"))

    async def hide_news(self) -> None:
        """Do not greet with the changelog."""
        settings = {"ui": {"version": VERSION, "showChangelog": False}}
        async with self.session.post("/api/v1/users/user/settings/update", json=settings) as response:
            response.raise_for_status()

    async def _get(self, path: str) -> Any:
        async with self.session.get(path) as response:
            response.raise_for_status()
            return await response.json()


def install(cache: Path) -> Path:
    """A virtual environment with Open WebUI below `cache`; made at the first call (2.6 GB, some minutes)."""
    venv = cache / f"venv-{VERSION}"
    command = venv / "bin" / "open-webui"
    if command.exists():
        return venv
    if sys.version_info >= (3, 13):
        raise SystemExit(
            f"Open WebUI {VERSION} needs Python 3.11 or 3.12: install it in an environment of one of these "
            "and name that with --open-webui-venv."
        )
    print(f"Installing Open WebUI {VERSION} into {venv} (once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # pip itself first: it takes a build of torch for the CPU where there is one; uv then leaves it in place
    subprocess.run([*pip, "uv", f"torch=={TORCH_VERSION}"], check=True)
    uv = [str(venv / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(venv / "bin" / "python")]
    subprocess.run([*uv, f"open-webui=={VERSION}"], check=True)
    return venv


def environment(
    gateway: str, key: str, spent_key: str, data_dir: Path, image_model: str
) -> Mapping[str, str]:
    """Offline, without log-in, everything through `gateway` (ending in /v1) with `key`; the same gateway stands
    there once more as a connection of its own with `spent_key`, its models named `spent.provider/model`.

    Usage is asked for on every stream, as an admin does by ticking the capability. Function calling is `legacy`:
    then the image button asks the images endpoint itself instead of leaving that to the model's tool call.
    """
    config = {
        "DATA_DIR": str(data_dir),
        "WEBUI_SECRET_KEY": base64.b64encode(os.urandom(24)).decode(),
        "WEBUI_AUTH": "False",
        "BYPASS_MODEL_ACCESS_CONTROL": "True",
        "ENABLE_PERSISTENT_CONFIG": "False",
        "OPENAI_API_BASE_URLS": f"{gateway};{gateway}",
        "OPENAI_API_KEYS": f"{key};{spent_key}",
        "OPENAI_API_CONFIGS": json.dumps(
            {"0": {"enable": True}, "1": {"enable": True, "prefix_id": SPENT_PREFIX}}
        ),
        "ENABLE_OLLAMA_API": "False",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "ENABLE_VERSION_UPDATE_CHECK": "False",
        "ANONYMIZED_TELEMETRY": "False",
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_OPENAI_API_BASE_URL": gateway,
        "RAG_OPENAI_API_KEY": key,
        "ENABLE_IMAGE_GENERATION": "True",
        "ENABLE_IMAGE_PROMPT_GENERATION": "False",
        "IMAGE_GENERATION_ENGINE": "openai",
        "IMAGES_OPENAI_API_BASE_URL": gateway,
        "IMAGES_OPENAI_API_KEY": key,
        "IMAGE_GENERATION_MODEL": image_model,
        "ENABLE_FORWARD_USER_INFO_HEADERS": "True",
        "DEFAULT_MODEL_METADATA": json.dumps({"capabilities": {"usage": True, "image_generation": True}}),
        "DEFAULT_MODEL_PARAMS": json.dumps({"function_calling": "legacy"}),
        # keeps the threads of the numeric libraries from taking every core of a small machine
        "OMP_NUM_THREADS": "1",
    }
    inherited = {
        name: process_environment()[name]
        for name in ("PATH", "HOME", "LANG")
        if name in process_environment()
    }
    return inherited | config


@asynccontextmanager
async def running(
    venv: Path, gateway: str, key: str, spent_key: str, work: Path, image_model: str
) -> AsyncIterator[WebUI]:
    """A fresh Open WebUI on a free port of the loopback, its data and output below `work`; killed at the end."""
    data_dir = work / "open-webui"
    data_dir.mkdir(parents=True)
    port = free_port()
    child = Child(
        "open-webui",
        [str(venv / "bin" / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)],
        environment(gateway, key, spent_key, data_dir, image_model),
        work / "open-webui.log",
    )
    url = f"http://127.0.0.1:{port}"
    await asyncio.to_thread(child.start)
    try:
        await child.until_answering(f"{url}/health", START_TIMEOUT_S)
        token = await _sign_in(url)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            webui = WebUI(url, token, session)
            await webui.hide_news()
            yield webui
    finally:
        await child.kill()


async def _sign_in(url: str) -> str:
    async with (
        aiohttp.ClientSession(url) as session,
        session.post("/api/v1/auths/signin", json={"email": "", "password": ""}) as response,
    ):
        response.raise_for_status()
        return str((await response.json())["token"])
