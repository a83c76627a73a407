"""GovernanceState: the fold of the governance topic. The same records in the same order give the same state everywhere."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from shared.events import GovernanceChanged
from shared.governance.model import Entity, PriceOverride, Provider, Route, Team, VirtualKey

_decode_key = msgspec.json.Decoder(VirtualKey)
_decode_team = msgspec.json.Decoder(Team)
_decode_provider = msgspec.json.Decoder(Provider)
_decode_route = msgspec.json.Decoder(Route)
_decode_price = msgspec.json.Decoder(PriceOverride)
_DELETED: Final = b"null"
T = TypeVar("T")


class GovernanceState:
    """What is in force now. Not safe for several threads; readers on the event loop see whole changes only.

    The entity id of a key or team is its `id`, of a provider or route its `name`, of a price its
    `model` (`provider/model`). Deleting an entity keeps its version, so that an old change cannot bring it back.
    """

    def __init__(self) -> None:
        self._keys: dict[str, VirtualKey] = {}
        self._teams: dict[str, Team] = {}
        self._providers: dict[str, Provider] = {}
        self._routes: dict[str, Route] = {}
        self._prices: dict[str, PriceOverride] = {}
        self._key_ids: dict[str, str] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self.generation = 0
        """Rises with each accepted change: whatever was computed from an older generation is stale."""
        self.keys: Mapping[str, VirtualKey] = MappingProxyType(self._keys)
        self.teams: Mapping[str, Team] = MappingProxyType(self._teams)
        self.providers: Mapping[str, Provider] = MappingProxyType(self._providers)
        self.routes: Mapping[str, Route] = MappingProxyType(self._routes)
        self.prices: Mapping[str, PriceOverride] = MappingProxyType(self._prices)

    def apply(self, event: GovernanceChanged) -> bool:
        """Fold one change. False: ignored, because it is not based on the entity's current version.

        Raises ValueError, and changes nothing, when the value is not a state of that entity.
        """
        current = self.version_of(event.entity, event.entity_id)
        if event.version != current + 1:
            return False
        value = self._decode(event)
        self._store(event, value)
        self._versions[event.entity, event.entity_id] = event.version
        self.generation += 1
        return True

    def version_of(self, entity: str, entity_id: str) -> int:
        """The version that the next change must be based on; 0 for an entity that never was."""
        return self._versions.get((entity, entity_id), 0)

    def key_by_sha256(self, digest: str) -> VirtualKey | None:
        """The key with this digest, whatever its status."""
        key_id = self._key_ids.get(digest)
        return None if key_id is None else self._keys.get(key_id)

    def _decode(self, event: GovernanceChanged) -> Entity | None:
        raw = bytes(event.value)
        if event.entity == "customer" or raw == _DELETED:
            return None
        value: Entity
        try:
            match event.entity:
                case "virtual_key":
                    key = _decode_key.decode(raw)
                    value, identity = msgspec.structs.replace(key, version=event.version), key.id
                case "team":
                    team = _decode_team.decode(raw)
                    value, identity = msgspec.structs.replace(team, version=event.version), team.id
                case "provider":
                    provider = _decode_provider.decode(raw)
                    value, identity = msgspec.structs.replace(provider, version=event.version), provider.name
                case "route":
                    route = _decode_route.decode(raw)
                    value, identity = msgspec.structs.replace(route, version=event.version), route.name
                case "price":
                    price = _decode_price.decode(raw)
                    value, identity = msgspec.structs.replace(price, version=event.version), price.model
        except msgspec.DecodeError as error:
            raise ValueError(f"the value of {event.entity} {event.entity_id!r} is wrong: {error}") from error
        if identity != event.entity_id:
            raise ValueError(f"the value of {event.entity} {event.entity_id!r} is that of {identity!r}")
        return value

    def _store(self, event: GovernanceChanged, value: Entity | None) -> None:
        match event.entity:
            case "virtual_key":
                self._store_key(event.entity_id, value if isinstance(value, VirtualKey) else None)
            case "team":
                _put(self._teams, event.entity_id, value if isinstance(value, Team) else None)
            case "provider":
                _put(self._providers, event.entity_id, value if isinstance(value, Provider) else None)
            case "route":
                _put(self._routes, event.entity_id, value if isinstance(value, Route) else None)
            case "price":
                _put(self._prices, event.entity_id, value if isinstance(value, PriceOverride) else None)

    def _store_key(self, key_id: str, key: VirtualKey | None) -> None:
        old = self._keys.get(key_id)
        if old is not None and self._key_ids.get(old.key_sha256) == key_id:
            del self._key_ids[old.key_sha256]
        _put(self._keys, key_id, key)
        if key is not None:
            self._key_ids[key.key_sha256] = key_id


def _put(target: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value
