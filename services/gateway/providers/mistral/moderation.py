"""Moderation: OpenAI's input as the texts that Mistral judges, and its verdicts as OpenAI's, by its own categories.

The format is that of `ClassificationRequest` and `ModerationResponse` in Mistral's SDK.
"""

from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.parameters import left_over
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer

_TAKEN: Final = frozenset({"input", "metadata"})


class _Part(msgspec.Struct):
    """A piece of what OpenAI judges as one: a text, or a picture."""

    type: str = ""
    text: str | None = None


class _Verdicts(msgspec.Struct):
    results: list[dict[str, msgspec.Raw]]


_input: Final = msgspec.json.Decoder(str | list[str | _Part])
_verdicts: Final = msgspec.json.Decoder(_Verdicts)
_categories: Final = msgspec.json.Decoder(dict[str, bool] | None)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def moderation_fields(body: JsonBody) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request but for its model, and what was left out. Raises BadRequest naming what Mistral cannot judge."""
    fields: dict[str, Any] = {"input": _texts(body)}
    if (metadata := body.raw("metadata")) is not None:
        fields["metadata"] = msgspec.Raw(metadata)
    return fields, tuple(left_over(body, _TAKEN))


def read_moderation(answer: bytes, usage: Usage) -> OpenAIAnswer:
    """Each result flagged when one of its categories is. Never raises: an answer of another shape has its `error` set."""
    try:
        fields = _fields.decode(answer)
        results = [_verdict(result) for result in _verdicts.decode(answer).results]
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    fields["results"] = msgspec.Raw(msgspec.json.encode(results))
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _texts(body: JsonBody) -> str | list[str]:
    try:
        given = _input.decode(body.raw("input") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be a text, or a list of texts.", param="input") from error
    if not given:
        raise BadRequest("You must send an input.", param="input")
    if isinstance(given, str):
        return given
    texts = [item for item in given if isinstance(item, str)]
    if len(texts) == len(given):
        return texts
    return "\n".join(_text_of(item, f"input[{at}]") for at, item in enumerate(given))


def _text_of(item: str | _Part, where: str) -> str:
    """OpenAI gives one verdict on a list of parts, so that they are one text here."""
    if isinstance(item, str):
        raise BadRequest(f"`{where}` must be an object, as others of the list are.", param=where)
    if item.type != "text" or item.text is None:
        raise BadRequest(
            f"`{where}` must be a text: the provider of this model judges nothing else.", param=where
        )
    return item.text


def _verdict(result: dict[str, msgspec.Raw]) -> dict[str, Any]:
    categories = _categories.decode(result.get("categories", b"null")) or {}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": {},
        "category_applied_input_types": {name: ["text"] for name in categories},
        **{name: raw for name, raw in result.items() if bytes(raw) != b"null"},
    }
