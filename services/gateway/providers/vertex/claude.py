"""Claude at Vertex AI: Anthropic's body without the model, which the address names, and with the version and the betas,
which are headers at Anthropic's own API. Judged by what AnthropicVertex of Anthropic's SDK sends."""

from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.adapter import API_VERSION
from services.gateway.providers.anthropic.betas import HEADER, betas_of
from services.gateway.providers.anthropic.native_request import native_request
from services.gateway.providers.anthropic.request import messages_body
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.port import Target

Built = tuple[bytes, tuple[str, ...]]
"""A body, and what was left out."""

_VERSION: Final = "anthropic_version"
_BETAS: Final = "anthropic_beta"
_OLDER_VERSIONS: Final = {"2023-06-01": "vertex-2023-10-16"}
"""What a version of Anthropic's is called here; newer ones have one name everywhere."""
COUNTED: Final = frozenset(
    {"messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "speed"}
)
"""Fields of a request that its count depends on, for any model."""
_COUNTED_BY_BETAS: Final = frozenset({"compaction", "context_management", "mcp_servers"})
_OF_THE_ANSWER: Final = frozenset({"model", "max_tokens", "stream"})
"""What clients send with any request; nothing is lost without it."""
_names: Final = msgspec.json.Decoder(list[str])


def chat_of_claude(target: Target, body: JsonBody, model: str) -> Built:
    """Raises BadRequest naming what cannot be said to Claude."""
    said = messages_body(read_chat(body), model, target.fetched)
    wire: dict[str, Any] = {_VERSION: API_VERSION, **said.fields}
    if body.stream:
        wire["stream"] = True
    if betas := _asked_betas(target):
        wire[_BETAS] = betas
    return msgspec.json.encode(wire), said.dropped


def native_of_claude(target: Target, body: JsonBody) -> Built:
    """A request of Anthropic's own clients. Whatever they ask for is Vertex's to grant or to refuse.

    Raises BadRequest when its betas are no list of names.
    """
    native = native_request(body)
    betas = (*_own_betas(body), *_asked_betas(target))
    changes = _versioned(target, body, dict(native.changes), betas)
    return body.with_changes(changes, native.drop | {"model"}), native.dropped


def native_count_of_claude(target: Target, body: JsonBody, model: str) -> Built:
    """The question how many tokens such a request has: of its fields those that are counted, and the model's name.

    Raises BadRequest when its betas are no list of names.
    """
    native = native_request(body)
    betas = (*_own_betas(body), *_asked_betas(target))
    counted = COUNTED | (_COUNTED_BY_BETAS if betas else frozenset())
    uncounted = body.names - counted - {_VERSION, _BETAS}
    changes = _versioned(target, body, {**native.changes, "model": body.encoded(model)}, betas)
    left_out = {name for name in uncounted - _OF_THE_ANSWER - native.drop if body.raw(name) is not None}
    dropped = tuple(sorted(left_out.union(native.dropped)))
    return body.with_changes(changes, native.drop | (uncounted - {"model"})), dropped


def _versioned(
    target: Target, body: JsonBody, changes: dict[str, bytes], betas: tuple[str, ...]
) -> dict[str, bytes]:
    """With the version and the betas."""
    if body.raw(_VERSION) is None:
        said = target.passed_headers.get("anthropic-version") or API_VERSION
        changes[_VERSION] = body.encoded(_OLDER_VERSIONS.get(said, said))
    if betas:
        changes[_BETAS] = msgspec.json.encode(tuple(dict.fromkeys(betas)))
    return changes


def _asked_betas(target: Target) -> tuple[str, ...]:
    """The operator's, and the client's."""
    operators = (value for name, value in target.provider.headers.items() if name.lower() == HEADER)
    return betas_of((*operators, target.passed_headers.get(HEADER)))


def _own_betas(body: JsonBody) -> list[str]:
    raw = body.raw(_BETAS)
    if raw is None:
        return []
    try:
        return _names.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{_BETAS}` must be a list of names.", param=_BETAS) from error
