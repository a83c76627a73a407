"""Ranking documents by a query, with the ranking service of Google Cloud."""

from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer, new_id
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.errors import error_inside
from services.gateway.providers.port import Target
from services.gateway.providers.rerank import Ranked, read_rerank, rerank_fields
from services.gateway.providers.vertex.location import Place
from services.gateway.providers.wire_errors import unreadable_answer

MAX_DOCUMENTS: Final = 200
_HOST: Final = "https://discoveryengine.googleapis.com"
_CONFIG: Final = "rankingConfigs/default_ranking_config:rank"


class _Record(msgspec.Struct):
    id: str
    score: float


class _Records(msgspec.Struct):
    records: list[_Record] | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_records: Final = msgspec.json.Decoder(_Records)


def ranking_url(place: Place, target: Target) -> str:
    """The service has one place for all the world. Raises BadRequest: it needs a project."""
    if not place.project:
        raise BadRequest(
            f"The provider '{target.provider.name}' cannot rank with an API key. Tell your administrator."
        )
    own = target.provider.base_url.rstrip("/")
    root = own if own != target.type.base_url.rstrip("/") else _HOST
    return f"{root}/v1/projects/{place.project}/locations/global/{_CONFIG}"


def ranking_body(place: Place, body: JsonBody) -> bytes:
    """Raises BadRequest."""
    request = read_rerank(body)
    if len(request.documents) > MAX_DOCUMENTS:
        raise BadRequest(f"`documents` must hold at most {MAX_DOCUMENTS}.", param="documents")
    records = [{"id": str(at), "content": text} for at, text in enumerate(request.documents)]
    wanted = min(request.top_n or len(records), len(records))
    return msgspec.json.encode(
        {
            "model": place.model,
            "query": request.query,
            "records": records,
            "topN": wanted,
            "ignoreRecordDetailsInResponse": True,
        }
    )


def read_ranking(body: JsonBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        found = _records.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    error = error_inside(bytes(found.error))
    if error is not None or found.records is None:
        return failed_answer(answer, error or unreadable_answer())
    request = read_rerank(body)
    usage = request.usage
    ranked = [Ranked(int(one.id), one.score) for one in found.records if one.id.isdecimal()]
    fields = rerank_fields(request, ranked, id=new_id("rerank-"), model=body.model, usage=usage, extras={})
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)
