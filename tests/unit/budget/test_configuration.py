"""What finops.yaml and the environment ask for, and the changes that lead there."""

from collections.abc import Mapping

import msgspec
import pytest

from services.budget.config_apply import Change, plan
from services.budget.desired_state import DesiredState, desired_state, key_id, team_id
from shared.config_file import parse_config
from shared.errors import ConfigurationError
from shared.events import GovernanceChanged
from shared.governance.keys import new_key, sha256_of
from shared.governance.model import Entity, Provider, Route, RouteTarget, UserJwtSecret, VirtualKey
from shared.governance.state import GovernanceState
from shared.security import unseal
from shared.user_jwt import sealing_context

SECRET_KEY = b"k" * 32
NOW_MS = 1_790_000_000_000
KEY = new_key()


class World:
    """A governed state that changes are applied to, as the feed would."""

    def __init__(self) -> None:
        self.state = GovernanceState()
        self.origins: dict[tuple[str, str], str] = {}

    def change(self, entity: str, entity_id: str, value: Entity | None, actor: str) -> None:
        event = GovernanceChanged(
            change_id="c",
            entity=entity,  # type: ignore[arg-type]  # the tests name the right ones
            entity_id=entity_id,
            version=self.state.version_of(entity, entity_id) + 1,
            at_ms=NOW_MS,
            actor=actor,
            action="apply",
            value=msgspec.Raw(msgspec.json.encode(value)),
        )
        assert self.state.apply(event)
        if value is None:
            self.origins.pop((entity, entity_id))
        else:
            self.origins.setdefault((entity, entity_id), actor)

    def changes_to(self, desired: DesiredState) -> list[Change]:
        return plan(desired, self.state, self.origins, SECRET_KEY, NOW_MS)

    def bring_to(self, desired: DesiredState) -> None:
        for change in self.changes_to(desired):
            self.change(change.entity, change.entity_id, change.value, "config")


def desired(text: str = "", environ: Mapping[str, str] | None = None) -> DesiredState:
    return desired_state(parse_config(text), environ or {})


def test_demo_is_always_there_and_providers_come_with_their_variables() -> None:
    found = desired(environ={"OPENAI_API_KEY": "x", "GROQ_API_KEY": "", "OLLAMA_BASE_URL": "http://host:1"})

    assert set(found.providers) == {"demo", "openai", "ollama"}
    assert found.providers["openai"].credentials[0].env == "OPENAI_API_KEY"
    assert found.providers["ollama"].base_url == "http://host:1/v1"


def test_keys_that_aws_has_for_other_things_make_no_provider_but_a_key_of_bedrocks_does() -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "eu-west-1",
    }
    assert set(desired(environ=keys).providers) == {"demo"}

    found = desired(environ={**keys, "AWS_BEARER_TOKEN_BEDROCK": "x"}).providers["bedrock"]
    assert [one.env for one in found.credentials] == ["AWS_BEARER_TOKEN_BEDROCK"]
    assert found.options == {"region": "eu-west-1"}

    chain = desired("providers: {bedrock: {options: {region: eu-west-1}}}", keys).providers["bedrock"]
    assert [(one.name, one.env) for one in chain.credentials] == [("none", "")]
    assert chain.options == {"region": "eu-west-1"}


