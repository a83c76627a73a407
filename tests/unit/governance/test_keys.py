import hashlib
from zlib import crc32

import hypothesis.strategies as st
from hypothesis import given

from shared.governance.keys import (
    KEY_LENGTH,
    checksum_ok,
    display_prefix,
    looks_like_key,
    new_key,
    sha256_of,
)

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_documented_form() -> None:
    key = new_key()

    assert key.startswith("sk-fo-")
    assert len(key) == KEY_LENGTH == 6 + 40 + 6
    assert set(key[6:]) <= set(BASE62)
    assert looks_like_key(key)
    assert checksum_ok(key)


def test_the_checksum_is_the_crc32_of_what_stands_before_it() -> None:
    key = new_key()

    checksum = 0
    for character in key[-6:]:
        checksum = checksum * 62 + BASE62.index(character)
    assert checksum == crc32(key[:-6].encode())


def test_keys_differ() -> None:
    assert len({new_key() for _ in range(200)}) == 200


def test_bytes_that_would_favour_some_characters_are_passed_over() -> None:
    chunks = [bytes([248, 255] * 32), bytes([247] * 32 + [0] * 32)]

    key = new_key(lambda count: chunks.pop(0)[:count])

    assert key[6:46] == BASE62[247 % 62] * 32 + "0" * 8


@given(st.integers(0, KEY_LENGTH - 1), st.sampled_from(BASE62))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    key = new_key()
    changed = key[:place] + character + key[place + 1 :]

    assert checksum_ok(changed) == (changed == key)


def test_other_texts_are_no_keys() -> None:
    key = new_key()

    assert not checksum_ok(key[:-1])
    assert not checksum_ok(key + "\n")
    assert not checksum_ok("")
    assert not looks_like_key("sk-proj-abc")
    assert looks_like_key("sk-fo-short")


def test_only_the_digest_and_a_short_prefix_are_kept() -> None:
    key = new_key()

    assert sha256_of(key) == hashlib.sha256(key.encode()).hexdigest()
    assert key.startswith(display_prefix(key))
    assert len(display_prefix(key)) == 10
