"""Brings the governed state in line with finops.yaml and the environment: only the differences become events.

What an earlier start applied and nobody asks for any more is deleted. Entities made through the API are left alone.
Several instances may do this at once: whoever loses a race looks at the new state and goes on from there.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import msgspec

from services.budget.desired_state import DesiredState, seal_credential
from services.budget.governance_feed import GovernanceFeed
from services.budget.governance_writer import EntityKind, GovernanceWriter
from services.budget.virtual_keys import CONFIG_ACTOR
from shared.errors import ConfigurationError, Conflict
from shared.governance.model import Credential, Entity, Provider, UserJwtSecret, VirtualKey
from shared.governance.state import GovernanceState
from shared.security import SealError, seal, unseal
from shared.telemetry import get_logger
from shared.user_jwt import sealing_context

MAX_ROUNDS: Final = 50
AT_ONCE: Final = 64
_KINDS: Final[Mapping[str, EntityKind]] = {kind: kind for kind in get_args(EntityKind)}

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """One entity's new state (None: deleted), based on the version it has now."""

    entity: EntityKind
    entity_id: str
    value: Entity | None
    based_on: int


async def apply_config(
    desired: DesiredState, feed: GovernanceFeed, writer: GovernanceWriter, secret_key: bytes, now_ms: int
) -> int:
    """Publish the differences; returns how many. Raises ConfigurationError, LogUnavailable, and Conflict if other
    instances keep asking for something else."""
    published = 0
    for _ in range(MAX_ROUNDS):
        changes = plan(desired, feed.state, feed.origins, secret_key, now_ms)
        if not changes:
            if published:
                _log.info("configuration_applied", changes=published)
            return published
        for first in range(0, len(changes), AT_ONCE):
            published += await _publish(changes[first : first + AT_ONCE], writer)
    raise Conflict(
        "Another instance keeps applying a different configuration; give all of them the same one."
    )


async def _publish(changes: Sequence[Change], writer: GovernanceWriter) -> int:
    outcomes = await asyncio.gather(
        *(
            writer.change(
                change.entity,
                change.entity_id,
                change.value,
                based_on=change.based_on,
                action="delete" if change.value is None else "apply",
                actor=CONFIG_ACTOR,
            )
            for change in changes
        ),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict):
            raise outcome
    return sum(outcome is None for outcome in outcomes)


def plan(
    desired: DesiredState,
    state: GovernanceState,
    origins: Mapping[tuple[str, str], str],
    secret_key: bytes,
    now_ms: int,
) -> list[Change]:
    """The changes that lead from the state to what is desired; none when it is reached.

    A key that was revoked by hand stays revoked: only a key of another name lets its holder in again.
    """
    wanted: dict[tuple[EntityKind, str], Entity] = {}
    for team in desired.teams.values():
        wanted["team", team.id] = team
    for provider in desired.providers.values():
        current = state.providers.get(provider.name)
        wanted["provider", provider.name] = _with_secrets(provider, current, desired.secrets, secret_key)
    for route in desired.routes.values():
        wanted["route", route.name] = route
    for price in desired.prices.values():
        wanted["price", price.model] = price
    for key in _keys(desired, state, origins, secret_key, now_ms):
        wanted["virtual_key", key.id] = key
    changes = [
        Change(entity, entity_id, value, state.version_of(entity, entity_id))
        for (entity, entity_id), value in wanted.items()
        if not _is_same(_current(state, entity, entity_id), value)
    ]
    return changes + [
        Change(entity, entity_id, None, state.version_of(entity, entity_id))
        for entity, entity_id in _applied_earlier(origins)
        if (entity, entity_id) not in wanted
    ]


def _keys(
    desired: DesiredState,
    state: GovernanceState,
    origins: Mapping[tuple[str, str], str],
    secret_key: bytes,
    now_ms: int,
) -> Iterator[VirtualKey]:
    for key in desired.keys.values():
        holder = state.key_by_sha256(key.key_sha256)
        if holder is not None and origins.get(("virtual_key", holder.id)) != CONFIG_ACTOR:
            raise ConfigurationError(
                f"{desired.source} is wrong: the key of {key.name!r} in virtual_keys belongs to {holder.name!r} already,"
                " which was made through the API."
            )
        current = state.keys.get(key.id)
        yield msgspec.structs.replace(
            key,
            created_at_ms=current.created_at_ms if current is not None else now_ms,
            status=current.status if current is not None else "active",
            user_jwt=_user_jwt(key, current, desired.user_jwt_secrets.get(key.id), secret_key),
        )


def _user_jwt(
    key: VirtualKey, current: VirtualKey | None, secret: str | None, secret_key: bytes
) -> UserJwtSecret | None:
    """With the sealed text that is there already when it holds this very secret."""
    if secret is None:
        return key.user_jwt
    context = sealing_context(key.id)
    if current is not None and current.user_jwt is not None and current.user_jwt.sealed:
        try:
            if unseal(current.user_jwt.sealed, secret_key, context) == secret:
                return current.user_jwt
        except SealError:
            _log.warning("user_jwt_secret_sealed_again", virtual_key=key.id)
    return UserJwtSecret(sealed=seal(secret, secret_key, context))


def _with_secrets(
    provider: Provider,
    current: Provider | None,
    secrets: Mapping[tuple[str, str], str],
    secret_key: bytes,
) -> Provider:
    known = {credential.name: credential for credential in current.credentials} if current is not None else {}
    credentials = [
        _sealed(provider.name, credential, known.get(credential.name), secret, secret_key)
        if (secret := secrets.get((provider.name, credential.name))) is not None
        else credential
        for credential in provider.credentials
    ]
    return msgspec.structs.replace(provider, credentials=tuple(credentials))


def _sealed(
    provider: str, credential: Credential, current: Credential | None, secret: str, secret_key: bytes
) -> Credential:
    """With the sealed text that is there already when it holds this very secret."""
    if current is not None and current.sealed:
        try:
            if unseal(current.sealed, secret_key, f"{provider}/{credential.name}") == secret:
                return msgspec.structs.replace(credential, sealed=current.sealed)
        except SealError:
            _log.warning("credential_sealed_again", provider=provider, credential=credential.name)
    return msgspec.structs.replace(
        credential, sealed=seal_credential(provider, credential.name, secret, secret_key)
    )


def _applied_earlier(origins: Mapping[tuple[str, str], str]) -> Iterator[tuple[EntityKind, str]]:
    for (entity, entity_id), actor in origins.items():
        kind = _KINDS.get(entity)
        if actor == CONFIG_ACTOR and kind is not None:
            yield kind, entity_id


def _current(state: GovernanceState, entity: EntityKind, entity_id: str) -> Entity | None:
    match entity:
        case "virtual_key":
            return state.keys.get(entity_id)
        case "team":
            return state.teams.get(entity_id)
        case "provider":
            return state.providers.get(entity_id)
        case "route":
            return state.routes.get(entity_id)
        case "price":
            return state.prices.get(entity_id)


def _is_same(current: Entity | None, wanted: Entity) -> bool:
    return current is not None and msgspec.structs.replace(current, version=wanted.version) == wanted
