"""Who a request is for, through a whole gateway: signed tokens, headers with other names, and what providers see of it."""

import base64
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.events import RequestLogged, encode
from shared.governance.model import Credential, Provider, UserJwtSecret, VirtualKey
from shared.security import seal
from shared.topics import GOVERNANCE, REQUESTS, SPEND, USAGE
from shared.user_jwt import sealing_context
from tests.support.budget_api import created, running
from tests.support.eventually import eventually
from tests.support.gateway import DEMO, RunningGateway, running_gateway, served, virtual_key
from tests.support.upstream.app import Receive, Scope, Send
from tests.support.user_tokens import SECRET, token

KEY = b"k" * 32
ENVIRON = {"FINOPS_SECRET_KEY": base64.b64encode(KEY).decode(), "FINOPS_REQUIRE_VIRTUAL_KEY": "true"}
ASK = [{"role": "user", "content": "Hello"}]
MALLORY = "mallory@example.org"


def signed_key() -> tuple[str, VirtualKey, str]:
    """A key, what governance knows of it, and the sealed text of its secret."""
    sealed = seal(SECRET, KEY, sealing_context("vk_owui"))
    secret, key = virtual_key("owui", trust_user_headers=True, user_jwt=UserJwtSecret(sealed=sealed))
    return secret, key, sealed


async def ask(gateway: RunningGateway, secret: str, headers: dict[str, str], *, stream: bool = False) -> None:
    body = {"model": "demo/echo", "messages": ASK, "stream": stream, "user": MALLORY}
    sent = {"authorization": f"Bearer {secret}", **headers}
    async with gateway.http.post("/v1/chat/completions", json=body, headers=sent) as response:
        assert response.status == 200, await response.text()
        await response.read()


def users(logged: list[RequestLogged]) -> list[tuple[str, str]]:
    return [(event.end_user, event.chat_id) for event in logged]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_token_says_who_asked_and_nothing_else_does(tmp_path: Path, stream: bool) -> None:
    secret, key, _ = signed_key()
    plain = {"x-openwebui-user-email": MALLORY, "x-openwebui-chat-id": "chat-1"}
    async with running_gateway(tmp_path, DEMO, key, environ=ENVIRON) as gateway:
        await ask(gateway, secret, {**plain, "x-openwebui-user-jwt": token()}, stream=stream)
        await ask(gateway, secret, {**plain, "x-openwebui-user-jwt": token(exp=1)}, stream=stream)
        await ask(gateway, secret, plain, stream=stream)

        assert users(await gateway.logged(3)) == [("ada@example.org", "chat-1"), ("", ""), ("", "")]
        async with gateway.http.get("/metrics") as response:
            text = await response.text()
        assert 'finops_gateway_refused_user_tokens_total{reason="expired"} 1.0' in text


async def test_neither_secret_nor_token_shows_in_an_answer_an_event_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, key, sealed = signed_key()
    good, bad = token(), token(exp=1)
    shown: list[str] = []
    question: dict[str, Any] = {"messages": ASK}
    with caplog.at_level(logging.DEBUG):
        async with running_gateway(tmp_path, DEMO, key, environ=ENVIRON) as gateway:
            headers = {"authorization": f"Bearer {secret}"}
            for given in (good, bad, "nonsense"):
                named = headers | {"x-openwebui-user-jwt": given}
                for path, body in (
                    ("chat/completions", {"model": "demo/echo"}),
                    ("embeddings", {}),
                    ("none", {}),
                ):
                    async with gateway.http.post(
                        f"/v1/{path}", json=body | question, headers=named
                    ) as response:
                        shown += [await response.text(), str(response.headers)]
            for path in ("/v1/models", "/metrics", "/readyz"):
                async with gateway.http.get(path, headers=headers) as response:
                    shown.append(await response.text())
            await gateway.logged(6)
            for topic in (REQUESTS, USAGE, SPEND):
                shown += [encode(event).decode("latin-1") for event in await gateway.events(topic)]
            governed = [encode(event).decode("latin-1") for event in await gateway.events(GOVERNANCE)]
    printed = capsys.readouterr()
    shown += [printed.out, printed.err, caplog.text]

    assert "user_token_is_not_believed" in printed.out + printed.err
    for text in (
        SECRET,
        sealed,
        good.split(".")[1],
        bad.split(".")[1],
        good.split(".")[2],
        bad.split(".")[2],
    ):
        assert [place for place in shown if text in place] == []
    assert not any(SECRET in text for text in governed)
    assert any(sealed in text for text in governed)  # this is how gateways learn it


