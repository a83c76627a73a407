"""Whose signature a request carries, where it goes, and how temporary credentials are kept fresh."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    MetadataRetrievalError,
    ProfileNotFound,
)

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.credentials import (
    AwsCredentials,
    AwsRefused,
    AwsUnavailable,
    Identity,
)
from services.gateway.providers.bedrock.location import place_of
from services.gateway.providers.bedrock.signing import AwsRequest, SigningClient
from services.gateway.providers.operations import Operation
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamConnectFailed, UpstreamRequest
from tests.support.providers.bedrock import ACCESS_KEY, SECRET_KEY
from tests.unit.gateway.providers.bedrock.build import chat_body, target


def sts_error(status: int, code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "AssumeRole")


ROLE = "arn:aws:iam::123456789012:role/gateway"
KEYS = Identity(ACCESS_KEY, SECRET_KEY)


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


@pytest.mark.parametrize(
    ("model", "provider", "region", "host"),
    [
        ("m", {}, "us-east-1", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("m", {"options": {"region": "eu-west-1"}}, "eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("ap-south-1/m", {"options": {"region": "eu-west-1"}}, "ap-south-1", "https://bedrock-runtime.ap-south-1.amazonaws.com"),
        ("cn-north-1/m", {}, "cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1/m", {}, "us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("m", {"base_url": "https://bedrock-runtime.eu-west-2.amazonaws.com"}, "eu-west-2", "https://bedrock-runtime.eu-west-2.amazonaws.com"),
        ("arn:aws:bedrock:us-west-2:123456789012:provisioned-model/abc", {}, "us-west-2", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ("m", {"base_url": "https://vpce-1.bedrock-runtime.eu-west-3.vpce.amazonaws.com"}, "eu-west-3", "https://vpce-1.bedrock-runtime.eu-west-3.vpce.amazonaws.com"),
    ],
)  # fmt: skip
def test_where_it_goes(model: str, provider: dict[str, Any], region: str, host: str) -> None:
    place = place_of(target(model, **provider))

    assert (place.region, place.base_url) == (region, host)
    assert place.model_url("converse").startswith(f"{host}/model/")
    listed = BedrockAdapter().models_request(target("", **provider))
    assert listed is not None
    assert "://bedrock." in listed.url or ".bedrock." in listed.url


@pytest.mark.parametrize("model", ["arn:aws:bedrock:us-west-2::foundation-model/a.b-v1:0", "a.b-v1:0"])
def test_the_arn_that_ranking_wants(model: str) -> None:
    place = place_of(target(model, options={"region": "us-west-2"}))

    assert place.arn == "arn:aws:bedrock:us-west-2::foundation-model/a.b-v1:0"


def test_an_api_key_needs_no_signature() -> None:
    asked = request("ABSKabc", "http://x")

    assert not isinstance(asked, AwsRequest)
    assert asked.headers["authorization"] == "Bearer ABSKabc"


async def test_an_empty_chain_is_refused_like_a_wrong_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with signing() as client:
        response = await client.send(request("", "http://127.0.0.1:9"))

    error = BedrockAdapter().map_error(response.status, response.headers, await response.read(10_000))
    assert (error.status, error.retryable) == (403, True)
    assert "no AWS credentials" in error.message


class Chain:
    """Temporary credentials whose first set ends after `first_s`; later ones after `later_s`."""

    def __init__(self, first_s: float, later_s: float = 3600) -> None:
        self.renewals = 0
        self.first_s = first_s
        self.later_s = later_s
        self.go = threading.Event()
        self.fails = False

    def load(self, identity: Identity) -> RefreshableCredentials:
        return RefreshableCredentials.create_from_metadata(self._set(self.first_s), self._refresh, "test")

    def _refresh(self) -> dict[str, str]:
        self.go.wait(10)
        if self.fails:
            raise ConnectTimeoutError(endpoint_url="http://sts")
        self.renewals += 1
        return self._set(self.later_s)

    def _set(self, lifetime_s: float) -> dict[str, str]:
        expires = datetime.now(UTC) + timedelta(seconds=lifetime_s)
        key = f"KEY{self.renewals}"
        return {"access_key": key, "secret_key": "s", "token": "t", "expiry_time": expires.isoformat()}


async def test_credentials_are_renewed_ahead_while_the_old_ones_serve() -> None:
    chain = Chain(first_s=3600)
    credentials = AwsCredentials(chain.load)
    first = await credentials.get(Identity())
    source = credentials._sources[Identity()]
    source._credentials._expiry_time = datetime.now(UTC) + timedelta(seconds=300)

    old = await asyncio.wait_for(credentials.get(Identity()), 5)
    chain.go.set()
    while chain.renewals == 0 or source._running is not None:
        await asyncio.wait_for(asyncio.shield(source._running or asyncio.sleep(0)), 30)
    new = await credentials.get(Identity())

    assert (first.access_key, old.access_key, new.access_key) == ("KEY0", "KEY0", "KEY1")


async def test_a_source_that_has_no_newer_set_yet_is_not_asked_with_each_request() -> None:
    chain = Chain(first_s=300, later_s=300)  # as a metadata server, until it has another
    chain.go.set()
    credentials = AwsCredentials(chain.load)

    for _ in range(6):
        await credentials.get(Identity())
        if (running := credentials._sources[Identity()]._running) is not None:
            await running

    assert chain.renewals <= 2


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (FileNotFoundError("/var/run/token"), AwsRefused),
        (ProfileNotFound(profile="x"), AwsRefused),
        (ConnectTimeoutError(endpoint_url="http://sts"), AwsUnavailable),
        (EndpointConnectionError(endpoint_url="http://sts"), AwsUnavailable),
        (MetadataRetrievalError(error_msg="x"), AwsUnavailable),
        (sts_error(403, "AccessDenied"), AwsRefused),
        (sts_error(400, "Throttling"), AwsUnavailable),
        (sts_error(503, "ServiceUnavailable"), AwsUnavailable),
    ],
)
async def test_what_is_wrong_with_the_keys_is_told_from_who_cannot_be_asked(
    failure: Exception, expected: type[Exception]
) -> None:
    def load(identity: Identity) -> Any:
        raise failure

    with pytest.raises(expected):
        await AwsCredentials(load).get(Identity())


async def test_expired_credentials_are_waited_for_once() -> None:
    chain = Chain(first_s=-5)
    chain.go.set()
    credentials = AwsCredentials(chain.load)

    found = await asyncio.gather(*(credentials.get(Identity()) for _ in range(8)))

    assert {one.access_key for one in found} == {"KEY1"}
    assert chain.renewals == 1


async def test_a_token_service_that_is_down_is_a_connection_that_failed() -> None:
    chain = Chain(first_s=-5)
    chain.fails = True
    chain.go.set()
    credentials = AwsCredentials(chain.load)

    with pytest.raises(AwsUnavailable):
        await credentials.get(Identity())
    async with signing(credentials) as client:
        with pytest.raises(UpstreamConnectFailed):
            await client.send(request("", "http://127.0.0.1:9"))


async def test_a_caller_that_leaves_does_not_take_the_others_credentials_with_it() -> None:
    chain = Chain(first_s=-5)
    credentials = AwsCredentials(chain.load)
    leaving, staying = (asyncio.ensure_future(credentials.get(Identity())) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    chain.go.set()

    assert (await staying).access_key == "KEY1"
    with pytest.raises(asyncio.CancelledError):
        await leaving


def test_a_role_is_asked_for_in_the_providers_region_wherever_the_model_is() -> None:
    own = {"region": "us-west-2", "role_arn": ROLE}
    there = request(f"{ACCESS_KEY}:{SECRET_KEY}", "http://x", **own)
    abroad = BedrockAdapter().build(
        Operation.CHAT,
        target("ap-south-1/m", secret=f"{ACCESS_KEY}:{SECRET_KEY}", base_url="http://x", options=own),
        chat_body(),
    )

    assert isinstance(there, AwsRequest)
    assert isinstance(abroad.request, AwsRequest)
    assert (abroad.request.region, abroad.request.identity) == ("ap-south-1", there.identity)


def test_a_secret_is_not_shown_with_a_request() -> None:
    shown = repr(request(f"{ACCESS_KEY}:{SECRET_KEY}:to/ken", "http://x"))

    assert ACCESS_KEY in shown
    assert SECRET_KEY not in shown
    assert "to/ken" not in shown


async def test_fixed_keys_cost_no_thread() -> None:
    def never(identity: Identity) -> Any:
        raise AwsRefused("not needed")

    assert (await AwsCredentials(never).get(KEYS)).secret_key == SECRET_KEY
