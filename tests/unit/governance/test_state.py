from typing import Any, Literal

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from shared.events import GovernanceChanged
from shared.governance.model import PriceOverride, Provider, Route, RouteTarget, Team, VirtualKey
from shared.governance.state import GovernanceState

Entity = Literal["virtual_key", "team", "customer", "provider", "route", "price"]


def change(entity: Entity, entity_id: str, version: int, value: Any = None) -> GovernanceChanged:
    return GovernanceChanged(
        change_id=f"c-{version}",
        entity=entity,
        entity_id=entity_id,
        version=version,
        at_ms=0,
        actor="test",
        action="update",
        value=msgspec.Raw(msgspec.json.encode(value)),
    )


def key(key_id: str = "k1", digest: str = "d1", **more: Any) -> VirtualKey:
    return VirtualKey(id=key_id, name="name", key_sha256=digest, prefix="sk-fo-abcd", **more)


def test_each_kind_of_entity_is_found_by_its_id() -> None:
    state = GovernanceState()

    assert state.apply(change("virtual_key", "k1", 1, key()))
    assert state.apply(change("team", "t1", 1, Team(id="t1", name="team")))
    assert state.apply(change("provider", "openai", 1, Provider(name="openai", type="openai", base_url="")))
    assert state.apply(change("price", "openai/gpt", 1, PriceOverride(model="openai/gpt")))
    fast = Route(name="fast", targets=(RouteTarget(model="openai/gpt"),))
    assert state.apply(change("route", "fast", 1, fast))
    assert state.apply(change("customer", "c1", 1, {"id": "c1"}))

    assert state.keys["k1"].name == "name"
    assert state.teams["t1"].name == "team"
    assert state.providers["openai"].type == "openai"
    assert state.prices["openai/gpt"].version == 1
    assert state.routes["fast"].targets[0].model == "openai/gpt"
    assert state.version_of("customer", "c1") == 1
    assert state.generation == 6


def test_a_change_based_on_an_old_version_is_ignored() -> None:
    state = GovernanceState()
    state.apply(change("virtual_key", "k1", 1, key()))

    assert not state.apply(change("virtual_key", "k1", 1, key(digest="other")))
    assert not state.apply(change("virtual_key", "k1", 3, key(digest="other")))
    assert state.keys["k1"].key_sha256 == "d1"
    assert state.generation == 1


def test_the_version_in_force_is_that_of_the_change() -> None:
    state = GovernanceState()
    state.apply(change("virtual_key", "k1", 1, key(version=17)))

    assert state.keys["k1"].version == 1


def test_a_key_is_found_by_its_digest_until_that_is_rotated_away() -> None:
    state = GovernanceState()
    state.apply(change("virtual_key", "k1", 1, key(digest="old")))
    found = state.key_by_sha256("old")

    state.apply(change("virtual_key", "k1", 2, key(digest="new")))

    assert found is not None
    assert state.key_by_sha256("old") is None
    assert state.key_by_sha256("new") is state.keys["k1"]


def test_a_revoked_key_is_still_found() -> None:
    state = GovernanceState()
    state.apply(change("virtual_key", "k1", 1, key(status="revoked")))

    revoked = state.key_by_sha256("d1")

    assert revoked is not None
    assert revoked.status == "revoked"


def test_deleting_keeps_the_version() -> None:
    state = GovernanceState()
    state.apply(change("virtual_key", "k1", 1, key()))

    assert state.apply(change("virtual_key", "k1", 2))

    assert state.key_by_sha256("d1") is None
    assert dict(state.keys) == {}
    assert not state.apply(change("virtual_key", "k1", 1, key()))
    assert state.apply(change("virtual_key", "k1", 3, key()))


@pytest.mark.parametrize(
    "value", [{"id": "k1"}, "text", {"id": "other", "name": "n", "key_sha256": "d", "prefix": "p"}]
)
def test_a_value_that_is_not_that_entity_changes_nothing(value: Any) -> None:
    state = GovernanceState()

    with pytest.raises(ValueError, match="'k1'"):
        state.apply(change("virtual_key", "k1", 1, value))

    assert (state.version_of("virtual_key", "k1"), state.generation) == (0, 0)


def test_unknown_fields_are_ignored() -> None:
    state = GovernanceState()
    value = {**msgspec.to_builtins(key()), "from_the_future": 1}

    assert state.apply(change("virtual_key", "k1", 1, value))


def test_the_mappings_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        GovernanceState().keys["k1"] = key()  # type: ignore[index]  # that is the point


@given(
    st.lists(st.tuples(st.sampled_from(["k1", "k2"]), st.integers(1, 6), st.sampled_from(["d1", "d2", None])))
)
def test_the_digest_index_always_agrees_with_the_keys(changes: list[tuple[str, int, str | None]]) -> None:
    state = GovernanceState()
    for key_id, version, suffix in changes:
        value = None if suffix is None else key(key_id, f"{key_id}-{suffix}")
        state.apply(change("virtual_key", key_id, version, value))

    digests = {f"{key_id}-{suffix}" for key_id in ("k1", "k2") for suffix in ("d1", "d2")}
    found = {digest: state.key_by_sha256(digest) for digest in digests}
    assert {digest: held for digest, held in found.items() if held} == {
        held.key_sha256: held for held in state.keys.values()
    }