def test_the_file_wins_over_the_environment_for_a_provider_of_the_same_name() -> None:
    text = "providers: {openai: {credentials: [{name: main, api_key: env.OTHER_KEY}]}}"

    found = desired(text, {"OPENAI_API_KEY": "x"})

    assert [one.env for one in found.providers["openai"].credentials] == ["OTHER_KEY"]
    assert found.providers["openai"].base_url == "https://api.openai.com/v1"
    assert found.warnings == (
        "providers.openai.credentials[0].api_key refers to OTHER_KEY, which is not set here.",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("providers: {mock: {base_url: http://h}}", "providers.mock.type is missing; use one of"),
        (
            "providers: {mock: {type: oepnai, base_url: http://h}}",
            "providers.mock.type 'oepnai' is not a known provider type; use one of",
        ),
        (
            "providers: {mine: {type: vllm}}",
            "providers.mine.base_url is missing; the type vllm has no address",
        ),
        ("virtual_keys: [{name: a, key: env.NOPE}]", "virtual_keys[0].key refers to NOPE, which is not set."),
    ],
)
def test_what_only_shows_here_is_one_sentence_too(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        desired(text)

    assert str(raised.value).startswith(f"finops.yaml is wrong: {sentence}")


def test_errors_name_the_file_that_was_read() -> None:
    with pytest.raises(ConfigurationError, match=r"^/etc/f\.yaml is wrong: providers\.mock\.type is missing"):
        desired_state(parse_config("providers: {mock: {base_url: http://h}}"), {}, "/etc/f.yaml")


WHOLE = f"""
providers:
  mock: {{type: openai, base_url: "http://h/v1", credentials: [{{name: main, api_key: sk-literal}}], models: [m]}}
teams: [{{name: research}}]
virtual_keys:
  - {{name: a, key: {KEY}, budgets: ["5.00/1M"], team: research, metadata: {{x: [1, {{y: 2}}]}}}}
routes: {{fast: {{targets: [mock/m, {{model: mock/n, weight: 3}}], fallbacks: [demo/echo]}}, alias: mock/m}}
prices: {{mock/m: {{input_per_million: "1"}}}}
"""


def test_applying_the_same_file_again_changes_nothing() -> None:
    world = World()
    world.bring_to(desired(WHOLE))

    assert world.changes_to(desired(WHOLE)) == []
    key = world.state.keys[key_id("a")]
    assert (key.key_sha256, key.team_id, key.created_at_ms) == (sha256_of(KEY), team_id("research"), NOW_MS)


def test_a_literal_secret_is_sealed_and_sealed_again_only_when_it_changes() -> None:
    world = World()
    world.bring_to(desired(WHOLE))
    sealed = world.state.providers["mock"].credentials[0].sealed
    assert unseal(sealed, SECRET_KEY, "mock/main") == "sk-literal"

    changes = world.changes_to(desired(WHOLE.replace("sk-literal", "sk-other")))

    assert [change.entity_id for change in changes] == ["mock"]
    assert isinstance(changes[0].value, Provider)
    assert unseal(changes[0].value.credentials[0].sealed, SECRET_KEY, "mock/main") == "sk-other"


def test_another_installation_key_seals_again_instead_of_failing() -> None:
    world = World()
    world.bring_to(desired(WHOLE))

    changes = plan(desired(WHOLE), world.state, world.origins, b"n" * 32, NOW_MS)

    assert [change.entity_id for change in changes] == ["mock"]


def test_what_nobody_asks_for_any_more_is_deleted_but_only_if_config_made_it() -> None:
    world = World()
    world.bring_to(desired(WHOLE))
    own = VirtualKey(id="vk_api", name="api", key_sha256="0" * 64, prefix="sk-fo-api")
    world.change("virtual_key", own.id, own, "admin")

    changes = world.changes_to(desired(""))

    deleted = {(change.entity, change.entity_id) for change in changes if change.value is None}
    assert deleted == {
        ("provider", "mock"),
        ("team", team_id("research")),
        ("virtual_key", key_id("a")),
        ("route", "fast"),
        ("route", "alias"),
        ("price", "mock/m"),
    }
    assert len(deleted) == len(changes)


def test_a_key_that_was_revoked_by_hand_stays_revoked() -> None:
    world = World()
    world.bring_to(desired(WHOLE))
    key = world.state.keys[key_id("a")]
    world.change("virtual_key", key.id, msgspec.structs.replace(key, status="revoked"), "admin")

    assert world.changes_to(desired(WHOLE)) == []
    world.bring_to(desired(WHOLE.replace("5.00/1M", "9.00/1M")))
    assert world.state.keys[key.id].status == "revoked"
    assert world.state.keys[key.id].budgets[0].limit_nanos == 9_000_000_000


def test_a_changed_limit_keeps_the_budget_and_a_changed_window_is_a_new_one() -> None:
    def budget_id(text: str) -> str:
        return desired(text).keys[key_id("a")].budgets[0].id

    assert budget_id(WHOLE) == budget_id(WHOLE.replace("5.00/1M", "9.00/1M"))
    assert budget_id(WHOLE) != budget_id(WHOLE.replace("5.00/1M", "5.00/1d"))


def test_a_key_made_through_the_api_is_not_taken_over() -> None:
    world = World()
    own = VirtualKey(id="vk_api", name="mine", key_sha256=sha256_of(KEY), prefix="sk-fo-")
    world.change("virtual_key", own.id, own, "admin")

    with pytest.raises(ConfigurationError, match=r"^/etc/f\.yaml is wrong: .* belongs to 'mine' already"):
        world.changes_to(desired_state(parse_config(WHOLE), {}, "/etc/f.yaml"))


def test_metadata_that_yaml_can_write_and_json_cannot_is_asked_for_as_json_keeps_it() -> None:
    text = f"virtual_keys: [{{name: a, key: {KEY}, metadata: {{seats: {{1: ada, 2: bob}}}}}}]"
    world = World()

    world.bring_to(desired(text))

    assert world.state.keys[key_id("a")].metadata == {"seats": {"1": "ada", "2": "bob"}}
    assert world.changes_to(desired(text)) == []


def test_metadata_that_no_json_can_hold_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"virtual_keys\[0\]\.metadata must hold only what JSON can"):
        desired(f"virtual_keys: [{{name: a, key: {KEY}, metadata: {{share: .nan}}}}]")


def test_a_route_has_targets_with_weights_and_an_alias_is_a_route_with_one() -> None:
    found = desired(WHOLE).routes

    assert found["fast"] == Route(
        name="fast",
        targets=(RouteTarget(model="mock/m"), RouteTarget(model="mock/n", weight=3.0)),
        fallbacks=("demo/echo",),
    )
    assert found["alias"] == Route(name="alias", targets=(RouteTarget(model="mock/m"),))


