"""A whole completion that came where a stream was asked for, as the one chunk of a stream."""

from collections.abc import Mapping
from typing import Final

import msgspec

_Raws = dict[str, msgspec.Raw]


class _Choice(msgspec.Struct):
    message: _Raws | None = None
    text: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    index: int = 0
    logprobs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    finish_reason: str | None = None


_choices: Final = msgspec.json.Decoder(list[_Choice])
_calls: Final = msgspec.json.Decoder(list[_Raws])


def chunk_of(fields: Mapping[str, msgspec.Raw]) -> bytes | None:
    """The JSON of the chunk that says what the completion says, without its usage; None when it is no good one.

    A good one has a choice, and each of its choices is finished and says something in a message or a text.
    """
    try:
        choices = _choices.decode(fields.get("choices", msgspec.Raw(b"null")))
        said = [_as_piece(choice) for choice in choices]
    except msgspec.DecodeError:
        return None  # no completion
    if not said or None in said:
        return None
    chunk: dict[str, object] = {name: raw for name, raw in fields.items() if name != "usage"}
    if choices[0].message is not None:
        chunk["object"] = "chat.completion.chunk"
    return msgspec.json.encode({**chunk, "choices": said})


def _as_piece(choice: _Choice) -> dict[str, object] | None:
    """Raises msgspec.DecodeError."""
    if choice.finish_reason is None or (choice.message is None and choice.text is msgspec.UNSET):
        return None
    piece: dict[str, object] = {"index": choice.index, "finish_reason": choice.finish_reason}
    if choice.logprobs is not msgspec.UNSET:
        piece["logprobs"] = choice.logprobs
    if choice.message is None:
        return {**piece, "text": choice.text}
    delta: dict[str, object] = dict(choice.message)
    calls = choice.message.get("tool_calls")
    if calls is not None and bytes(calls) != b"null":
        # Pieces of a stream say which of the calls they belong to.
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(_calls.decode(calls))]
    return {**piece, "delta": delta}
