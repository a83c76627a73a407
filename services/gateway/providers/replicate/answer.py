"""Finished predictions in OpenAI's format."""

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer, unix_now
from services.gateway.providers.chat.images import is_data_url
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.operations import Operation
from services.gateway.providers.replicate.wire import Prediction, prediction_decoder
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens


def read_prediction(operation: Operation, request: JsonBody, raw: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        made = prediction_decoder.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    if made.running or made.failure is not None:
        return failed_answer(raw, made.failure or unreadable_answer())
    if operation is Operation.IMAGES:
        return _pictures(made)
    said = Said(text="".join(made.outputs))
    return chat_answer(
        model=request.model,
        choices=[said],
        usage=made.usage or _estimated(request, said.text or ""),
        id=made.id,
    )


def _pictures(made: Prediction) -> OpenAIAnswer:
    data = [
        {"b64_json": output.partition(",")[2]} if is_data_url(output) else {"url": output}
        for output in made.outputs
    ]
    document = {"created": unix_now(), "data": data}
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    usage = Usage(Tokens(images=len(data)))
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _estimated(request: JsonBody, text: str) -> Usage:
    asked = estimate_answer(Operation.CHAT, request, b"")
    completion = estimate_tokens(len(text.encode())) if text else 0
    return Usage(Tokens(prompt=asked.tokens.prompt, completion=completion), estimated=True)
