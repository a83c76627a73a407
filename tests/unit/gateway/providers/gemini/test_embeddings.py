"""Embeddings: as many calls as Google's limits on one make necessary, and one answer."""

from typing import Any

import msgspec
import pytest

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.embeddings import (
    MAX_BATCH,
    MAX_INSTANCES,
    batch_bodies,
    predict_bodies,
    read_embeddings,
    vertex_embed_bodies,
)
from services.gateway.providers.several import MAX_CALLS


def body(texts: list[str] | str, **fields: Any) -> JsonBody:
    return parse_json(msgspec.json.encode({"model": "m", "input": texts, **fields}))


def sizes(bodies: list[bytes], name: str) -> list[int]:
    return [len(msgspec.json.decode(one)[name]) for one in bodies]


def test_more_texts_than_fit_into_a_call_take_several() -> None:
    asked = body(["x"] * 251, dimensions=3)

    assert sizes(batch_bodies(asked, "models/m"), "requests") == [MAX_BATCH, MAX_BATCH, 51]
    assert sizes(predict_bodies(asked), "instances") == [MAX_INSTANCES, 1]
    method, bodies = vertex_embed_bodies(asked)
    assert (method, sizes(bodies, "requests")) == ("batchEmbedContents", [MAX_BATCH, MAX_BATCH, 51])
    assert all(
        msgspec.json.decode(one)["parameters"] == {"outputDimensionality": 3} for one in predict_bodies(asked)
    )


def test_there_is_an_end_to_it() -> None:
    with pytest.raises(BadRequest) as refused:
        batch_bodies(body(["x"] * (MAX_BATCH * MAX_CALLS + 1)), "models/m")

    assert refused.value.param == "input"


def test_several_answers_are_one_in_order() -> None:
    answer = (
        b'{"answers":[{"embeddings":[{"values":[1]},{"values":[2]}],"usageMetadata":{"promptTokenCount":5}},'
        b'{"predictions":[{"embeddings":{"values":[3],"statistics":{"token_count":4}}}]}]}'
    )

    found = read_embeddings(body(["a", "b", "c"]), answer)

    data = msgspec.json.decode(found.body)["data"]
    assert [(one["index"], one["embedding"]) for one in data] == [(0, [1]), (1, [2]), (2, [3])]
    assert (found.usage.tokens.prompt, found.usage.estimated) == (9, False)


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"error":{"code":429,"message":"Slow."}}', b'{"answers":[{}]}']
)
def test_an_answer_without_vectors_is_an_error(answer: bytes) -> None:
    assert read_embeddings(body("a"), answer).error is not None
