"""Items of a conversation as chat messages: what a provider wants back, what tools showed, what OpenAI's servers did."""

import base64
import json
from typing import Any

import pytest

from services.gateway.catalogue import Route
from services.gateway.providers.chat.memory import Memory, sealed
from services.gateway.providers.inbounds import route_for
from services.gateway.providers.operations import Operation
from services.gateway.providers.responses.request import left_out, to_chat
from tests.support.providers.gemini import PNG
from tests.support.providers.houses import KINDS, MODELS
from tests.support.providers.judges import adapter_of, complaints, target_of
from tests.support.providers.responses_requests import TRACES, body_of, chat_of

SIGNED = [{"type": "reasoning.text", "text": "hm", "signature": "s1"}]


def remembering(**memory: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": sealed(Memory(**memory))}


CALL = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "1"}


@pytest.mark.parametrize(
    "items",
    [
        [remembering(details=SIGNED, calls={"a": {"google": {}}}), CALL, RESULT],
        [CALL, remembering(details=SIGNED, calls={"a": {"google": {}}}), RESULT],
        [remembering(details=SIGNED), {"role": "assistant", "content": "I look."}, CALL, RESULT,
         remembering(calls={"a": {"google": {}}})],
        [{"role": "assistant", "content": "I look."}, remembering(details=SIGNED, calls={"a": {"google": {}}}), CALL],
    ],
)  # fmt: skip
def test_what_a_provider_wants_back_returns_to_its_turn_wherever_it_stands(items: list[Any]) -> None:
    chat = chat_of([{"role": "user", "content": "hi"}, *items, {"role": "user", "content": "and?"}])

    said = chat["messages"][1]
    assert said["reasoning_details"] == SIGNED
    assert said["tool_calls"][0]["extra_content"] == {"google": {}}
    assert not any("reasoning_details" in message for message in chat["messages"][2:])


def thinking(text: str, field: str = "reasoning_content") -> dict[str, Any]:
    memory = Memory(thought_in=field)  # type: ignore[arg-type]  # one of them
    summary = [{"type": "summary_text", "text": text}]
    return {"type": "reasoning", "id": "rs", "summary": summary, "encrypted_content": sealed(memory)}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_plain_reasoning_goes_back_with_the_calls_that_it_led_to(field: str) -> None:
    asked = {"role": "user", "content": "hi"}
    steps = [thinking("Hm.", field), CALL, RESULT, thinking("So.", field), CALL | {"call_id": "b"}]
    chat = chat_of([asked, *steps, RESULT | {"call_id": "b"}])

    assert [message.get(field) for message in chat["messages"]] == [None, "Hm.", None, "So.", None]


def test_plain_reasoning_of_earlier_turns_and_of_words_is_left_out() -> None:
    asked = {"role": "user", "content": "hi"}
    said = {"role": "assistant", "content": "Hello."}
    before = [asked, thinking("Hm."), CALL, RESULT, thinking("So."), said]

    assert "reasoning_content" not in json.dumps(chat_of([*before, asked]))
    assert [message.get("reasoning_content") for message in chat_of(before)["messages"]] == [
        None, "Hm.", None, None
    ]  # fmt: skip


def test_a_field_that_no_provider_shows_reasoning_in_is_none() -> None:
    forged = "finops1." + base64.urlsafe_b64encode(b'{"thought_in":"role"}').decode()
    chat = chat_of([{"role": "user", "content": "hi"}, thinking("x") | {"encrypted_content": forged}, CALL])

    assert chat["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_what_came_after_the_words_belongs_to_them() -> None:
    said = {"role": "assistant", "content": "Hello."}
    asked = {"role": "user", "content": "hi"}
    chat = chat_of([asked, said, remembering(details=SIGNED), asked, said])

    assert [message.get("reasoning_details") for message in chat["messages"]] == [None, SIGNED, None, None]


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "auto"}}
FILE = {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}
READ = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}


def seen(call_id: str, *parts: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": list(parts)}


TWO_CALLS = [{"role": "user", "content": "Look."}, CALL, CALL | {"call_id": "b"}]
TEXT_PART = {"type": "input_text", "text": "ok"}


def test_what_tools_show_is_shown_by_the_user_when_all_have_answered() -> None:
    chat = chat_of([*TWO_CALLS, seen("a", TEXT_PART, PICTURE), seen("b", FILE)])

    assert chat["messages"][2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": [SHOWN, READ]},
    ]


@pytest.mark.parametrize("said", ["And?", [TEXT_PART, PICTURE]])
def test_what_tools_show_goes_along_with_what_the_user_says_next(said: Any) -> None:
    chat = chat_of([*TWO_CALLS, seen("a", PICTURE), seen("b", TEXT_PART), {"role": "user", "content": said}])

    roles = [message["role"] for message in chat["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user"]
    told = chat["messages"][-1]["content"]
    assert told[0] == SHOWN
    assert told[1:] == (
        [{"type": "text", "text": "And?"}] if said == "And?" else [{"type": "text", "text": "ok"}, SHOWN]
    )


@pytest.mark.parametrize(
    "after", [{"role": "developer", "content": "Be brief."}, {"role": "assistant", "content": "I see."}, CALL]
)
def test_what_a_tool_shows_is_seen_before_anything_else_is_said(after: dict[str, Any]) -> None:
    chat = chat_of([{"role": "user", "content": "Look."}, CALL, seen("a", PICTURE), after])

    assert chat["messages"][3] == {"role": "user", "content": [SHOWN]}
    assert len(chat["messages"]) == 5


def test_where_results_may_show_something_they_do() -> None:
    body = body_of([*TWO_CALLS, seen("a", TEXT_PART, PICTURE), seen("b", FILE)])
    chat = json.loads(to_chat(body, pictures_in_results=True).raw_body)

    assert chat["messages"][2:] == [
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "ok"}, SHOWN]},
        {"role": "tool", "tool_call_id": "b", "content": [READ]},
    ]


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace["type"])
def test_traces_of_what_openais_servers_did_are_left_out_and_told(trace: dict[str, Any]) -> None:
    asked, said = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Found it."}
    items = [asked, trace, said, asked]

    assert chat_of(items) == chat_of([asked, said, asked])
    assert left_out(body_of(items)) == (f"input.{trace['type']}",)
    assert left_out(body_of([asked])) == left_out(body_of("mcp_call")) == ()


