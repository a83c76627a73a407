"""Names of models: provider/model, bare names, lists that are known or not, and what a key may use."""

import msgspec
import pytest

from services.gateway.catalogue import Lists, ModelIndex
from services.gateway.errors import ClientError
from services.gateway.routes.models import Models, object_of
from shared.governance.model import Credential, Provider
from tests.support.gateway import DEMO, virtual_key

KEY = virtual_key()[1]


def provider(name: str, *models: str, listed: bool = True, kind: str = "openai") -> Provider:
    return Provider(name=name, type=kind, base_url="http://x/v1", models=models if listed else None)


def index_of(*providers: Provider, lists: Lists | None = None) -> ModelIndex:
    return ModelIndex({each.name: each for each in providers}, lists or {})


def found(index: ModelIndex, requested: str, *allowed: str) -> str:
    key = virtual_key("k", allowed_models=allowed)[1] if allowed else KEY
    where, model = index.find(key, requested)
    return f"{where.name} > {model}"


def refusal(index: ModelIndex, requested: str, *allowed: str) -> ClientError:
    key = virtual_key("k", allowed_models=allowed)[1] if allowed else KEY
    with pytest.raises(ClientError) as caught:
        index.find(key, requested)
    return caught.value


def test_provider_and_model_with_slashes_of_their_own() -> None:
    index = index_of(provider("openrouter", "openai/gpt-4o"), provider("openai", "gpt-4o"))

    assert found(index, "openrouter/openai/gpt-4o") == "openrouter > openai/gpt-4o"
    assert found(index, "openai/gpt-4o") == "openai > gpt-4o"


def test_a_bare_name_that_one_provider_has() -> None:
    index = index_of(provider("a", "one", "both"), provider("b", "both", "org/two"))

    assert found(index, "one") == "a > one"
    assert found(index, "org/two") == "b > org/two"


def test_a_bare_name_that_several_have_is_refused_naming_them() -> None:
    error = refusal(index_of(provider("a", "both"), provider("b", "both")), "both")

    assert (error.status, error.code) == (400, "model_ambiguous")
    assert "'a/both' or 'b/both'" in error.message


def test_a_bare_name_is_decided_among_what_the_key_may_use() -> None:
    index = index_of(provider("a", "both"), provider("b", "both"))

    assert found(index, "both", "b/*") == "b > both"
    assert refusal(index, "both", "c/*").code == "model_not_allowed"


def test_what_a_provider_lists_is_all_it_has() -> None:
    index = index_of(provider("a", "one"), provider("b", listed=False), lists={"b": ("two",)})

    for name in ("a/two", "b/one", "nobody/one", "", "/", "a/"):
        assert (refusal(index, name).status, refusal(index, name).code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("openrouter", "openai/gpt-4o:nitro"),
        ("ollama", "llama3.2"),
        ("xai", "grok-4-latest"),
        ("anthropic", "claude-sonnet-4-5"),
    ],
)
def test_variants_tags_and_aliases_that_are_not_listed_are_passed_on(kind: str, asked: str) -> None:
    index = index_of(provider("p", listed=False, kind=kind), lists={"p": ("one",)})

    assert found(index, f"p/{asked}") == f"p > {asked}"
    assert [listed.name for listed in index.listed] == ["p/one"]
    assert refusal(index, asked).code == "model_not_found"


def test_an_empty_list_of_somebodys_own_server_says_nothing() -> None:
    index = index_of(provider("p", listed=False), provider("q", listed=False), lists={"p": (), "q": ("one",)})

    assert found(index, "p/whatever") == "p > whatever"
    assert refusal(index, "q/whatever").code == "model_not_found"


def test_any_name_is_passed_on_to_a_provider_whose_list_is_not_known() -> None:
    index = index_of(provider("b", listed=False))

    assert found(index, "b/whatever/it-is") == "b > whatever/it-is"
    assert index.listed == ()


@pytest.mark.parametrize("name", ["b/line\r\nset-cookie: a=1", "b/" + "x" * 1000, "b/\x00"])
def test_names_that_cannot_stand_in_a_header_are_never_passed_on(name: str) -> None:
    error = refusal(index_of(provider("b", listed=False)), name)

    assert error.code == "model_not_found"
    assert len(error.message) < 400


def test_a_model_that_exists_but_is_not_allowed_is_403() -> None:
    error = refusal(index_of(provider("a", "one")), "a/one", "b/*")

    assert (error.status, error.code) == (403, "model_not_allowed")


def test_a_type_without_a_list_shows_the_models_it_is_known_for() -> None:
    index = index_of(Provider(name="p", type="perplexity", base_url="http://x"), DEMO)

    assert {"p/sonar", "demo/echo"} <= {listed.name for listed in index.listed}
    assert found(index, "p/sonar-of-tomorrow") == "p > sonar-of-tomorrow"


def test_what_no_list_of_a_provider_has_stays_known_beside_it() -> None:
    vertex = provider("v", listed=False, kind="vertex")
    known = index_of(vertex, lists={"v": ("gemini-4",)})

    assert [one.model for one in known.listed] == ["gemini-4", "semantic-ranker-default-004"]
    assert found(known, "v/gemini-of-tomorrow") == "v > gemini-of-tomorrow"
    assert "gemini-2.5-pro" in [one.model for one in index_of(vertex).listed]
    assert [one.model for one in index_of(provider("v", "mine", kind="vertex")).listed] == ["mine"]


def test_the_public_object_of_a_model_has_no_field_with_a_meaning_to_chat_clients() -> None:
    fields = set(Models.__init__.__globals__["ModelObject"].__struct_fields__)

    assert fields == {"id", "name", "owned_by", "type", "object", "created", "context_window"}


def test_a_model_is_listed_with_its_context_window_where_that_is_known() -> None:
    listed = index_of(provider("openai", "gpt-4o-mini", "unheard-of")).listed

    known, unknown = (msgspec.json.decode(msgspec.json.encode(object_of(each))) for each in listed)
    assert known["context_window"] == 128_000
    assert "context_window" not in unknown


def test_the_aliases_of_credentials_are_models_of_their_provider() -> None:
    aliased = Provider(
        name="a",
        type="openai",
        base_url="http://x",
        models=("one",),
        credentials=(Credential(name="c", aliases={"gpt": "deployment-7"}),),
    )
    index = index_of(aliased)

    assert [listed.name for listed in index.listed] == ["a/one", "a/gpt"]
    assert found(index, "a/gpt") == found(index, "gpt") == "a > gpt"
