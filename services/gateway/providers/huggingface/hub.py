"""The hub of models: which inference providers serve a model, for which task, and what they call it.

As `huggingface_hub` asks for it: `inferenceProviderMapping` of `GET /api/models/{org}/{model}`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.port import Target
from services.gateway.providers.remembering import LookUp
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamFault,
    UpstreamResponse,
    UpstreamTimedOut,
)
from services.gateway.upstream.whole import JSON, WholeResponse

HUB: Final = "https://huggingface.co"
HUB_OPTION: Final = "hub_url"
"""The option of a provider with the address of another hub: a mirror, or one that a closed network reaches."""
HUB_ALONE: Final = "x-finops-hub"
"""A header of ours on what the hub has failed with. Chats need no hub, so that the router must not rest for it."""
_HUBS: Final = {**JSON, HUB_ALONE: "1"}
_DOMAIN: Final = "huggingface.co"
_MAX_ANSWER_BYTES: Final = 1_048_576
_NAME: Final = re.compile(r"(?!\.)[\w.-]{1,96}/(?!\.)[\w.-]{1,96}", re.ASCII)
_MOVED: Final = frozenset({301, 302, 307, 308})
_NOT_FOUND: Final = "RepoNotFound"


class _Served(msgspec.Struct, rename="camel"):
    provider_id: str = ""
    task: str = ""
    provider: str = ""
    adapter_weights_path: str | None = None


class _Model(msgspec.Struct, rename="camel"):
    id: str = ""
    inference_provider_mapping: dict[str, _Served] | list[_Served] | None = None


_model: Final = msgspec.json.Decoder(_Model)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A model at an inference provider."""

    provider_id: str
    """What the provider calls it."""
    model: str
    """Its name at the hub."""
    adapter_weights_path: str | None
    """The file in the model's repository that changes another model into it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for."""

    provider: str
    task: str
    model: str
    known: Collection[str]
    """The inference providers whose form for this task is known, that of `provider` among them."""
    prefix: str = ""
    """What clients write before the name of an inference provider."""


def look_up_of(target: Target, model: str) -> LookUp:
    """The question who serves a model. Raises BadRequest unless it is named as models at the hub are."""
    if not _NAME.fullmatch(model):
        raise BadRequest(
            f"`model` must name a model of the hub as {{org}}/{{model}}, which '{model}' does not.",
            param="model",
        )
    provider = target.provider
    chosen = provider.options.get(HUB_OPTION, "").rstrip("/")
    headers = {"accept": "application/json"}
    # The router's credential is the hub's as well, but that of somebody's own router is nobody else's business.
    if target.secret and (chosen or _is_vendors(provider.base_url)):
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    url = f"{chosen or HUB}/api/models/{model}?expand=inferenceProviderMapping"
    return LookUp("GET", url, headers, None, target.timeouts)


async def looked_up(client: UpstreamClient, question: LookUp, wanted: Wanted) -> Mapped | UpstreamResponse:
    """The model at the inference provider, or what the client is told instead, marked as said of the HUB_ALONE where
    it says nothing of the router."""
    try:
        response = await _answered(client, question)
        try:
            answer = await response.read(_MAX_ANSWER_BYTES)
        finally:
            response.close()
    except UpstreamFault as fault:
        status = 504 if isinstance(fault, UpstreamTimedOut) else 502
        said = f"The hub could not be asked who serves {wanted.model}: {fault}"
        return _error(status, said, None, "", headers=_HUBS)
    if response.status == 404 or response.headers.get("x-error-code") == _NOT_FOUND:
        return _refusal(f"there is no model {wanted.model} at the hub, or not for this gateway's credential.")
    if response.status >= 300:
        return WholeResponse(answer, response.status, {**response.headers, **_HUBS})
    try:
        found = _model.decode(answer)
    except msgspec.DecodeError:
        return _error(502, unreadable_answer().message, None, "", headers=_HUBS)
    served = _by_provider(found)
    here = served.get(wanted.provider)
    if here is None or here.task != wanted.task or not here.provider_id:
        return _refusal(_why_not(wanted, here, served))
    return Mapped(here.provider_id, found.id or wanted.model, here.adapter_weights_path)


async def _answered(client: UpstreamClient, question: LookUp) -> UpstreamResponse:
    """The hub leads from the old name of a model to its new one, which is asked for as well."""
    response = await client.send(question)
    if response.status not in _MOVED:
        return response
    response.close()
    there = urljoin(question.url, response.headers.get("location", ""))
    old, new = urlsplit(question.url), urlsplit(there)
    if (old.scheme, old.netloc) != (new.scheme, new.netloc):
        return _refusal("the hub leads to another server for this model.")
    return await client.send(LookUp("GET", there, question.headers, None, question.timeouts))


def _by_provider(model: _Model) -> Mapping[str, _Served]:
    mapping = model.inference_provider_mapping or {}
    if isinstance(mapping, list):
        return {served.provider: served for served in mapping}
    return mapping


def _why_not(wanted: Wanted, here: _Served | None, served: Mapping[str, _Served]) -> str:
    said = f"{wanted.model} is not served by the inference provider {wanted.provider}"
    if here is not None:
        said = f"{wanted.model} is served by {wanted.provider} for {here.task}, not for {wanted.task}"
    others = [
        f"{wanted.prefix}{name}/{wanted.model}"
        for name, other in served.items()
        if other.task == wanted.task and name in wanted.known and name != wanted.provider
    ]
    if others:
        return f"{said}. These would work: {', '.join(sorted(others))}."
    return f"{said}, and no other inference provider serves it for {wanted.task} here."


def _is_vendors(base_url: str) -> bool:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == _DOMAIN or host.endswith(f".{_DOMAIN}"))


def _refusal(reason: str) -> UpstreamResponse:
    return _error(400, f"`model`: {reason}", "model", "model_not_found")


def _error(
    status: int, message: str, param: str | None, code: str, *, headers: Mapping[str, str] = JSON
) -> UpstreamResponse:
    """An error in OpenAI's shape, as if a provider had answered with it."""
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "param": param, "code": code or None}
    return WholeResponse(msgspec.json.encode({"error": error}), status, headers)
