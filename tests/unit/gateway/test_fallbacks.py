"""Where a request may go: routes with weights, fallbacks of the request, the route and the key, and what is allowed."""

from collections import Counter
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.gateway.errors import ClientError
from services.gateway.fallbacks import MAX_FALLBACKS, Candidates, take_fallbacks
from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import parse_multipart
from shared.governance.model import Route, RouteTarget
from tests.support.gateway import virtual_key
from tests.support.routing import catalogue_of, provider

A, B = provider("a", "x", models=("one", "both")), provider("b", "y", models=("two", "both"))
KEY = virtual_key()[1]


def target(model: str, weight: float = 1.0) -> RouteTarget:
    return RouteTarget(model=model, weight=weight)


FAST = Route(name="fast", targets=(target("a/one", 3.0), target("b/two", 1.0)), fallbacks=("a/both",))
ALIAS = Route(name="gpt", targets=(target("b/two"),))


def names(requested: str, *own: str, key: object = KEY, seed: int = 1, asked: bool = True) -> list[str]:
    candidates = Candidates(catalogue_of(A, B, FAST, ALIAS), Random(seed).random)
    found = candidates.of(key, requested, tuple(own) if asked else None)  # type: ignore[arg-type]  # a key
    return [route.name for route in found]


def refusal(requested: str, *own: str, allowed: tuple[str, ...] = ("*",)) -> ClientError:
    key = virtual_key("k", allowed_models=allowed)[1]
    with pytest.raises(ClientError) as caught:
        names(requested, *own, key=key)
    return caught.value


def test_a_plain_model_is_its_only_candidate() -> None:
    assert names("a/one", asked=False) == names("one", asked=False) == ["a/one"]


def test_the_fallbacks_of_the_request_follow_in_its_order_without_repeats() -> None:
    assert names("a/one", "b/two", "a/both", "b/two", "a/one") == ["a/one", "b/two", "a/both"]


def test_a_route_begins_with_one_of_its_targets_by_weight_and_goes_on_with_the_others() -> None:
    candidates = Candidates(catalogue_of(A, B, FAST), Random(7).random)
    firsts: Counter[str] = Counter()
    for _ in range(4000):
        found = [route.name for route in candidates.of(KEY, "fast", None)]
        assert sorted(found) == ["a/both", "a/one", "b/two"]
        assert found[2] == "a/both"
        firsts[found[0]] += 1

    assert 0.70 < firsts["a/one"] / 4000 < 0.80


def test_a_target_without_weight_is_only_for_when_the_others_fail() -> None:
    spare = Route(name="r", targets=(target("a/one", 0.0), target("b/two")))

    for seed in range(20):
        candidates = Candidates(catalogue_of(A, B, spare), Random(seed).random)
        assert [route.name for route in candidates.of(KEY, "r", None)] == ["b/two", "a/one"]


def test_fallbacks_come_from_the_request_else_from_the_route_else_from_the_key() -> None:
    key = virtual_key("k", fallbacks=("b/both", "gone/model", "gpt"))[1]

    assert names("a/one", key=key, asked=False) == ["a/one", "b/both", "b/two"]
    assert names("a/one", "a/both", key=key) == ["a/one", "a/both"]
    assert names("a/one", key=key) == ["a/one"]  # the request wants none
    assert names("fast", key=key, asked=False)[2:] == ["a/both"]
    assert names("gpt", key=key, asked=False) == ["b/two", "b/both"]


def test_a_route_may_be_a_fallback() -> None:
    assert names("a/both", "gpt") == ["a/both", "b/two"]


def test_who_may_use_a_route_may_use_what_is_behind_it() -> None:
    key = virtual_key("k", allowed_models=("fa*",))[1]

    assert sorted(names("fast", key=key, asked=False)) == ["a/both", "a/one", "b/two"]
    assert refusal("a/one", allowed=("fa*",)).code == "model_not_allowed"
    assert refusal("fast", allowed=("a/*", "b/*")).code == "model_not_allowed"


