"""Cohere's whole answers in OpenAI's format."""

from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer, new_id
from services.gateway.providers.chat.request import CalledFunction, ToolCall
from services.gateway.providers.cohere.wire import FINISH, Call, Content, Used, failure, read_error, read_used
from services.gateway.providers.embeddings import embeddings_answer
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.operations import Operation
from services.gateway.providers.rerank import Ranked, read_rerank, rerank_fields
from services.gateway.providers.several import answers_in
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens


class _Logprob(msgspec.Struct):
    text: str | None = None
    logprobs: list[float] | None = None


class _Message(msgspec.Struct):
    content: list[Content] | None = None
    tool_calls: list[Call] | None = None
    tool_plan: str | None = None


class _Chat(msgspec.Struct):
    message: _Message
    finish_reason: str
    id: str = ""
    usage: Used | None = None
    logprobs: list[_Logprob] | None = None


class _Vectors(msgspec.Struct):
    float: list[list[float]]


class _Embeddings(msgspec.Struct):
    embeddings: _Vectors
    meta: Used | None = None


class _Ranking(msgspec.Struct):
    results: list[Ranked]
    id: str = ""
    meta: Used | None = None


_chat: Final = msgspec.json.Decoder(_Chat)
_embeddings: Final = msgspec.json.Decoder(_Embeddings)
_ranking: Final = msgspec.json.Decoder(_Ranking)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_chat_answer(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        chat = _chat.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, read_error(raw) or unreadable_answer())
    finish = FINISH.get(chat.finish_reason)
    if finish is None:
        return failed_answer(raw, failure(f"The model ended with {chat.finish_reason}."))
    message = chat.message
    said = Said(
        text="".join(part.text or "" for part in message.content or ()) or message.tool_plan,
        reasoning="".join(part.thinking or "" for part in message.content or ()),
        tool_calls=[_call(call) for call in message.tool_calls or ()],
        finish_reason=finish,
        logprobs=_logprobs(chat.logprobs),
    )
    usage = read_used(chat.usage) or _estimated(request, said)
    return chat_answer(model=request.model, choices=[said], usage=usage, id=chat.id)


def read_embeddings(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    """As `read_chat_answer`. Vectors are in base64 where the client asks for it; they may be of several calls."""
    try:
        answers = [_embeddings.decode(answer) for answer in answers_in(raw)]
    except msgspec.DecodeError:
        return failed_answer(raw, read_error(raw) or unreadable_answer())
    reported = [read_used(answer.meta) for answer in answers]
    counts = [usage.tokens.prompt for usage in reported if usage is not None]
    if len(counts) == len(answers):
        usage = Usage(Tokens(prompt=sum(counts)))
    else:
        usage = estimate_answer(Operation.EMBEDDINGS, request, raw)
    return embeddings_answer(
        request, [vector for answer in answers for vector in answer.embeddings.float], usage
    )


def read_ranking(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    """As `read_chat_answer`."""
    try:
        answer = _ranking.decode(raw)
        meta = _fields.decode(raw).get("meta")
    except msgspec.DecodeError:
        return failed_answer(raw, read_error(raw) or unreadable_answer())
    asked = read_rerank(request)
    usage = read_used(answer.meta) or msgspec.structs.replace(asked.usage, estimated=True)
    fields = rerank_fields(
        asked,
        answer.results,
        id=answer.id or new_id("rerank-"),
        model=request.model,
        usage=usage,
        extras={"meta": meta} if meta is not None else {},
    )
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _call(call: Call) -> ToolCall:
    name = call.function.name if call.function is not None else None
    arguments = call.function.arguments if call.function is not None else None
    return ToolCall(call.id or new_id("call_"), CalledFunction(name or "", arguments or "{}"))


def _logprobs(items: list[_Logprob] | None) -> Any:
    """Cohere gives them for pieces of text, which may be several tokens: a piece is as probable as all of them."""
    if items is None:
        return None
    content = [
        {
            "token": item.text or "",
            "logprob": sum(item.logprobs or ()),
            "bytes": list((item.text or "").encode()),
            "top_logprobs": [],
        }
        for item in items
    ]
    return {"content": content, "refusal": None}


def _estimated(request: JsonBody, said: Said) -> Usage:
    asked = estimate_answer(Operation.CHAT, request, b"")
    size = len((said.text or "").encode()) + len(said.reasoning.encode())
    size += sum(len(call.function.arguments) for call in said.tool_calls)
    completion = estimate_tokens(size) if size else 0
    return Usage(Tokens(prompt=asked.tokens.prompt, completion=completion), estimated=True)
