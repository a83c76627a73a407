"""Fetching what clients link to: public https addresses only, within limits."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.fetch import Address, Allowed, Fetcher, is_public
from shared.governance.model import Credential, Provider
from tests.support.gateway import budget, running_gateway, virtual_key

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class _Everywhere(AbstractResolver):
    """Every name leads to this machine, except those that say otherwise."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = "127.0.0.2" if host.startswith("inner") else "127.0.0.1"
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        return


def this_machine_only(address: Address) -> bool:
    """In these tests 127.0.0.1 is the internet, and everything else is not."""
    return str(address) == "127.0.0.1"


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of the server and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("example.org"), x509.DNSName("inner.example.org")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(pem))
    return server, client


async def _answer(request: web.Request) -> web.StreamResponse:
    target = request.query.get("to")
    if target is not None:
        raise web.HTTPFound(target)
    if request.path == "/large":
        return web.Response(body=bytes(5000))
    if request.path == "/slow":
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()  # until the client leaves
    if request.path == "/missing":
        raise web.HTTPNotFound
    return web.Response(body=PNG, content_type="image/jpeg")


@asynccontextmanager
async def site(tmp_path: Path, *, allowed: Allowed = this_machine_only) -> AsyncIterator[tuple[Fetcher, str]]:
    server_tls, client_tls = certificate(tmp_path)
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls)
    await place.start()
    port = runner.addresses[0][1]
    fetcher = Fetcher(resolver=_Everywhere(), allowed=allowed, tls=client_tls, timeout_s=2.0, max_bytes=4000)
    try:
        yield fetcher, f"https://example.org:{port}"
    finally:
        await fetcher.close()
        await runner.cleanup()


async def refused(fetcher: Fetcher, *urls: str) -> str:
    with pytest.raises(BadRequest) as error:
        await fetcher.fetch(urls)
    return error.value.message


async def test_pictures_are_fetched_and_known_by_their_bytes(tmp_path: Path) -> None:
    async with site(tmp_path) as (fetcher, base):
        found = await fetcher.fetch([f"{base}/a", f"{base}/b", f"{base}/a?to=/b"])
        assert {(item.media_type, item.data) for item in found.values()} == {("image/png", PNG)}
        assert len(found) == 3


async def test_nothing_but_public_https_is_asked(tmp_path: Path) -> None:
    async with site(tmp_path) as (fetcher, base):
        port = base.rpartition(":")[2]
        for url in (
            base.replace("https", "http"),
            "file:///etc/passwd",
            "https:///a",
            f"https://127.2:{port}/a",
            "https://2130706434/a",
            f"https://me:secret@example.org:{port}/a",
            f"{base}/a?to=http://example.org/",
        ):
            assert "cannot be fetched" in await refused(fetcher, url), url


async def test_no_spelling_of_an_address_leads_inside(tmp_path: Path) -> None:
    async with site(tmp_path) as (fetcher, base):
        port = base.rpartition(":")[2]
        inner = f"https://inner.example.org:{port}/a"
        for url in (
            "https://169.254.169.254/latest",
            f"https://127.0.0.2:{port}/a",
            "https://[::1]/a",
            "https://[::ffff:127.0.0.2]/a",
            f"https://１２７.０.０.２:{port}/a",
            f"https://127。0。0。2:{port}/a",
            f"https://①②⑦.0.0.2:{port}/a",
            inner,
            f"{base}/a?to={inner}",
            f"{base}/a?to=https://169.254.169.254/",
            f"{base}/a?to=https://１６９.２５４.１６９.２５４/",
        ):
            assert "it is not a public address" in await refused(fetcher, url), url


async def test_limits(tmp_path: Path) -> None:
    async with site(tmp_path) as (fetcher, base):
        assert "too large" in await refused(fetcher, f"{base}/large")
        assert "too often" in await refused(fetcher, f"{base}/a?to=/a?to=/a?to=/a?to=/a?to=/a?to=/a?to=/b")
        assert "404" in await refused(fetcher, f"{base}/missing")
        assert "20 addresses" in await refused(fetcher, *(f"{base}/{n}" for n in range(21)))
        assert "too long" in await refused(fetcher, f"{base}/slow")


async def test_a_name_that_leads_inside_is_refused_before_any_connection(tmp_path: Path) -> None:
    async with site(tmp_path, allowed=is_public) as (fetcher, base):
        assert "it is not a public address" in await refused(fetcher, f"{base}/a")


INNER_IMAGE = {"type": "image_url", "image_url": {"url": "https://169.254.169.254/latest/meta-data"}}
SHOWN_TO_GEMINI = {
    "model": "gemini/gemini-2.5-flash",
    "messages": [{"role": "user", "content": [INNER_IMAGE]}],
}


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """It must be given the bytes of pictures."""
    monkeypatch.setenv("GOOGLE_KEY", "key")
    return Provider(
        name="gemini",
        type="gemini",
        base_url="http://127.0.0.1:9",
        credentials=(Credential(name="main", env="GOOGLE_KEY"),),
        models=("gemini-2.5-flash",),
    )


async def test_a_gateway_does_not_fetch_inner_addresses_for_its_clients(
    tmp_path: Path, gemini: Provider
) -> None:
    async with running_gateway(tmp_path, gemini) as gateway:
        async with gateway.http.post("/v1/chat/completions", json=SHOWN_TO_GEMINI) as response:
            answer = await response.json()
        assert (response.status, answer["error"]["param"]) == (400, "messages")
        assert "not a public address" in answer["error"]["message"]


async def test_nothing_is_fetched_for_a_key_whose_budget_is_gone(tmp_path: Path, gemini: Provider) -> None:
    secret, spent = virtual_key(budgets=(budget(0),))
    headers = {"authorization": f"Bearer {secret}"}
    async with running_gateway(tmp_path, gemini, spent) as gateway:
        async with gateway.http.post(
            "/v1/chat/completions", json=SHOWN_TO_GEMINI, headers=headers
        ) as response:
            answer = await response.json()
        # Had the address been looked at, it would have been what is complained of.
        assert (response.status, answer["error"]["code"]) == (402, "budget_exceeded")
