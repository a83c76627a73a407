"""Ranking: what is sent where, and what comes back."""

import msgspec
import pytest

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Answer
from services.gateway.providers.vertex.adapter import VertexAdapter
from tests.unit.gateway.providers.vertex.test_location import target


def body(documents: int, **fields: object) -> JsonBody:
    texts = [f"text {at}" for at in range(documents)]
    return parse_json(msgspec.json.encode({"model": "m", "query": "q", "documents": texts, **fields}))


def read(answer: bytes, documents: int = 3) -> Answer:
    return VertexAdapter().read_answer(Operation.RERANK, body(documents), {}, answer)


def test_the_service_has_a_host_of_its_own_and_one_place() -> None:
    to = target("semantic-ranker-default@latest", project="acme.com:p", location="eu")

    request = VertexAdapter().build(Operation.RERANK, to, body(2, top_n=9)).request

    assert request.url == (
        "https://discoveryengine.googleapis.com/v1/projects/acme.com:p/locations/global/"
        "rankingConfigs/default_ranking_config:rank"
    )
    assert isinstance(request.body, bytes)
    assert msgspec.json.decode(request.body) == {
        "model": "semantic-ranker-default@latest",
        "query": "q",
        "records": [{"id": "0", "content": "text 0"}, {"id": "1", "content": "text 1"}],
        "topN": 2,
        "ignoreRecordDetailsInResponse": True,
    }


@pytest.mark.parametrize(("documents", "units"), [(3, 1), (100, 1), (101, 2)])
def test_it_is_billed_by_the_hundred(documents: int, units: int) -> None:
    usage = read(b'{"records":[{"id":"0","score":0.5}]}', documents).usage

    assert (usage.tokens.search_units, usage.estimated) == (units, False)


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"error":{"code":403,"message":"No."}}', b'{"records":[{}]}']
)
def test_what_is_no_ranking_is_an_error(answer: bytes) -> None:
    assert read(answer).error is not None


def test_what_cannot_be_ranked() -> None:
    with pytest.raises(BadRequest) as refused:
        VertexAdapter().build(Operation.RERANK, target("semantic-ranker", project="p"), body(201))
    assert refused.value.param == "documents"
    with pytest.raises(BadRequest, match="API key"):
        VertexAdapter().build(Operation.RERANK, target("semantic-ranker", secret="AIza"), body(1))
