"""For whom a request is made, and whether a person or a background task asks."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from services.gateway.attribution import MAX_LABEL_CHARS, Attribution, Attributor, HeaderNames
from services.gateway.auth import ANONYMOUS
from services.gateway.incoming import PASSED_HEADERS
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.user_tokens import UserTokens
from shared.governance.model import UserJwtSecret, VirtualKey
from shared.settings import TAKEN_HEADERS, Settings
from tests.support.gateway import virtual_key
from tests.support.user_tokens import SECRET, token

USER = {
    b"x-openwebui-user-name": b"Ada %C3%84dmin",
    b"x-openwebui-user-id": b"u-1",
    b"x-openwebui-user-email": b"ada%40example.org",
    b"x-openwebui-chat-id": b"chat-1",
}


_, SIGNED = virtual_key("signed", user_jwt=UserJwtSecret(env="OWUI"), trust_user_headers=True)


def nothing_sealed(sealed: str, context: str) -> str:
    raise AssertionError("nothing here is sealed")


def attribute(
    key: VirtualKey, headers: Mapping[bytes, bytes], body: ParsedBody | None, **settings: str
) -> Attribution:
    tokens = UserTokens({"OWUI": SECRET}, nothing_sealed, GatewayMetrics())
    names = HeaderNames.of(Settings.load({f"FINOPS_{name.upper()}": text for name, text in settings.items()}))
    return Attributor(names, tokens).attribute(key, headers, body)


def signed(**claims: Any) -> dict[bytes, bytes]:
    return {
        b"x-openwebui-user-jwt": token(**claims).encode(),
        b"x-openwebui-user-email": b"mallory@example.org",
        b"x-openwebui-chat-id": b"chat-1",
    }


def body(text: Any = "hi", **fields: Any) -> ParsedBody:
    document = {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text}],
    }
    return parse_json(json.dumps(document | fields).encode())


def test_user_headers_count_only_for_callers_that_are_trusted() -> None:
    _, trusted = virtual_key("a", trust_user_headers=True)
    _, plain = virtual_key("b")

    assert attribute(trusted, USER, body(user="sdk")).end_user == "ada@example.org"
    assert attribute(trusted, USER, body()).chat_id == "chat-1"
    assert attribute(ANONYMOUS, USER, body()).end_user == "ada@example.org"
    assert attribute(plain, USER, body(user="sdk")).end_user == "sdk"
    assert attribute(plain, USER, body()).chat_id == ""


def test_names_are_percent_decoded_and_the_best_known_one_is_taken() -> None:
    headers = dict(USER)
    del headers[b"x-openwebui-user-email"]
    assert attribute(ANONYMOUS, headers, body()).end_user == "u-1"
    del headers[b"x-openwebui-user-id"]
    assert attribute(ANONYMOUS, headers, body()).end_user == "Ada Ädmin"


def test_labels_are_cut_and_cleaned() -> None:
    headers = {b"x-openwebui-user-email": b"a%0d%0ab" + b"x" * 1000}

    found = attribute(ANONYMOUS, headers, None).end_user

    assert found.startswith("abx")
    assert len(found) == MAX_LABEL_CHARS


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({}, "ada@example.org"),
        ({"email": ""}, "u-1"),
        ({"email": 5, "sub": None}, "Ada Ädmin"),
        ({"email": "100%41@example.org"}, "100%41@example.org"),
        ({"email": "a\r\nb\ud800c"}, "abc"),
        ({"email": "x" * 1000}, "x" * MAX_LABEL_CHARS),
        ({"email": None, "sub": None, "name": None}, ""),
    ],
)
def test_a_signed_token_says_who_it_is(claims: dict[str, Any], user: str) -> None:
    found = attribute(SIGNED, signed(**claims), body(user="sdk"))

    assert (found.end_user, found.chat_id) == (user, "chat-1")


@pytest.mark.parametrize(
    "change", [b"", b"not-a-token", token("x" * 40).encode(), token(exp=1).encode(), None]
)
def test_without_a_good_token_nothing_is_believed_of_a_key_that_has_a_secret(change: bytes | None) -> None:
    headers = {**signed(), b"x-openwebui-user-jwt": change} if change is not None else dict(USER)

    found = attribute(
        SIGNED, {name: value for name, value in headers.items() if value is not None}, body(user="sdk")
    )

    assert (found.end_user, found.chat_id) == ("", "")


def test_keys_without_a_secret_ignore_the_token() -> None:
    _, plain = virtual_key("plain")

    assert attribute(plain, signed(), body(user="sdk")).end_user == "sdk"
    assert attribute(ANONYMOUS, signed(), body()).end_user == "mallory@example.org"


def test_headers_may_have_other_names() -> None:
    headers = {b"x-second": b"two", b"x-first": b"", b"x-chat": b"c", b"x-what": b"tags", **USER}
    names = {
        "user_headers": "X-First, X-Second",
        "chat_id_header": "X-Chat",
        "task_header": "X-What",
        "user_jwt_header": "X-Who",
    }

    assert attribute(ANONYMOUS, headers, body(), **names) == Attribution("two", "c", "tags", "")
    assert attribute(ANONYMOUS, headers, body(), user_headers="").end_user == ""
    with_token = {b"x-who": token().encode(), b"x-chat": b"c"}
    assert attribute(SIGNED, with_token, body(), **names) == Attribution("ada@example.org", "c", "", "")
    assert attribute(SIGNED, signed(), body(), **names).end_user == ""


def test_no_header_that_providers_may_see_can_be_named_for_a_user() -> None:
    assert {name.decode() for name in PASSED_HEADERS} <= TAKEN_HEADERS


@pytest.mark.parametrize(
    ("header", "task"),
    [
        (b"title_generation", "title"),
        (b"tags_generation", "tags"),
        (b"follow_up_generation", "follow_ups"),
        (b"query_generation", "query"),
        (b"emoji_generation", "other"),
        (b"", ""),
    ],
)
def test_a_task_named_by_the_client_is_labelled(header: bytes, task: str) -> None:
    assert attribute(ANONYMOUS, {b"x-finops-task": header}, body()).task == task


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("### Task:\nGive this chat a short title.", "title"),
        ("### Task:\nName one to three broad tags for the chat title.", "tags"),
        ("### Task:\nSuggest some follow-up questions.", "follow_ups"),
        ("### Task:\nGuess what this person will send next.", "follow_ups"),
        ("### Task:\nWhich search queries would help?", "query"),
        ("### Task:\nDo something.", "other"),
        ("Please explain what ### Task: means.", ""),
        ([{"type": "text", "text": "### Task:\nGive it a title."}], "title"),
    ],
)
def test_a_task_without_a_header_is_known_by_its_prompt(text: Any, task: str) -> None:
    assert attribute(ANONYMOUS, {}, body(text, stream=False)).task == task


def test_a_streamed_answer_is_for_a_person() -> None:
    assert attribute(ANONYMOUS, {}, body("### Task:\ntitle", stream=True)).task == ""


@pytest.mark.parametrize("messages", ["text", [1, 2], [], [{"role": "user", "content": 5}, "### Task:"]])
def test_any_other_shape_is_no_task(messages: Any) -> None:
    assert attribute(ANONYMOUS, {}, body("### Task:", messages=messages)).task == ""
