"""Text completions, which Mistral calls the filling in of a middle: asked for in its words, answered by it as a chat is.

The format is that of `FIMCompletionRequest` and `FIMCompletionResponse` in Mistral's SDK.
"""

from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.parts import plain_content
from services.gateway.providers.parameters import left_over
from services.gateway.providers.port import Answer
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.sse import event
from services.gateway.providers.wire_errors import unreadable_answer

PATH: Final = "/fim/completions"
_SENT: Final = (
    "suffix", "temperature", "top_p", "max_tokens", "stop", "stream", "metadata", "min_tokens", "prompt_cache_key",
)  # fmt: skip
_NOTHING: Final = {"best_of": (b"1",), "n": (b"1",), "echo": (b"false",), "logprobs": (b"0", b"false")}
"""Parameters without a counterpart that would change the answer, and the values that ask for nothing."""
_TAKEN: Final = frozenset({"prompt", "seed", "random_seed", "stream_options", *_SENT, *_NOTHING})
_REASONS: Final = {"model_length": "length"}


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    message: _Said | None = None
    delta: _Said | None = None


_prompt: Final = msgspec.json.Decoder(str | list[str])
_choices: Final = msgspec.json.Decoder(list[_Choice])
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def fim_fields(body: JsonBody) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request but for its model, and what was left out. Raises BadRequest naming what Mistral has not."""
    for name, values in _NOTHING.items():
        if (raw := body.raw(name)) is not None and raw not in values:
            raise BadRequest(f"`{name}` cannot be used with this model: its provider has none.", param=name)
    fields: dict[str, Any] = {"prompt": _one_prompt(body)}
    fields |= {name: msgspec.Raw(raw) for name in _SENT if (raw := body.raw(name)) is not None}
    seed = body.raw("random_seed") or body.raw("seed")
    if seed is not None:
        fields["random_seed"] = msgspec.Raw(seed)
    return fields, tuple(left_over(body, _TAKEN))


def read_text(read: Answer, answer: bytes) -> Answer:
    """The answer as a text completion; `read` is the same as it came. One of another shape has its `error` set."""
    try:
        fields = _fields.decode(answer)
        _as_text(fields, "message")
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    sent = msgspec.json.encode(fields)
    reason = _REASONS.get(read.finish_reason, read.finish_reason)
    return OpenAIAnswer(sent, read.content_type, read.usage, fields=fields, finish_reason=reason)


class FimRelay(OpenAIRelay):
    """See Relay. The chunks of a chat as those of a text completion."""

    __slots__ = ()

    def _means_something(self, events: bytes) -> bool:
        return b'"choices"' in events or super()._means_something(events)

    def _note_finish(self, events: bytes) -> None:
        super()._note_finish(events)
        self.finish_reason = _REASONS.get(self.finish_reason, self.finish_reason)

    def _chunk(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        try:
            _as_text(fields, "delta")
        except msgspec.DecodeError:
            return super()._chunk(
                block, fields
            )  # choices of another shape: the client gets them as they came
        return super()._chunk(event(msgspec.json.encode(fields)), fields)


def _one_prompt(body: JsonBody) -> str:
    try:
        given = _prompt.decode(body.raw("prompt") or b'""')
    except msgspec.DecodeError as error:
        raise BadRequest("`prompt` must be a text with this model.", param="prompt") from error
    prompts = [given] if isinstance(given, str) else given
    if len(prompts) != 1 or not prompts[0]:
        raise BadRequest("You must send one prompt.", param="prompt")
    return prompts[0]


def _as_text(fields: dict[str, msgspec.Raw], said: str) -> None:
    """Turns the choices of a chat, which hold what is said in `said`, into those of a text. Raises DecodeError."""
    plain_content(fields, said)
    texts = []
    for choice in _choices.decode(fields.get("choices", b"")):
        piece = choice.message or choice.delta or _Said()
        reason = _REASONS.get(choice.finish_reason or "", choice.finish_reason)
        texts.append(
            {"index": choice.index, "text": piece.content or "", "logprobs": None, "finish_reason": reason}
        )
    fields["object"] = msgspec.Raw(b'"text_completion"')
    fields["choices"] = msgspec.Raw(msgspec.json.encode(texts))
