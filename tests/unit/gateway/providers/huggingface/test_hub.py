"""Who is asked which inference providers serve a model, and who is shown the credential for it."""

import msgspec
import pytest

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.huggingface.hub import HUB, look_up_of
from services.gateway.providers.port import Target
from tests.support.targets import target


def at(base_url: str, **options: str) -> Target:
    found = target("huggingface", "fal-ai/acme/thing", base_url=base_url, secret="hf_x")
    provider = msgspec.structs.replace(found.provider, options=options)
    return msgspec.structs.replace(found, provider=provider)


@pytest.mark.parametrize(
    ("asked", "hub", "shown"),
    [
        (at("https://router.huggingface.co/v1"), HUB, True),
        (at("https://router.example.org/v1"), HUB, False),
        (at("http://router.huggingface.co/v1"), HUB, False),
        (at("https://nothuggingface.co/v1"), HUB, False),
        (
            at("https://router.example.org/v1", hub_url="https://hub.example.org/"),
            "https://hub.example.org",
            True,
        ),
    ],
)
def test_a_credential_is_shown_to_the_hub_that_it_is_for(asked: Target, hub: str, shown: bool) -> None:
    question = look_up_of(asked, "acme/thing")

    assert question.url == f"{hub}/api/models/acme/thing?expand=inferenceProviderMapping"
    assert question.headers.get("authorization") == ("Bearer hf_x" if shown else None)


@pytest.mark.parametrize(
    "name", ["thing", "acme/../../x", "acme/a/b", "acme/a?b", "./a", "acme/a%2fb", "acme/"]
)
def test_what_is_no_name_of_a_model_is_not_asked_for(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        look_up_of(at("https://router.huggingface.co/v1"), name)

    assert refused.value.param == "model"
