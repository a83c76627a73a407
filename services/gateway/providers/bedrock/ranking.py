"""Ranking documents by a query, with the Rerank call of Bedrock's agents."""

from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.bedrock.location import Place
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer, new_id
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.rerank import Ranked, read_rerank, rerank_fields
from services.gateway.providers.wire_errors import unreadable_answer

MAX_DOCUMENTS: Final = 1_000


class _Result(msgspec.Struct):
    index: int
    relevanceScore: float


class _Results(msgspec.Struct):
    results: list[_Result]


_results: Final = msgspec.json.Decoder(_Results)


def ranking_body(place: Place, body: JsonBody) -> bytes:
    """Raises BadRequest."""
    request = read_rerank(body)
    if len(request.documents) > MAX_DOCUMENTS:
        raise BadRequest(f"`documents` must hold at most {MAX_DOCUMENTS}.", param="documents")
    if not all(request.documents):
        raise BadRequest("`documents` must hold none that is empty.", param="documents")
    wanted = min(request.top_n or len(request.documents), len(request.documents))
    return msgspec.json.encode(
        {
            "queries": [{"type": "TEXT", "textQuery": {"text": request.query}}],
            "sources": [
                {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
                for text in request.documents
            ],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": wanted,
                    "modelConfiguration": {"modelArn": place.arn},
                },
            },
        }
    )


def read_ranking(body: JsonBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        found = _results.decode(answer).results
    except msgspec.DecodeError:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    request = read_rerank(body)
    usage = request.usage
    fields = rerank_fields(
        request,
        [Ranked(one.index, one.relevanceScore) for one in found],
        id=new_id("rerank-"),
        model=body.model,
        usage=usage,
        extras={},
    )
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)