def test_a_fallback_must_exist_and_be_allowed() -> None:
    missing, forbidden = refusal("a/one", "c/none"), refusal("a/one", "b/two", allowed=("a/*",))

    assert (missing.code, missing.param) == ("model_not_found", "fallbacks")
    assert (forbidden.code, forbidden.param) == ("model_not_allowed", "fallbacks")
    key = virtual_key("k", allowed_models=("a/*",), fallbacks=("b/two", "a/both"))[1]
    assert names("a/one", key=key, asked=False) == ["a/one", "a/both"]  # the key's own list is not a mistake


def test_a_route_wins_over_a_model_of_its_name_and_may_name_what_the_provider_does_not_list() -> None:
    both = Route(name="both", targets=(target("a/hidden"),))
    candidates = Candidates(catalogue_of(A, B, both))

    assert [route.name for route in candidates.of(KEY, "both", None)] == ["a/hidden"]


def test_a_route_to_nowhere_says_so() -> None:
    lost = Route(name="lost", targets=(target("gone/model"),))

    with pytest.raises(ClientError) as caught:
        Candidates(catalogue_of(A, lost)).of(KEY, "lost", None)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_routes_stand_in_the_list_of_models() -> None:
    listed = catalogue_of(A, FAST).index.listed

    assert [(each.name, each.provider) for each in listed] == [
        ("fast", ""),
        ("a/one", "a"),
        ("a/both", "a"),
    ]


def test_the_field_is_taken_out_of_the_body() -> None:
    body = parse_json(b'{"model":"m","fallbacks":["a/one","b/two"],"x":1}')

    rest, found = take_fallbacks(body)

    assert found == ("a/one", "b/two")
    assert rest.with_changes({}) == b'{"model":"m","x":1}'
    assert isinstance(rest, JsonBody) and rest.model == "m"


@pytest.mark.parametrize(
    ("raw", "found"), [(b'{"model":"m"}', None), (b'{"model":"m","fallbacks":null}', None), (b'{"model":"m","fallbacks":[]}', ())]
)  # fmt: skip
def test_none_is_not_the_same_as_an_empty_list(raw: bytes, found: object) -> None:
    rest, own = take_fallbacks(parse_json(raw))

    assert own == found
    assert b"fallbacks" not in rest.with_changes({})


def test_a_form_has_them_as_json_text() -> None:
    lines = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b"model", b"m"), (b"fallbacks", b'["a/one"]'))
    )
    body = parse_multipart(lines + b"--B--\r\n", "multipart/form-data; boundary=B")

    rest, found = take_fallbacks(body)

    assert found == ("a/one",)
    assert b"fallbacks" not in rest.with_changes({})


@pytest.mark.parametrize(
    "value", ['"a/one"', "[1]", "{}", str(["m"] * (MAX_FALLBACKS + 1)).replace("'", '"')]
)
def test_anything_else_is_refused_by_name(value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        take_fallbacks(parse_json(f'{{"model":"m","fallbacks":{value}}}'.encode()))
    assert caught.value.param == "fallbacks"


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8),
    st.lists(st.integers(0, 9), max_size=8),
    st.integers(0, 2**32),
)
def test_candidates_are_all_targets_once_then_all_fallbacks_once(
    weights: list[float], fallbacks: list[int], seed: int
) -> None:
    every = provider("p", "x", models=tuple(f"m{number}" for number in range(10)))
    targets = tuple(target(f"p/m{number}", weight) for number, weight in enumerate(weights))
    route = Route(name="r", targets=targets, fallbacks=tuple(f"p/m{number}" for number in fallbacks))

    found = [
        each.name for each in Candidates(catalogue_of(every, route), Random(seed).random).of(KEY, "r", None)
    ]

    assert len(found) == len(set(found))
    assert set(found[: len(targets)]) == {each.model for each in targets}
    rest = [name for name in dict.fromkeys(route.fallbacks) if name not in found[: len(targets)]]
    assert found[len(targets) :] == rest
    weightless = [each.model for each in targets if each.weight == 0]
    assert found[len(targets) - len(weightless) : len(targets)] == weightless
