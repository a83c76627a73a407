"""Finished predictions in OpenAI's format."""

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer, unix_now
from services.gateway.providers.chat.images import is_data_url
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.operations import Operation
from services.gateway.providers.replicate.wire import Prediction, prediction_decoder
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens


def read_said(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    """The answer to a chat. Never raises: an answer that cannot be read has its `error` set."""
    made = _finished(raw)
    if isinstance(made, UpstreamError):
        return failed_answer(raw, made)
    said = Said(text="".join(made.outputs))
    return chat_answer(
        model=request.model,
        choices=[said],
        usage=made.usage or _estimated(request, said.text or ""),
        id=made.id,
    )


def read_pictures(raw: bytes) -> OpenAIAnswer:
    """As `read_said`."""
    made = _finished(raw)
    if isinstance(made, UpstreamError):
        return failed_answer(raw, made)
    data = [
        {"b64_json": output.partition(",")[2]} if is_data_url(output) else {"url": output}
        for output in made.outputs
    ]
    document = {"created": unix_now(), "data": data}
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    usage = Usage(Tokens(images=len(data)))
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _finished(raw: bytes) -> Prediction | UpstreamError:
    try:
        made = prediction_decoder.decode(raw)
    except msgspec.DecodeError:
        return unreadable_answer()
    if made.running:
        return unreadable_answer()
    return made.failure or made


def _estimated(request: JsonBody, text: str) -> Usage:
    asked = estimate_answer(Operation.CHAT, request, b"")
    completion = estimate_tokens(len(text.encode())) if text else 0
    return Usage(Tokens(prompt=asked.tokens.prompt, completion=completion), estimated=True)
