"""Signatures that botocore itself finds right, with keys from wherever AWS's own tools would take them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.credentials import AwsCredentials
from services.gateway.providers.bedrock.signing import SigningClient
from services.gateway.providers.operations import Operation
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamRequest, UpstreamResponse
from tests.support.gateway import served
from tests.support.providers.bedrock import ACCESS_KEY, SECRET_KEY, STATIC, running_bedrock
from tests.unit.gateway.providers.bedrock.build import chat_body, target

ROLE = "arn:aws:iam::123456789012:role/gateway"


def request(secret: str, url: str, **options: str) -> UpstreamRequest:
    to = target(secret=secret, base_url=url, options={"region": "us-west-2", **options})
    return BedrockAdapter().build(Operation.CHAT, to, chat_body()).request


@asynccontextmanager
async def signing(credentials: AwsCredentials | None = None) -> AsyncIterator[SigningClient]:
    network = AiohttpClient()
    client = SigningClient(network, credentials or AwsCredentials())
    try:
        yield client
    finally:
        await client.close()
        await network.close()


async def status_of(client: SigningClient, asked: UpstreamRequest) -> int:
    response: UpstreamResponse = await client.send(asked)
    await response.read(1_000_000)
    response.close()
    return response.status


@pytest.mark.parametrize(
    ("secret", "token"),
    [
        (STATIC, ""),
        (f"{STATIC}:sess+ion/token==", "sess+ion/token=="),
        (f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}"}}', ""),
    ],
)
async def test_static_keys_sign_what_aws_accepts(secret: str, token: str) -> None:
    async with running_bedrock() as (fake, url), signing() as client:
        fake.secrets = {ACCESS_KEY: (SECRET_KEY, token)}

        assert await status_of(client, request(secret, url)) == 200

    assert fake.asked[0].region == "us-west-2"


async def test_a_large_body_is_signed_as_well() -> None:
    body = chat_body({"role": "user", "content": "x" * 1_500_000})
    async with running_bedrock() as (_, url), signing() as client:
        sent = BedrockAdapter().build(Operation.CHAT, target(secret=STATIC, base_url=url), body).request

        assert await status_of(client, sent) == 200


@pytest.mark.parametrize("secret", ["", ACCESS_KEY])
async def test_the_default_chain(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    async with running_bedrock() as (_, url), signing() as client:
        assert await status_of(client, request(secret, url)) == 200


async def test_a_role_is_assumed_with_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, list[str]]] = []
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def sts(scope: Any, receive: Any, send: Any) -> None:
        asked.append(parse_qs((await receive())["body"].decode()))
        answer = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
            <Credentials><AccessKeyId>ASIAROLEROLEROLEROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>
            <SessionToken>role-token</SessionToken><Expiration>{expires}</Expiration></Credentials>
            </AssumeRoleResult></AssumeRoleResponse>""".encode()
        headers = [(b"content-type", b"text/xml"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async with served(sts) as sts_url, running_bedrock() as (fake, url), signing() as client:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_url)
        fake.secrets = {"ASIAROLEROLEROLEROLE": ("role-secret", "role-token")}
        assumed = request(STATIC, url, role_arn=ROLE, external_id="ext-1", role_session_name="finops")

        statuses = await asyncio.gather(*(status_of(client, assumed) for _ in range(5)))

    assert statuses == [200] * 5
    assert len(asked) == 1
    assert (asked[0]["RoleArn"], asked[0]["ExternalId"], asked[0]["RoleSessionName"]) == (
        [ROLE],
        ["ext-1"],
        ["finops"],
    )


async def test_keys_that_were_changed_are_found_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "outdated")
    async with running_bedrock() as (_, url), signing() as client:
        before = await status_of(client, request("", url))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        after = await status_of(client, request("", url))

    assert (before, after) == (403, 200)
