"""Choosing credentials: by weight, for the model, another one after a failure; unusable ones are left out."""

import base64
from collections import Counter

import pytest

from services.gateway.credentials import Credentials, unsealer
from services.gateway.errors import ClientError
from shared.governance.model import Credential, Provider
from shared.security import seal
from shared.settings import Settings

ENVIRON = {"ONE": "secret-1", "TWO": "secret-2", "EMPTY": ""}
KEY = bytes(range(32))


def nothing_sealed(sealed: str, context: str) -> str:
    raise AssertionError("nothing here is sealed")


def provider(*credentials: Credential, version: int = 1) -> Provider:
    return Provider(name="p", type="openai", base_url="http://x", credentials=credentials, version=version)


def chooser() -> Credentials:
    return Credentials(ENVIRON, nothing_sealed)


def test_a_provider_without_credentials_needs_none() -> None:
    assert chooser().choose(provider(), "m").secret == ""


def test_weights_decide_and_a_weight_of_zero_is_off() -> None:
    both = provider(
        Credential(name="a", env="ONE", weight=3.0),
        Credential(name="b", env="TWO", weight=1.0),
        Credential(name="off", env="ONE", weight=0.0),
    )
    choose = chooser()

    counts = Counter(choose.choose(both, "m").name for _ in range(4000))

    assert set(counts) == {"a", "b"}
    assert 0.70 < counts["a"] / 4000 < 0.80


def test_a_credential_serves_the_models_it_is_for() -> None:
    both = provider(
        Credential(name="a", env="ONE", models=("gpt-*",)), Credential(name="b", env="TWO", models=("o1",))
    )
    choose = chooser()

    assert choose.choose(both, "gpt-4o").secret == "secret-1"
    assert choose.choose(both, "o1").secret == "secret-2"
    assert choose.names(both, "o1") == ("b",)
    with pytest.raises(ClientError) as caught:
        choose.choose(both, "other")
    assert (caught.value.status, caught.value.code) == (503, "provider_not_configured")


def test_another_one_is_taken_after_a_failure_if_there_is_one() -> None:
    both = provider(Credential(name="a", env="ONE", weight=1e9), Credential(name="b", env="TWO"))
    choose = chooser()

    assert choose.choose(both, "m", {"a"}).name == "b"
    assert choose.choose(both, "m", {"a", "b"}).name in ("a", "b")


@pytest.mark.parametrize("variable", ["MISSING", "EMPTY"])
def test_a_variable_that_is_not_set_makes_a_credential_unusable(variable: str) -> None:
    broken = provider(Credential(name="a", env=variable))

    with pytest.raises(ClientError) as caught:
        chooser().choose(broken, "m")
    assert variable not in caught.value.message  # the caller has no business with our environment


def test_a_changed_provider_is_read_anew() -> None:
    choose = chooser()
    assert choose.choose(provider(Credential(name="a", env="ONE")), "m").secret == "secret-1"

    changed = provider(Credential(name="a", env="TWO"), version=2)

    assert choose.choose(changed, "m").secret == "secret-2"


def test_sealed_secrets_are_opened_where_they_belong_only() -> None:
    settings = Settings.load({"FINOPS_SECRET_KEY": base64.b64encode(KEY).decode()})
    choose = Credentials({}, unsealer(settings))
    here = provider(Credential(name="a", sealed=seal("s3cret", KEY, "p/a")))
    moved = provider(Credential(name="b", sealed=seal("s3cret", KEY, "p/a")), version=2)

    assert choose.choose(here, "m").secret == "s3cret"
    with pytest.raises(ClientError):
        choose.choose(moved, "m")
    with pytest.raises(ClientError):
        Credentials({}, unsealer(Settings.load({}))).choose(here, "m")
