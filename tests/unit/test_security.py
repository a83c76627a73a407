import base64
import stat
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.errors import ConfigurationError
from shared.security import (
    KEY_BYTES,
    SealError,
    load_or_create_admin_token,
    load_or_create_secret_key,
    load_secret_key,
    seal,
    token_matches,
    unseal,
)
from shared.settings import Settings

KEY = bytes(range(KEY_BYTES))


def settings(secret_key: str = "") -> Settings:
    return Settings.load({"FINOPS_SECRET_KEY": secret_key} if secret_key else {})


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_was_sealed_is_unsealed(secret: str, context: str) -> None:
    assert unseal(seal(secret, KEY, context), KEY, context) == secret


def test_a_sealed_text_is_plain_characters_and_never_the_same_twice() -> None:
    one, two = seal("sk-secret", KEY, "openai/main"), seal("sk-secret", KEY, "openai/main")

    assert one != two
    assert one.startswith("v1.")
    assert one.isascii()
    assert "secret" not in one


@pytest.mark.parametrize("other", ["openai/spare", "", "openai/main "])
def test_it_cannot_be_moved_to_another_place(other: str) -> None:
    with pytest.raises(SealError):
        unseal(seal("sk-secret", KEY, "openai/main"), KEY, other)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(SealError, match="FINOPS_SECRET_KEY") as caught:
        unseal(seal("sk-secret", KEY, "openai/main"), bytes(KEY_BYTES), "openai/main")

    assert "sk-secret" not in str(caught.value)


@given(st.integers(0, 60), st.characters(codec="ascii"))
def test_a_changed_text_does_not_open(place: int, character: str) -> None:
    sealed = seal("sk-secret", KEY, "openai/main")
    changed = sealed[:place] + character + sealed[place + 1 :]

    if changed[: len(sealed) - 1] != sealed[: len(sealed) - 1]:
        with pytest.raises(SealError):
            unseal(changed, KEY, "openai/main")


def test_the_other_alphabet_does_not_open() -> None:
    sealed = next(text for _ in range(1000) if "-" in (text := seal("sk-secret", KEY, "openai/main")))

    with pytest.raises(SealError):
        unseal(sealed.replace("-", "+"), KEY, "openai/main")


@pytest.mark.parametrize("text", ["", "v1.", "v1.AAAA", "v2.AAAA", "sk-plain", "v1.ä"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SealError):
        unseal(text, KEY, "openai/main")


@pytest.mark.parametrize("altchars", [b"+/", b"-_"])
@pytest.mark.parametrize("padding", ["=", ""])
def test_the_secret_key_is_read_in_either_base64(altchars: bytes, padding: str) -> None:
    key = bytes([251, 255] * 16)
    text = base64.b64encode(key, altchars).decode()

    assert load_secret_key(settings(text.rstrip("=") + padding)) == key


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "not base64 at all", "é" * 44, "A" * 45])
def test_a_wrong_secret_key_stops_the_start_with_a_sentence(text: str) -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_SECRET_KEY"):
        load_secret_key(settings(text))


def test_the_files_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "there"

    key, token = load_or_create_secret_key(data_dir), load_or_create_admin_token(data_dir)

    assert len(key) == KEY_BYTES
    assert load_or_create_secret_key(data_dir) == key
    assert load_or_create_admin_token(data_dir) == token
    files = sorted(data_dir.iterdir())
    assert [path.name for path in files] == ["admin.token", "secret.key"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]


def test_each_installation_has_its_own(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    assert load_or_create_secret_key(one) != load_or_create_secret_key(two)
    assert load_or_create_admin_token(one) != load_or_create_admin_token(two)


def test_a_damaged_file_is_named_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("damaged")
    (tmp_path / "admin.token").write_text("\n")

    with pytest.raises(ConfigurationError, match=r"secret\.key"):
        load_or_create_secret_key(tmp_path)
    with pytest.raises(ConfigurationError, match=r"admin\.token"):
        load_or_create_admin_token(tmp_path)
    assert (tmp_path / "secret.key").read_text() == "damaged"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    with pytest.raises(ConfigurationError, match=r"secret\.key"):
        load_or_create_secret_key(blocked)


def test_tokens_match_only_themselves() -> None:
    assert token_matches("fo-admin-x", "fo-admin-x")
    assert not token_matches("fo-admin-y", "fo-admin-x")
    assert not token_matches("", "fo-admin-x")
    assert not token_matches("", "")
    assert not token_matches("ü\udc80", "fo-admin-x")
