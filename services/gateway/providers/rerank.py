"""Ranking documents by a query: the request and the answer of `/v1/rerank`, in the shape that Cohere and Jina share."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.usage import Usage, usage_json
from shared.events import Tokens

TAKEN: Final = frozenset({"query", "documents", "top_n", "return_documents"})
DOCUMENTS_PER_UNIT: Final = 100


class RerankRequest(msgspec.Struct, frozen=True):
    """What a client asks. `documents` are texts, whichever way they were sent."""

    query: str
    documents: tuple[str, ...]
    top_n: int | None = None
    return_documents: bool = False

    @property
    def usage(self) -> Usage:
        """As clouds bill a ranking that they report no usage of: by the hundred documents."""
        return Usage(Tokens(search_units=units_of(len(self.documents))))


class Ranked(msgspec.Struct, frozen=True):
    """One document's place in the answer."""

    index: int
    relevance_score: float


class _Document(msgspec.Struct):
    text: str


class _Total(msgspec.Struct):
    total_tokens: int = 0


_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_documents: Final = msgspec.json.Decoder(list[str | _Document])
_flag: Final = msgspec.json.Decoder(bool)
_total: Final = msgspec.json.Decoder(_Total)


def read_rerank(body: JsonBody) -> RerankRequest:
    """Raises BadRequest naming the field at fault."""
    query = body.text("query")
    if not query:
        raise BadRequest("You must send a query.", param="query")
    try:
        documents = _documents.decode(body.raw("documents") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest(
            "`documents` must be a list of texts, or of objects with a `text`.", param="documents"
        ) from error
    if not documents:
        raise BadRequest("You must send at least one document.", param="documents")
    top_n = body.number("top_n")
    if top_n == 0:
        raise BadRequest("`top_n` must be at least 1.", param="top_n")
    try:
        with_documents = _flag.decode(body.raw("return_documents") or b"false")
    except msgspec.DecodeError as error:
        raise BadRequest("`return_documents` must be true or false.", param="return_documents") from error
    texts = tuple(document if isinstance(document, str) else document.text for document in documents)
    return RerankRequest(query, texts, top_n, with_documents)


def rerank_fields(
    request: RerankRequest,
    ranked: Sequence[Ranked],
    *,
    id: str,
    model: str,
    usage: Usage,
    extras: Mapping[str, msgspec.Raw],
) -> dict[str, msgspec.Raw]:
    """The fields of an answer. A rank that points at no document is left out."""
    results = []
    for item in ranked:
        if not 0 <= item.index < len(request.documents):
            continue
        result: dict[str, object] = {"index": item.index, "relevance_score": item.relevance_score}
        if request.return_documents:
            result["document"] = {"text": request.documents[item.index]}
        results.append(result)
    fields = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in (("id", id), ("model", model), ("results", results), ("usage", usage_json(usage)))
    }
    return fields | dict(extras)


def units_of(documents: int) -> int:
    """What a ranking of so many documents counts as where rankings are priced by request."""
    return -(-documents // DOCUMENTS_PER_UNIT)


def document_count(documents: bytes) -> int:
    """How many documents there are in the JSON of `documents`; 0 when it is no list."""
    try:
        return len(_items.decode(documents))
    except msgspec.DecodeError:
        return 0  # refused by whoever reads it in earnest


def read_total(raw_usage: bytes) -> Usage | None:
    """The usage of a server (Jina, vLLM) that counts a ranking in `total_tokens` alone; None when it does not."""
    try:
        total = _total.decode(raw_usage).total_tokens
    except msgspec.DecodeError:
        return None  # unreadable is as good as missing
    return Usage(Tokens(prompt=total)) if total > 0 else None
