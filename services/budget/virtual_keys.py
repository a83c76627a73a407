"""VirtualKeys: what can be done to virtual keys. Builds the new state of a key; the writer puts it on the log."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from pydantic import SecretStr

from services.budget.allowed_models import EXPECTED_PATTERN, idle_patterns
from services.budget.errors import ApiError, invalid, not_found
from services.budget.governance_feed import GovernanceFeed
from services.budget.governance_writer import Action, GovernanceWriter
from services.budget.schemas import BudgetInput, BudgetPatch, CreateVirtualKey, KeyState, PatchVirtualKey
from shared.errors import Conflict, LogUnavailable
from shared.governance.keys import display_prefix, new_key, sha256_of
from shared.governance.model import Budget, UserJwtSecret, VirtualKey
from shared.ids import new_id
from shared.security import seal
from shared.user_jwt import sealing_context

API_ACTOR: Final = "admin"
CONFIG_ACTOR: Final = "config"
ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Keys, newest first, and where the next page begins (None: nowhere)."""

    keys: Sequence[VirtualKey]
    next_cursor: str | None


class VirtualKeys:
    """The use cases of `/api/virtual-keys`. Errors: ApiError, Conflict (409), LogUnavailable (503)."""

    def __init__(
        self,
        feed: GovernanceFeed,
        writer: GovernanceWriter,
        now_ms: Callable[[], int],
        secret_key: bytes,
        *,
        turn_after_s: float = 10.0,
    ) -> None:
        """`secret_key`: the installation's, which seals what must be kept of a key. `turn_after_s`: a change that
        waits longer for others of its key is given up, not made."""
        self._feed = feed
        self._writer = writer
        self._now_ms = now_ms
        self._secret_key = secret_key
        self._turn_after_s = turn_after_s
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Of the keys that are being changed."""

    def get(self, key_id: str) -> VirtualKey:
        """The key. 404 when there is none."""
        key = self._feed.state.keys.get(key_id)
        if key is None:
            raise not_found("virtual key", key_id)
        return key

    def page(self, *, limit: int, cursor: str | None, name: str, status: KeyState | None) -> Page:
        """Keys whose name contains `name` (any case) and whose status is `status`, newest first."""
        after = _read_cursor(cursor) if cursor else None
        now_ms, wanted = self._now_ms(), name.casefold()
        found = [
            key
            for key in self._feed.state.keys.values()
            if wanted in key.name.casefold()
            and (status is None or state_of(key, now_ms) == status)
            and (after is None or _position(key) < after)
        ]
        found.sort(key=_position, reverse=True)
        more = len(found) > limit
        return Page(found[:limit], _write_cursor(found[limit - 1]) if more else None)

    async def create(self, body: CreateVirtualKey) -> tuple[VirtualKey, str]:
        """(the key, its secret): the secret exists nowhere else from here on."""
        self._refuse_idle_patterns(body.allowed_models)
        now_ms, secret = self._now_ms(), new_key()
        key_id = new_id("vk", now_ms)
        key = VirtualKey(
            id=key_id,
            name=body.name,
            key_sha256=sha256_of(secret),
            prefix=display_prefix(secret),
            budgets=match_budgets((), body.budgets, lambda: new_id("bud", now_ms)),
            allowed_models=tuple(body.allowed_models),
            fallbacks=tuple(body.fallbacks),
            expires_at_ms=body.expires_at,
            cost_in_usage=body.cost_in_usage,
            always_send_usage=body.always_send_usage,
            trust_user_headers=body.trust_user_headers,
            user_jwt=self._sealed(key_id, body.user_jwt_secret),
            on_unavailable=body.on_unavailable,
            metadata=body.metadata,
            created_at_ms=now_ms,
            version=1,
        )
        await self._write(key, based_on=0, action="create")
        return self.get(key.id), secret

    async def patch(self, key_id: str, body: PatchVirtualKey) -> VirtualKey:
        """Change what the body holds. With `version`: only if the key still has it."""
        return await self._change(key_id, lambda key: self._patched(key, body), "update", body.version)

    async def rotate(self, key_id: str, version: int | None = None) -> tuple[VirtualKey, str]:
        """A new secret; the old one stops working. Budgets, spend and id stay. `version`: as in `patch`."""
        secret = new_key()

        def rotated(key: VirtualKey) -> VirtualKey:
            if key.status == "revoked":
                raise ApiError(409, "key_revoked", "A revoked key cannot be rotated; create a new one.")
            return msgspec.structs.replace(key, key_sha256=sha256_of(secret), prefix=display_prefix(secret))

        return await self._change(key_id, rotated, "rotate", version), secret

    async def revoke(self, key_id: str, version: int | None = None) -> VirtualKey:
        """Stop the key for ever. Doing it twice is doing it once. `version`: as in `patch`."""
        return await self._change(
            key_id, lambda key: msgspec.structs.replace(key, status="revoked"), "revoke", version
        )

    async def _change(
        self,
        key_id: str,
        changed: Callable[[VirtualKey], VirtualKey],
        action: Action,
        version: int | None = None,
    ) -> VirtualKey:
        """Without a version the change is made to whatever state is newest, again after a lost race. Here changes of
        one key take turns, so that a race can be lost to other instances only."""
        turn = self._turns.setdefault(key_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self._turn_after_s):
                await turn.acquire()
        except TimeoutError as error:
            raise LogUnavailable("Other changes of this key wait for the event log.") from error
        try:
            return await self._change_in_turn(key_id, changed, action, version)
        finally:
            turn.release()

    async def _change_in_turn(
        self,
        key_id: str,
        changed: Callable[[VirtualKey], VirtualKey],
        action: Action,
        version: int | None,
    ) -> VirtualKey:
        for attempt in range(1, ATTEMPTS + 1):
            key = self.get(key_id)
            if action != "revoke":
                self._refuse_configured(key)
            if version is not None and key.version != version:
                raise Conflict(f"The key has version {key.version} now, not {version}; read it again.")
            wanted = changed(key)
            if action == "revoke" and wanted == key:
                return key
            try:
                await self._write(wanted, based_on=key.version, action=action)
                return self.get(key_id)
            except Conflict:
                if version is not None or attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _write(self, key: VirtualKey, *, based_on: int, action: Action) -> None:
        await self._writer.change(
            "virtual_key",
            key.id,
            msgspec.structs.replace(key, version=based_on + 1),
            based_on=based_on,
            action=action,
            actor=API_ACTOR,
        )

    def _refuse_configured(self, key: VirtualKey) -> None:
        if self._feed.origin("virtual_key", key.id) == CONFIG_ACTOR:
            raise ApiError(
                409,
                "managed_by_config",
                f"The key {key.name!r} is set in finops.yaml; change it there. It can be revoked here.",
            )

    def _refuse_idle_patterns(self, patterns: Sequence[str], kept: Collection[str] = ()) -> None:
        """`kept`: what the key has allowed before, which may name a route that is gone."""
        state = self._feed.state
        for pattern in idle_patterns(patterns, state.routes, state.providers):
            if pattern not in kept:
                position = patterns.index(pattern)
                raise invalid(
                    f"allowed_models[{position}]",
                    f"`allowed_models[{position}]` {pattern!r} would allow nothing; {EXPECTED_PATTERN}.",
                )

    def _patched(self, key: VirtualKey, body: PatchVirtualKey) -> VirtualKey:
        now_ms = self._now_ms()
        changes: dict[str, Any] = {
            field: getattr(body, field)
            for field in body.model_fields_set
            - {"version", "budgets", "allowed_models", "fallbacks", "expires_at", "user_jwt_secret"}
        }
        if "budgets" in body.model_fields_set:
            changes["budgets"] = match_budgets(key.budgets, body.budgets, lambda: new_id("bud", now_ms))
        if "allowed_models" in body.model_fields_set:
            self._refuse_idle_patterns(body.allowed_models, key.allowed_models)
            changes["allowed_models"] = tuple(body.allowed_models)
        if "fallbacks" in body.model_fields_set:
            changes["fallbacks"] = tuple(body.fallbacks)
        if "expires_at" in body.model_fields_set:
            changes["expires_at_ms"] = body.expires_at
        if "user_jwt_secret" in body.model_fields_set:
            changes["user_jwt"] = self._sealed(key.id, body.user_jwt_secret)
        return msgspec.structs.replace(key, **changes)

    def _sealed(self, key_id: str, secret: SecretStr | None) -> UserJwtSecret | None:
        if secret is None:
            return None
        return UserJwtSecret(
            sealed=seal(secret.get_secret_value(), self._secret_key, sealing_context(key_id))
        )


def match_budgets(
    current: Sequence[Budget], wanted: Sequence[BudgetInput], make_id: Callable[[], str]
) -> tuple[Budget, ...]:
    """The wanted budgets, each with the id of the current budget it continues, so that its spend stays.

    A budget continues the one with its id, else the one with its window and alignment. One whose window or alignment
    changed begins from nothing, under a new id. Raises ApiError for an id that the key does not have.
    """
    by_id = {budget.id: budget for budget in current}
    by_window = {(budget.window, budget.alignment): budget for budget in current}
    matched = []
    for position, budget in enumerate(wanted):
        named = budget.id if isinstance(budget, BudgetPatch) else None
        if named is not None and named not in by_id:
            raise invalid(f"budgets[{position}].id", f"The key has no budget with the id {named!r}.")
        continued = by_window.get((budget.window, budget.alignment))
        matched.append(
            Budget(
                id=continued.id if continued is not None else make_id(),
                limit_nanos=budget.limit,
                window=budget.window,
                alignment=budget.alignment,
            )
        )
    return tuple(matched)


def state_of(key: VirtualKey, now_ms: int) -> KeyState:
    """What the key is now: an expiry needs no event."""
    if key.status == "revoked":
        return "revoked"
    if key.expires_at_ms is not None and key.expires_at_ms <= now_ms:
        return "expired"
    return "active"


def wall_ms() -> int:
    """Unix milliseconds now."""
    return time.time_ns() // 1_000_000


def _position(key: VirtualKey) -> tuple[int, str]:
    return key.created_at_ms, key.id


def _write_cursor(key: VirtualKey) -> str:
    return base64.urlsafe_b64encode(f"{key.created_at_ms} {key.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at_ms, _, key_id = text.partition(" ")
        return int(created_at_ms), key_id
    except (ValueError, binascii.Error) as error:
        raise invalid("cursor", "`cursor` must be the `next_cursor` of an earlier answer.") from error