def test_a_custom_tool_is_called_and_answers_as_a_function_of_one_text() -> None:
    patch = '*** Begin Patch\n"x"'
    chat = chat_of(
        [
            {"role": "user", "content": "hi"},
            {
                "type": "custom_tool_call",
                "id": "ctc_1",
                "call_id": "a",
                "name": "apply_patch",
                "input": patch,
            },
            {"type": "custom_tool_call_output", "call_id": "a", "output": [TEXT_PART, PICTURE]},
        ]
    )

    (call,) = chat["messages"][1]["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("a", "apply_patch")
    assert json.loads(call["function"]["arguments"]) == {"input": patch}
    assert chat["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": "ok"}
    assert chat["messages"][3]["content"] == [SHOWN]


SHELL = {"type": "exec", "command": ["ls"], "env": {}}
CHUNKS = [{"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
PATCH = {"type": "delete_file", "path": "a.txt"}


@pytest.mark.parametrize(
    ("call", "result", "name", "asked", "said"),
    [
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "a", "status": "completed", "action": SHELL},
            {"type": "local_shell_call_output", "id": "lsh_1", "output": '{"output":"a.txt"}'},
            "local_shell", SHELL, '{"output":"a.txt"}',
        ),
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "a", "status": "completed", "action": SHELL},
            {"type": "local_shell_call_output", "id": "a", "output": "a.txt"},
            "local_shell", SHELL, "a.txt",
        ),
        (
            {"type": "shell_call", "call_id": "a", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "a", "output": CHUNKS},
            "shell", {"commands": ["ls"]}, json.dumps(CHUNKS, separators=(",", ":")),
        ),
        (
            {"type": "apply_patch_call", "call_id": "a", "status": "completed", "operation": PATCH},
            {"type": "apply_patch_call_output", "call_id": "a", "status": "failed"},
            "apply_patch", PATCH, "failed",
        ),
    ],
)  # fmt: skip
def test_tools_of_openais_own_that_the_client_ran_are_calls_like_any_other(
    call: Any, result: Any, name: str, asked: Any, said: str
) -> None:
    chat = chat_of([{"role": "user", "content": "hi"}, call, result])

    (told,) = chat["messages"][1]["tool_calls"]
    assert (told["id"], told["function"]["name"]) == ("a", name)
    assert json.loads(told["function"]["arguments"]) == asked
    assert chat["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": said}


DRAWN = base64.b64encode(PNG).decode()
NATIVE = ("openai", "azure", "xai", "openrouter")
PLACES = {
    "anthropic": lambda body: body["messages"][2]["content"][0]["content"][1],
    "bedrock": lambda body: body["messages"][2]["content"][0]["toolResult"]["content"][1],
    "gemini": lambda body: body["contents"][2]["parts"][1],
    "mistral": lambda body: body["messages"][4]["content"][
        0
    ],  # it insists on a turn of the assistant's between
    "others": lambda body: body["messages"][3]["content"][0],
}
"""Where a picture that a tool shows stands in a request, in the provider's own terms."""
WHERE = [
    *((kind, MODELS[kind], PLACES.get(kind, PLACES["others"])) for kind in KINDS
      if kind not in (*NATIVE, "vertex", "cohere", "replicate")),
    ("vertex", MODELS["vertex"], PLACES["gemini"]),
    ("vertex", "claude-opus-5", PLACES["anthropic"]),
    ("azure", "claude-opus-5", PLACES["anthropic"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "model", "place"), WHERE)
def test_a_picture_that_a_tool_shows_reaches_every_model_that_sees(kind: str, model: str, place: Any) -> None:
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{DRAWN}", "detail": "auto"}
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    items = [{"role": "user", "content": "Look."}, CALL, seen("a", TEXT_PART, picture)]
    body, target = body_of(items, tools=tools), target_of(kind, model)
    route = Route(
        name=f"{kind}/{model}",
        provider=target.provider,
        type=target.type,
        model=model,
        adapter=adapter_of(kind),
        timeouts=target.timeouts,
        prices=None,  # type: ignore[arg-type]  # nothing is priced
    )
    prepared = route_for(route, Operation.RESPONSES, body).adapter.build(Operation.RESPONSES, target, body)

    assert isinstance(prepared.request.body, bytes)
    assert DRAWN in json.dumps(place(json.loads(prepared.request.body)))
    if model == MODELS[kind]:
        assert complaints(kind, prepared.request) == []
