"""For whom a request is made, and whether a person or a background task asks."""

import json
from typing import Any

import pytest

from services.gateway.attribution import MAX_LABEL_CHARS, attribute
from services.gateway.auth import ANONYMOUS
from services.gateway.providers.body import ParsedBody, parse_json
from tests.support.gateway import virtual_key

USER = {
    b"x-openwebui-user-name": b"Ada %C3%84dmin",
    b"x-openwebui-user-id": b"u-1",
    b"x-openwebui-user-email": b"ada%40example.org",
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
