"""GET /v1/models and its relatives: from memory, only what the key may use, rendered once per set of allowed models."""

from collections.abc import Callable, Sequence
from typing import Final, get_args
from urllib.parse import parse_qs

import msgspec

from services.gateway.auth import Authenticator
from services.gateway.catalogue import Catalogue, Listed, ModelIndex
from services.gateway.errors import ClientError
from services.gateway.incoming import Incoming
from shared.catalogue.modality import Modality
from shared.governance.admission import model_allowed
from shared.governance.model import VirtualKey
from shared.pricing.genai import context_window

TYPES: Final[frozenset[str]] = frozenset(get_args(Modality))
ALL: Final = "all"
DEFAULT_TYPE: Final = "chat"
"""Chat clients show every model that they are told of."""
VOICES: Final = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
MAX_RENDERED_BYTES: Final = 32 * 1_048_576
"""Of all lists that are kept: with many models and many sets of allowed ones they would fill the memory."""
ROUTE_OWNER: Final = "finops"
_VOICES_BODY: Final = msgspec.json.encode(
    {"object": "list", "voices": [{"id": voice, "name": voice.capitalize()} for voice in VOICES]}
)


class ModelObject(msgspec.Struct):
    """One model. Only what every user of the key may see: all of it reaches browsers."""

    id: str
    name: str
    owned_by: str
    type: str
    object: str = "model"
    created: int = 0
    context_window: int | msgspec.UnsetType = msgspec.UNSET
    """Left out where nobody has said."""


class _ModelList(msgspec.Struct, omit_defaults=False):
    data: list[ModelObject]
    object: str = "list"


class _AudioModels(msgspec.Struct):
    """`models` is what chat clients read, `data` what everybody else does."""

    data: list[ModelObject]
    models: list[ModelObject]
    object: str = "list"


class Models:
    """Rendered lists are kept as long as the index they were made from."""

    def __init__(self, authenticator: Authenticator, catalogue: Catalogue) -> None:
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._index: ModelIndex | None = None
        self._rendered: dict[tuple[str, tuple[str, ...]], bytes] = {}
        self._rendered_bytes = 0

    async def all(self, incoming: Incoming) -> None:
        key = self._key(incoming)
        kinds = _asked_types(incoming.query)
        await incoming.answer(200, self._body(",".join(kinds), key, lambda: self._list_of(key, kinds)))

    async def one(self, incoming: Incoming, name: str) -> None:
        """Any model the key may use, whatever its type, by any name that requests may call it."""
        key = self._key(incoming)
        listed = self._named(key, name) or self._named(key, self._full_name(key, name))
        if listed is None:
            raise ClientError(
                "model_not_found",
                f"The model '{name}' does not exist here. See /v1/models for those that do.",
            )
        await incoming.answer(200, msgspec.json.encode(object_of(listed)))

    async def audio_models(self, incoming: Incoming) -> None:
        key = self._key(incoming)

        def render() -> bytes:
            models = self._objects(key, ("speech",))
            return msgspec.json.encode(_AudioModels(models, models))

        await incoming.answer(200, self._body("audio", key, render))

    async def audio_voices(self, incoming: Incoming) -> None:
        """The voices of OpenAI's speech models, which most other servers answer to as well."""
        self._key(incoming)
        await incoming.answer(200, _VOICES_BODY)

    def _named(self, key: VirtualKey, name: str) -> Listed | None:
        listed = next((listed for listed in self._catalogue.index.listed if listed.name == name), None)
        return listed if listed is not None and model_allowed(key, name) else None

    def _full_name(self, key: VirtualKey, name: str) -> str:
        """`provider/model` of a bare name; empty where it means none. Raises ClientError `model_ambiguous`."""
        try:
            provider, model = self._catalogue.index.find(key, name)
        except ClientError as error:
            if error.code == "model_ambiguous":
                raise
            return ""  # whether it exists for other keys is not told
        return f"{provider.name}/{model}"

    def _key(self, incoming: Incoming) -> VirtualKey:
        return self._authenticator.authenticate(incoming.headers, incoming.received_ms)

    def _body(self, what: str, key: VirtualKey, render: Callable[[], bytes]) -> bytes:
        index = self._catalogue.index
        if index is not self._index:
            self._index = index
            self._forget()
        body = self._rendered.get((what, key.allowed_models))
        if body is None:
            body = render()
            if self._rendered_bytes + len(body) > MAX_RENDERED_BYTES:
                self._forget()
            self._rendered[what, key.allowed_models] = body
            self._rendered_bytes += len(body)
        return body

    def _forget(self) -> None:
        self._rendered = {}
        self._rendered_bytes = 0

    def _list_of(self, key: VirtualKey, kinds: Sequence[str]) -> bytes:
        return msgspec.json.encode(_ModelList(self._objects(key, kinds)))

    def _objects(self, key: VirtualKey, kinds: Sequence[str]) -> list[ModelObject]:
        return [
            object_of(listed)
            for listed in self._catalogue.index.listed
            if (ALL in kinds or listed.modality in kinds) and model_allowed(key, listed.name)
        ]


def object_of(listed: Listed) -> ModelObject:
    """A line of the list as clients see it."""
    return ModelObject(
        id=listed.name,
        name=f"{listed.model} ({listed.provider})" if listed.provider else listed.model,
        owned_by=listed.provider or ROUTE_OWNER,
        type=listed.modality,
        context_window=context_window(listed.provider_type, listed.model) or msgspec.UNSET,
    )


def _asked_types(query: bytes) -> tuple[str, ...]:
    """Every `type` that is asked for, each once and in one order."""
    if not query:
        return (DEFAULT_TYPE,)
    kinds = set(parse_qs(query.decode("latin-1")).get("type", (DEFAULT_TYPE,)))
    if kinds - TYPES - {ALL}:
        known = ", ".join(sorted(TYPES))
        raise ClientError("invalid_request", f"`type` must be {ALL} or one of {known}.", param="type")
    return (ALL,) if ALL in kinds else tuple(sorted(kinds))
