"""A whole gateway before a fake of Vertex AI, with a service account of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.gemini import FakeGoogle, running_google

FLASH = "vertex/gemini-2.5-flash"
PRICE = PriceOverride(
    model=FLASH, input_per_million_nanos=1_000_000_000, output_per_million_nanos=2_000_000_000
)
PROJECT, REGION = "acme-1", "europe-west4"
CLAUDE = "claude-sonnet-4-5@20250929"
MISTRAL = "mistral-small-2503"
LLAMA = "meta/llama-4-maverick-17b-128e-instruct-maas"
MODELS = (
    "gemini-2.5-flash", "gemini-2.5-flash-tts", CLAUDE, MISTRAL, LLAMA, "text-embedding-005", "gemini-embedding-2", "imagen-4.0-generate-001",
    "semantic-ranker-default-004",
)  # fmt: skip
"""Configured, so that nothing but the requests of a test is asked of the fake."""
TOKEN = "ya29.the-sdks-own"


@dataclass
class Stage:
    fake: FakeGoogle
    url: str
    gateway: RunningGateway
    client: openai.AsyncOpenAI

    async def ask(self, text: str, model: str = FLASH, **fields: Any) -> Any:
        return await self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **fields
        )


def service_account(url: str) -> str:
    """A key as Google hands it out, for the fake's token server."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "gateway@acme-1.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
    )


@asynccontextmanager
async def vertex_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A gateway with Vertex AI behind it, whose service account the fake knows."""
    async with running_google() as (fake, url):
        monkeypatch.setenv("VERTEX_TEST_KEY", service_account(url))
        provider = Provider(
            name="vertex",
            type="vertex",
            base_url=url,
            models=MODELS,
            credentials=(Credential(name="main", env="VERTEX_TEST_KEY"),),
            options={"location": REGION},
        )
        async with (
            running_gateway(tmp_path, provider, PRICE) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(fake, url, gateway, client)