def test_a_changed_route_is_one_change() -> None:
    world = World()
    world.bring_to(desired(WHOLE))

    changes = world.changes_to(desired(WHOLE.replace("alias: mock/m", "alias: mock/n")))

    assert [(change.entity, change.entity_id) for change in changes] == [("route", "alias")]


def test_a_route_to_a_provider_that_is_not_there_is_a_warning() -> None:
    found = desired("routes: {fast: {targets: [nobody/m], fallbacks: [demo/echo, none/m]}}")

    assert found.warnings == (
        "routes.fast names nobody/m, but there is no provider nobody.",
        "routes.fast names none/m, but there is no provider none.",
    )


def test_a_price_at_a_provider_that_is_not_there_is_a_warning() -> None:
    found = desired('prices: {nope/x: {input_per_million: "1"}, demo/y: {input_per_million: "1"}}')

    assert found.warnings == ("prices.nope/x is never used: there is no provider nope.",)
    assert set(found.prices) == {"nope/x", "demo/y"}


def test_a_key_that_allows_what_nothing_is_called_is_a_warning() -> None:
    allowed = "[gpt-4o, fast, fa*, dem*, demo/echo, later/*, '*']"
    text = f"routes: {{fast: demo/echo}}\nvirtual_keys: [{{name: a, key: {KEY}, allowed_models: {allowed}}}]"

    (warning,) = desired(text).warnings

    assert warning.startswith("virtual_keys[0].allowed_models: 'gpt-4o' allows nothing; write provider/model")


@pytest.mark.parametrize("address", ["http://host:abc", ":11434", "http://"])
def test_an_address_of_the_environment_that_cannot_be_called_is_a_warning_and_no_provider(
    address: str,
) -> None:
    found = desired(environ={"OLLAMA_BASE_URL": address})

    (warning,) = found.warnings
    assert warning.startswith("OLLAMA_BASE_URL must be an address with a ")
    assert warning.endswith("; without it there is no provider ollama.")
    assert set(found.providers) == {"demo"}
    own = desired("providers: {ollama: {base_url: http://host:1/v1}}", {"OLLAMA_BASE_URL": address})
    assert (own.warnings, own.providers["ollama"].base_url) == ((), "http://host:1/v1")


def test_the_fallbacks_of_a_key_are_its_own() -> None:
    text = f"virtual_keys: [{{name: a, key: {KEY}, fallbacks: [mock/m, fast]}}]"

    assert desired(text).keys[key_id("a")].fallbacks == ("mock/m", "fast")


SIGNED = "signed-by-open-webui-with-this-secret"


def key_signed_with(secret: str) -> str:
    return f"virtual_keys: [{{name: a, key: {KEY}, user_jwt_secret: {secret}}}]"


def test_the_secret_of_user_tokens_is_sealed_for_its_key_and_again_only_when_it_changes() -> None:
    world = World()
    world.bring_to(desired(key_signed_with(SIGNED)))
    context = sealing_context(key_id("a"))

    def kept() -> str:
        secret = world.state.keys[key_id("a")].user_jwt
        assert secret is not None and secret.env == ""
        return unseal(secret.sealed, SECRET_KEY, context)

    assert kept() == SIGNED
    assert SIGNED not in repr(world.state.keys)
    assert world.changes_to(desired(key_signed_with(SIGNED))) == []
    assert len(plan(desired(key_signed_with(SIGNED)), world.state, world.origins, b"n" * 32, NOW_MS)) == 1
    world.bring_to(desired(key_signed_with(SIGNED + "2")))
    assert kept() == SIGNED + "2"
    world.bring_to(desired(f"virtual_keys: [{{name: a, key: {KEY}}}]"))
    assert world.state.keys[key_id("a")].user_jwt is None


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({}, "virtual_keys[0].user_jwt_secret refers to OWUI, which is not set here."),
        (
            {"OWUI": "short"},
            "virtual_keys[0].user_jwt_secret refers to OWUI, whose value must be 32 to 1024 bytes long, such as what "
            "`openssl rand -hex 32` prints.",
        ),
        ({"OWUI": SIGNED}, ""),
    ],
)
def test_a_variable_for_user_tokens_stays_a_reference(environ: Mapping[str, str], warning: str) -> None:
    found = desired(key_signed_with("env.OWUI"), environ)

    assert found.keys[key_id("a")].user_jwt == UserJwtSecret(env="OWUI")
    assert "".join(found.warnings) == warning


@pytest.mark.parametrize("secret", ["geheim", "env.not-a-name", '""', f'" {SIGNED} "', "5"])
def test_a_secret_of_user_tokens_that_cannot_be_one_is_refused_unseen(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"virtual_keys\[0\]\.user_jwt_secret ") as raised:
        desired(key_signed_with(secret))

    assert "geheim" not in str(raised.value) and SIGNED not in str(raised.value)