async def test_a_secret_given_to_the_admin_api_is_in_force_at_the_gateway(tmp_path: Path) -> None:
    async with (
        running_gateway(tmp_path, DEMO, environ=ENVIRON) as gateway,
        running(gateway.log, tmp_path) as api,
    ):
        key = await created(api, user_jwt_secret=SECRET)
        path = f"/api/virtual-keys/{key['id']}"

        async def listed() -> bool:
            headers = {"authorization": f"Bearer {key['key']}"}
            async with gateway.http.get("/v1/models", headers=headers) as response:
                return response.status == 200

        async def asked_as(name: str, count: int) -> str:
            await ask(gateway, key["key"], {"x-openwebui-user-jwt": token(email=name)})
            return (await gateway.logged(count))[-1].end_user

        await eventually(listed)
        assert await asked_as("ada@example.org", 1) == "ada@example.org"

        count = 1
        await api.patch(path, json={"user_jwt_secret": "another-secret-" * 3})

        async def is_refused() -> bool:
            nonlocal count
            count += 1
            return await asked_as("bob@example.org", count) == ""

        await eventually(is_refused)
        await api.patch(path, json={"user_jwt_secret": None})

        async def is_ignored() -> bool:
            nonlocal count
            count += 1
            return await asked_as("bob@example.org", count) == MALLORY  # as of any key: the body's `user`

        await eventually(is_ignored)


RENAMED = {
    "FINOPS_USER_HEADERS": "X-Our-User",
    "FINOPS_CHAT_ID_HEADER": "X-Our-Chat",
    "FINOPS_TASK_HEADER": "X-Our-Task",
    "FINOPS_USER_JWT_HEADER": "X-Our-Token",
}


async def test_headers_may_have_other_names(tmp_path: Path) -> None:
    secret, key, _ = signed_key()
    trusted_secret, trusted = virtual_key("trusted", trust_user_headers=True)
    async with running_gateway(tmp_path, DEMO, key, trusted, environ=ENVIRON | RENAMED) as gateway:
        plain = {"x-our-user": "Ada %C3%84dmin", "x-our-chat": "chat-1", "x-our-task": "title_generation"}
        await ask(gateway, trusted_secret, plain)
        await ask(gateway, secret, {**plain, "x-our-token": token()})

        logged = await gateway.logged(2)
        assert users(logged) == [("Ada Ädmin", "chat-1"), ("ada@example.org", "chat-1")]
        assert [event.task for event in logged] == ["title", "title"]


@dataclass
class Listener:
    """A provider that only listens."""

    heard: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heard.append({name.decode(): value.decode("latin-1") for name, value in scope["headers"]})
        while (await receive()).get("more_body", False):
            pass
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": head})
        await send({"type": "http.response.body", "body": b'{"error":{"message":"heard"}}'})


@pytest.mark.parametrize("renamed", [{}, RENAMED], ids=["usual names", "other names"])
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-opus-5"),
        ("azure", "gpt-4o"),
        ("azure", "claude-opus-5"),
        ("gemini", "gemini-2.5-flash"),
        ("cohere", "command-a-03-2025"),
        ("mistral", "mistral-small-latest"),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
async def test_no_provider_sees_any_of_these_headers(
    tmp_path: Path, kind: str, model: str, path: str, renamed: dict[str, str]
) -> None:
    secret, key, _ = signed_key()
    names = [
        "X-OpenWebUI-User-Email",
        "X-OpenWebUI-User-Id",
        "X-OpenWebUI-User-Name",
        "X-OpenWebUI-User-Role",
    ]
    names += ["X-OpenWebUI-Chat-Id", "X-OpenWebUI-User-Jwt", "X-FinOps-Task", *RENAMED.values()]
    told = {name: f"tell-{number}-tale" for number, name in enumerate(names)}
    told[renamed.get("FINOPS_USER_JWT_HEADER", "X-OpenWebUI-User-Jwt")] = token()
    listener = Listener()
    async with served(listener) as url:
        provider = Provider(
            name="p",
            type=kind,
            base_url=url,
            credentials=(Credential(name="main", env="PATH"),),
            models=(model,),
        )
        async with running_gateway(tmp_path, provider, key, environ=ENVIRON | renamed) as gateway:
            body: dict[str, Any] = {"model": f"p/{model}", "max_tokens": 9}
            body |= {"input": "Hello"} if path == "responses" else {"messages": ASK}
            headers = {"authorization": f"Bearer {secret}", "anthropic-beta": "passed-2025-01-01", **told}
            async with gateway.http.post(f"/v1/{path}", json=body, headers=headers) as response:
                await response.read()
            (logged,) = await gateway.logged()

    assert logged.end_user == "ada@example.org"
    assert listener.heard != []
    for heard in listener.heard:
        assert {name.lower() for name in told} & set(heard) == set()
        assert not any(value in str(heard) for value in told.values())
        if path == "messages" and "claude" in model:
            assert heard["anthropic-beta"] == "passed-2025-01-01"
