"""Fields of a chat that Mistral wants otherwise than OpenAI does. Each is None when it may stay as it came."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.parts import mistral_messages


class _Offered(msgspec.Struct):
    """A tool, or the choice of one. Mistral has kinds of its own, which are no functions either."""

    type: str = "function"
    function: dict[str, msgspec.Raw] | None = None


_OPENAIS_OWN: Final = ("custom", "allowed_tools")
_ANY_OBJECT: Final = msgspec.Raw(b'{"type":"object"}')
_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
_offered: Final = msgspec.json.Decoder(list[_Offered])
_choice: Final = msgspec.json.Decoder(str | _Offered)


class _Text(msgspec.Struct):
    text: str


class _Prediction(msgspec.Struct):
    content: str | list[_Text]
    type: str = "content"


_prediction: Final = msgspec.json.Decoder(_Prediction)
_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _with_parameters(raw: bytes) -> bytes | None:
    """Tools whose functions all say what they take, as Mistral wants it; None when they do. Raises BadRequest."""
    try:
        offered = _offered.decode(raw)
        for at, tool in enumerate(offered):
            if tool.type in _OPENAIS_OWN:
                raise BadRequest(f"`tools[{at}]` must be a function.", param=f"tools[{at}]")
        if all(tool.function is None or "parameters" in tool.function for tool in offered):
            return None
        tools = _objects.decode(raw)
        for tool, written in zip(offered, tools, strict=True):
            if tool.function is not None:
                function = {"parameters": _NO_PARAMETERS, **tool.function}
                written["function"] = msgspec.Raw(msgspec.json.encode(function))
    except msgspec.DecodeError as error:
        raise BadRequest("`tools` must be a list of functions.", param="tools") from error
    return msgspec.json.encode(tools)


def _with_schema(raw: bytes) -> bytes | None:
    """The form of the answer with a schema where one is promised; None when it may stay. Raises BadRequest."""
    try:
        form = _fields.decode(raw)
        promised = _fields.decode(form.get("json_schema", b"{}"))
    except msgspec.DecodeError as error:
        raise BadRequest("`response_format` must be an object.", param="response_format") from error
    if "json_schema" not in form or bytes(promised.get("schema", b"null")) != b"null":
        return None
    promised["schema"] = _ANY_OBJECT
    form["json_schema"] = msgspec.Raw(msgspec.json.encode(promised))
    return msgspec.json.encode(form)


def _choice_of_one(raw: bytes) -> None:
    """Mistral can be told a mode, or one function. Raises BadRequest."""
    try:
        choice = _choice.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest("`tool_choice` must be a text or an object.", param="tool_choice") from error
    if isinstance(choice, _Offered) and choice.type in _OPENAIS_OWN:
        raise BadRequest("`tool_choice` must be a mode, or name one function.", param="tool_choice")


def _said_at_once(raw: bytes) -> bytes:
    """What is predicted, as one text. Raises BadRequest."""
    try:
        predicted = _prediction.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest("`prediction` must be an object with a `content`.", param="prediction") from error
    if not isinstance(predicted.content, str):
        predicted.content = "".join(part.text for part in predicted.content)
    return msgspec.json.encode(predicted)


WRITTEN_OTHERWISE: Final[Mapping[str, Callable[[bytes], bytes | None]]] = {
    "messages": mistral_messages,
    "tools": _with_parameters,
    "tool_choice": _choice_of_one,
    "response_format": _with_schema,
    "prediction": _said_at_once,
}
"""Field of a chat -> its JSON as Mistral takes it."""
