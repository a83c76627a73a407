"""What becomes of a request of Anthropic's own clients on its way to whoever speaks their format."""

import json
from typing import Any

import pytest

from services.gateway.providers.anthropic.betas import betas_of
from services.gateway.providers.anthropic.native_request import NativeRequest, native_request
from services.gateway.providers.body import parse_json

BUDGET: Any = {"type": "enabled", "budget_tokens": 4000}
USE: Any = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
SIGNED: Any = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN: Any = {"type": "redacted_thinking", "data": "x"}
FOREIGN: Any = {"type": "thinking", "thinking": "Hm.", "signature": ""}
OURS: Any = {"type": "redacted_thinking", "data": "finops1.e30="}
REMINDER: Any = {"type": "text", "text": "Remember."}
ASK: Any = {"role": "user", "content": "Hi"}


def said(*blocks: Any) -> Any:
    return {"role": "assistant", "content": list(blocks)}


def answered(*blocks: Any) -> Any:
    return {"role": "user", "content": list(blocks) or [RESULT]}


def made_of(*turns: Any, **fields: Any) -> NativeRequest:
    body = {"model": "m", "max_tokens": 9000, "thinking": BUDGET, "messages": list(turns), **fields}
    return native_request(parse_json(json.dumps(body).encode()))


@pytest.mark.parametrize(
    "turns",
    [
        [ASK, said(USE), answered()],
        [ASK, said(FOREIGN, USE), answered()],
        [ASK, said(OURS, FOREIGN, USE), answered()],
        [ASK, said(REMINDER, USE), answered(RESULT, REMINDER)],
        [ASK, said(USE), answered(), said(USE), answered()],
        [ASK, said(SIGNED, USE), answered(), said(SIGNED, REMINDER), ASK, said(FOREIGN, USE), answered()],
        [{"role": "assistant"}, answered()],
    ],
)
def test_in_a_loop_of_tools_without_thoughts_of_its_own_claude_does_not_think(turns: Any) -> None:
    native = made_of(*turns)
    assert (native.dropped, native.drop) == (("thinking",), {"thinking", "fallbacks"})


@pytest.mark.parametrize(
    "turns",
    [
        [ASK],
        [ASK, said(USE)],
        [ASK, said(SIGNED, USE), answered()],
        [ASK, said(HIDDEN, USE), answered()],
        [ASK, said(SIGNED, USE), answered(), said(USE), answered()],
        [ASK, said(USE), answered(), said(REMINDER), ASK],
        [ASK, said(FOREIGN, REMINDER), ASK],
        [answered()],
        ["Hi", 5],
        [said(USE), {"role": "user"}],
    ],
)
def test_otherwise_it_does(turns: Any) -> None:
    assert made_of(*turns).dropped == ()


@pytest.mark.parametrize("thinking", [None, {"type": "adaptive"}, {"type": "disabled"}, 5])
def test_only_a_budget_needs_thoughts_before(thinking: Any) -> None:
    assert made_of(ASK, said(USE), answered(), thinking=thinking).dropped == ()


@pytest.mark.parametrize(
    ("edits", "left"),
    [
        ([{"type": "clear_thinking_20251015", "keep": "all"}], None),
        (
            [{"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}],
            {"edits": [{"type": "clear_tool_uses_20250919"}]},
        ),
    ],
)
def test_thoughts_are_not_cleared_where_there_is_no_thinking(edits: Any, left: Any) -> None:
    native = made_of(ASK, said(USE), answered(), context_management={"edits": edits})

    assert native.dropped == ("context_management.edits", "thinking")
    assert ("context_management" in native.drop) is (left is None)
    assert json.loads(native.changes.get("context_management", b"null")) == left


@pytest.mark.parametrize("wrong", [{"edits": 5}, "clear_thinking", {"edits": [{"type": "other"}]}])
def test_what_is_wrong_or_else_is_for_anthropic_to_judge(wrong: Any) -> None:
    native = made_of(ASK, said(USE), answered(), context_management=wrong)
    assert (native.dropped, native.changes) == (("thinking",), {})


def test_a_turn_of_foreign_thoughts_alone_goes() -> None:
    native = made_of(ASK, said(FOREIGN), ASK)
    assert json.loads(native.changes["messages"]) == [ASK, ASK]


def test_betas_are_named_once() -> None:
    assert betas_of(["a, b,", None, "b ,c", ""]) == ("a", "b", "c")
