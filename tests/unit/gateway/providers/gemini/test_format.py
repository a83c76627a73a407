"""Answers in JSON: what Gemini is held to, and what it is only told."""

import json
from typing import Any

import pytest

from tests.unit.gateway.providers.gemini.test_request import FLASH3, LOOK, PRO3, built, config


def test_json_with_and_without_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}

    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format=wanted) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }


CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "x", "strict": True, "schema": CITY, "description": "A city."},
}


@pytest.mark.parametrize("asked", [{"tools": [LOOK]}, {"web_search_options": {}}])
def test_older_models_are_told_in_words_what_they_cannot_be_held_to_beside_tools(
    asked: dict[str, Any],
) -> None:
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": "Hi"}

    body, dropped = built(messages=[system, user], response_format=FORM, **asked)

    brief, words = (part["text"] for part in body["systemInstruction"]["parts"])
    assert brief == "Be brief."
    assert " A city. " in words
    assert json.loads(words.partition("schema:\n")[2]) == CITY
    assert ("generationConfig" in body, dropped) == (False, ("response_format",))
    plain, _ = built(response_format={"type": "json_object"}, **asked)
    assert "JSON object" in plain["systemInstruction"]["parts"][0]["text"]


def test_newer_models_are_held_to_a_schema_beside_tools_too() -> None:
    for model in (PRO3, FLASH3, "gemini-flash-latest"):
        body, dropped = built(model, response_format=FORM, tools=[LOOK])

        assert body["generationConfig"]["responseJsonSchema"] == CITY
        assert ("systemInstruction" in body, dropped) == (False, ())
