"""The requests that Open WebUI sends, written by hand in the recorded shapes, against a whole gateway."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from shared.governance.model import VirtualKey
from tests.support.eventually import eventually
from tests.support.gateway import DEMO, RunningGateway, mock_provider, running_gateway, virtual_key
from tests.support.upstream import running_upstream

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 200


def owui_key(**overrides: Any) -> tuple[str, VirtualKey]:
    """A key as an administrator makes it for Open WebUI."""
    return virtual_key("open-webui", trust_user_headers=True, always_send_usage=True, **overrides)


def headers_of(secret: str, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {secret}",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate, br",
        "X-OpenWebUI-User-Name": "Ada %C3%84dmin",
        "X-OpenWebUI-User-Id": "u-1",
        "X-OpenWebUI-User-Email": "ada@example.org",
        "X-OpenWebUI-User-Role": "admin",
        "X-OpenWebUI-Chat-Id": "chat-1",
        **more,
    }


def tools(count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": "what it does " * 30,
                "parameters": {
                    "type": "object",
                    "properties": {"query": {"type": "string"}},
                    "required": ["query"],
                },
            },
        }
        for number in range(count)
    ]


async def test_the_page_load_lists_chat_models_only(tmp_path: Path) -> None:
    secret, key = owui_key(allowed_models=("demo/*",))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, DEMO, mock_provider(upstream.url), key) as gateway,
    ):
        for path in ("/v1/models", "/v1//models", "/v1/models/"):
            async with gateway.http.get(path, headers=headers_of(secret)) as response:
                answer = await response.json()
            assert answer["object"] == "list"
            assert [model["id"] for model in answer["data"]] == ["demo/echo", "demo/lorem"]
            assert all(model["name"] for model in answer["data"])
        async with gateway.http.get("/v1/models?type=all", headers=headers_of(secret)) as response:
            assert {model["type"] for model in (await response.json())["data"]} > {"chat", "image"}
        async with gateway.http.get("/v1/models?type=nonsense") as response:
            assert response.status == 400


async def test_a_provider_that_never_answers_does_not_slow_the_list(tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the gateway hangs up
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    hanging = mock_provider(f"http://127.0.0.1:{port}/v1", name="hanging", models=None)
    long_before_its_timeout = aiohttp.ClientTimeout(total=20)
    async with (
        silent,
        running_gateway(tmp_path, DEMO, hanging) as gateway,
        gateway.http.get("/v1/models", timeout=long_before_its_timeout) as response,
    ):
        assert {model["owned_by"] for model in (await response.json())["data"]} == {"demo"}


async def test_a_discovered_list_appears_by_itself(tmp_path: Path) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, DEMO) as gateway,
    ):
        await gateway.govern(mock_provider(upstream.url, models=None))

        listed = await eventually_listing(gateway, "mock/gpt-4o-mini")

        assert "mock/dall-e-3" not in listed  # no chat model
        async with gateway.http.get("/v1/models/mock/dall-e-3") as response:
            assert (await response.json())["type"] == "image"
        assert (await gateway.chat("mock/not-listed", "hi")).status == 404


async def eventually_listing(gateway: RunningGateway, model: str) -> list[str]:
    async def listed() -> list[str]:
        async with gateway.http.get("/v1/models") as response:
            names = [entry["id"] for entry in (await response.json())["data"]]
        return names if model in names else []

    return await eventually(listed)


async def test_a_message_with_tools_is_streamed_with_its_cost(tmp_path: Path) -> None:
    secret, key = owui_key()
    async with running_gateway(tmp_path, DEMO, key) as gateway:
        messages = [{"role": "user", "content": "Hello"}]
        body = {"stream": True, "model": "demo/echo", "messages": messages, "tools": tools(36)}
        async with gateway.http.post(
            "/v1/chat/completions", json=body, headers=headers_of(secret)
        ) as response:
            text = await response.text()

        usages = [line for line in text.splitlines() if '"usage":{' in line]
        assert len(usages) == 1
        assert '"cost":' in usages[0]
        (logged,) = await gateway.logged()
        assert (logged.end_user, logged.chat_id, logged.task) == ("ada@example.org", "chat-1", "")
        assert logged.request_bytes > 10_000


async def test_background_calls_are_labelled(tmp_path: Path) -> None:
    secret, key = owui_key()
    async with running_gateway(tmp_path, DEMO, key) as gateway:
        for text, extra in (
            ("### Task:\nName a short title for this chat.", {}),
            ("### Task:\nName tags.", {"X-FinOps-Task": "tags_generation"}),
            ("Hello", {"X-FinOps-Task": ""}),
        ):
            body = {
                "model": "demo/echo",
                "messages": [{"role": "user", "content": text}],
                "stream": False,
                "max_tokens": 1000,
            }
            headers = headers_of(secret, **extra)
            async with gateway.http.post("/v1/chat/completions", json=body, headers=headers) as response:
                assert response.status == 200

        assert [event.task for event in await gateway.logged(3)] == ["title", "tags", ""]


async def test_a_picture_reaches_the_provider_but_not_the_log(tmp_path: Path) -> None:
    secret, key = owui_key()
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), key) as gateway,
    ):
        content = [
            {"type": "text", "text": "<attached_files>"},
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": PICTURE}},
        ]
        body = {
            "model": "mock/gpt-4o-mini",
            "messages": [{"role": "user", "content": content}],
            "stream": False,
        }
        async with gateway.http.post(
            "/v1/chat/completions", json=body, headers=headers_of(secret)
        ) as response:
            assert response.status == 200

        assert PICTURE in json.dumps(upstream.app.requests[0]["body"])
        (logged,) = await gateway.logged()
        assert PICTURE.encode() not in bytes(logged.request)
        assert b"what is this?" in bytes(logged.request)
        assert logged.request_bytes > len(PICTURE)


async def test_images_speech_and_a_recording_sent_in_chunks(tmp_path: Path) -> None:
    secret, key = owui_key()
    async with running_gateway(tmp_path, DEMO, key) as gateway:
        image = {
            "model": "demo/image",
            "prompt": "a cat",
            "n": 1,
            "size": "512x512",
            "response_format": "b64_json",
        }
        async with gateway.http.post(
            "/v1/images/generations", json=image, headers=headers_of(secret)
        ) as response:
            assert (await response.json())["data"][0]["b64_json"]
        speech = {"input": "hello", "voice": "alloy", "model": "demo/speech"}
        async with gateway.http.post("/v1/audio/speech", json=speech, headers=headers_of(secret)) as response:
            assert response.content_type.startswith("audio/")
        form = aiohttp.FormData()
        form.add_field("model", "demo/transcription")
        form.add_field(
            "file", b"RIFF" + bytes(2000), filename="audio.wav", content_type="application/octet-stream"
        )
        async with gateway.http.post(
            "/v1/audio/transcriptions", data=form, headers=headers_of(secret), chunked=True
        ) as response:
            assert "text" in await response.json()
        assert {event.end_user for event in await gateway.logged(3)} == {"ada@example.org"}


@pytest.mark.parametrize("required", ["true", "false"])
async def test_calls_that_come_without_any_key(tmp_path: Path, required: str) -> None:
    environ = {"FINOPS_REQUIRE_VIRTUAL_KEY": required}
    async with running_gateway(tmp_path, DEMO, environ=environ) as gateway:
        for path in ("/v1/audio/models", "/v1/audio/voices", "/v1/models"):
            async with gateway.http.get(path, headers={"Authorization": "Bearer "}) as response:
                answer = await response.json()
            if required == "true":
                assert (response.status, answer["error"]["code"]) == (401, "missing_api_key")
            else:
                assert response.status == 200
        if required == "false":
            async with gateway.http.get("/v1/audio/models") as response:
                assert [model["id"] for model in (await response.json())["models"]] == ["demo/speech"]
            async with gateway.http.get("/v1/audio/voices") as response:
                assert {"id": "alloy", "name": "Alloy"} in (await response.json())["voices"]


async def test_refusals_without_a_key_are_not_logged_but_counted(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO) as gateway:
        refused = await gateway.chat("demo/echo", "hi", "sk-fo-unknown")
        served = await gateway.chat("demo/echo", "hi", "dummy")

        assert (refused.status, served.status) == (401, 200)
        (logged,) = await gateway.logged()
        assert logged.virtual_key_id == "anonymous"
        metrics = await (await gateway.http.get("/metrics")).text()
        assert 'finops_gateway_unauthorized_total{code="invalid_api_key"} 1.0' in metrics


async def test_direct_connections_from_a_browser(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO, environ={"FINOPS_REQUIRE_VIRTUAL_KEY": "true"}) as gateway:
        origin = {"Origin": "http://localhost:3000"}
        asked = {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        async with gateway.http.options("/v1/chat/completions", headers=asked) as preflight:
            assert preflight.status == 204
            assert "Authorization" in preflight.headers["access-control-allow-headers"]
        async with gateway.http.get("/v1/models", headers=origin) as refused:
            assert refused.status == 401
            assert refused.headers.getall("access-control-allow-origin") == ["*"]
            assert msgspec.json.decode(await refused.read())["error"]["message"]
