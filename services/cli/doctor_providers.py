"""Are the providers there, and do they take our keys? Each is asked what costs nothing: mostly its list of models."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import httpx

from services.budget.desired_state import DesiredState
from services.cli.finding import OK, PROBLEM, WARNING, Finding
from shared.catalogue.provider_types import PROVIDER_TYPES, Wire
from shared.governance.model import Credential, Provider


@dataclass(frozen=True, slots=True)
class Probe:
    """What a wire format is asked, below the provider's address, and how the key is shown."""

    path: str
    key_header: str = "authorization"
    headers: tuple[tuple[str, str], ...] = ()
    versions: tuple[str, ...] = ()
    """Ends of addresses that the path replaces, because it has a version of its own."""

    def url(self, base_url: str) -> str:
        for version in self.versions:
            base_url = base_url.removesuffix(version)
        return base_url + self.path

    def headers_with(self, key: str) -> dict[str, str]:
        bearer = "Bearer " if self.key_header == "authorization" else ""
        return {**dict(self.headers), **({self.key_header: bearer + key} if key else {})}


_PROBES: Final[Mapping[Wire, Probe]] = MappingProxyType(
    {
        "openai": Probe("/models"),
        "huggingface": Probe("/models"),
        "anthropic": Probe("/models", headers=(("anthropic-version", "2026-10-21"),)),
        "gemini": Probe("/models", "x-goog-api-key"),
        "cohere": Probe("/v1/models", versions=("/v2", "/v1")),
        "replicate": Probe("/v1/account", versions=("/v1",)),
    }
)
"""The others have no such address, or one that takes only tokens and signatures: they are not probed."""


@dataclass(frozen=True, slots=True)
class Target:
    """One provider with one of its credentials. `missing` names the variable that should hold the key and does not."""

    subject: str
    base_url: str
    probe: Probe | None
    lists_models: bool
    headers: Mapping[str, str]
    key: str = ""
    missing: str = ""


async def check_providers(
    desired: DesiredState, environ: Mapping[str, str], client: httpx.AsyncClient
) -> list[Finding]:
    """All providers of finops.yaml and of the environment, asked at the same time."""
    targets = list(targets_of(desired, environ))
    if not targets:
        return [
            Finding(
                "providers",
                WARNING,
                "none configured; only demo/* answers",
                "Set OPENAI_API_KEY (or another provider's usual variable), or write providers into finops.yaml.",
            )
        ]
    return list(await asyncio.gather(*(_check(target, client) for target in targets)))


def targets_of(desired: DesiredState, environ: Mapping[str, str]) -> Iterator[Target]:
    """Every credential of every provider that is a server."""
    for provider in desired.providers.values():
        if PROVIDER_TYPES[provider.type].wire != "demo":
            for credential in provider.credentials:
                secret = desired.secrets.get((provider.name, credential.name), "")
                yield _target(provider, credential, secret or environ.get(credential.env, ""))


def _target(provider: Provider, credential: Credential, key: str) -> Target:
    kind = PROVIDER_TYPES[provider.type]
    return Target(
        subject=f"{provider.name}, {credential.name}",
        base_url=provider.base_url.rstrip("/"),
        probe=_PROBES.get(kind.wire),
        lists_models=kind.lists_models,
        headers=provider.headers,
        key=key,
        missing="" if key else credential.env,
    )


async def _check(target: Target, client: httpx.AsyncClient) -> Finding:
    if target.missing:
        fix = f"Set {target.missing} to the provider's key."
        return Finding(target.subject, PROBLEM, f"{target.missing} is not set", fix)
    if target.probe is None:
        detail = "not probed: only a request with a model shows whether it takes the credential"
        return Finding(target.subject, OK, detail)
    url = target.probe.url(target.base_url) if target.lists_models else target.base_url
    headers = httpx.Headers(target.probe.headers_with(target.key))
    headers.update(target.headers)  # a header of one's own wins, as in the gateway
    try:
        answer = await client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"{target.base_url} cannot be reached ({type(error).__name__})"
        fix = "Check the address, the network and the proxy settings."
        return Finding(target.subject, PROBLEM, detail, fix)
    return _judge(target, answer)


def _judge(target: Target, answer: httpx.Response) -> Finding:
    status = answer.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        fix = "Check that the key is whole, valid and not revoked."
        return Finding(target.subject, PROBLEM, f"{target.base_url} refused the key ({status})", fix)
    if not target.lists_models:
        detail = f"reachable at {target.base_url}; it has no list of models to try the key on"
        return Finding(target.subject, OK, detail)
    if answer.is_error:
        fix = "Check base_url: most end with /v1."
        return Finding(target.subject, WARNING, f"{answer.request.url} answered {status}", fix)
    return Finding(
        target.subject, OK, f"{target.base_url} answers" + (" and takes the key" if target.key else "")
    )
