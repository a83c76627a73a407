"""finops.yaml: what is accepted, and that every mistake is one sentence that names the field."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config_file import ConfigFile, load_config, parse_config, references
from shared.errors import ConfigurationError
from shared.governance.keys import new_key
from shared.settings import Settings

WHOLE = """
providers:
  mock:
    type: openai
    base_url: "http://127.0.0.1:9000/v1/"
    credentials: [{name: main, api_key: env.MOCK_KEY, weight: 2, models: ["gpt-*"]}]
    models: [gpt-4o-mini]
    headers: {X-Team: a}
    timeouts: {first_byte: 5, total: 60.5}
  groq:
teams:
  - name: research
virtual_keys:
  - name: team-a
    key: env.TEAM_A_KEY
    budgets: ["5.00/1M", "1/1d/rolling", {limit: "100", window: 1Y}]
    allowed_models: ["mock/*"]
    team: research
    expires_at: 2030-01-01T00:00:00Z
    on_unavailable: deny
prices:
  mock/gpt-4o-mini: {input_per_million: "0.15", output_per_million: "0.60", cached_input_per_million: "0.075"}
"""


def test_a_whole_file_is_read_into_the_domain_s_units() -> None:
    config = parse_config(WHOLE.replace("  groq:\n", "  groq: {}\n"))

    mock = config.providers["mock"]
    assert mock.base_url == "http://127.0.0.1:9000/v1"
    assert mock.credentials[0].weight == 2.0
    assert mock.timeouts.total == 60.5
    key = config.virtual_keys[0]
    assert [(b.limit, b.window, b.alignment) for b in key.budgets] == [
        (5_000_000_000, "1M", "calendar"),
        (1_000_000_000, "1d", "rolling"),
        (100_000_000_000, "1Y", "calendar"),
    ]
    assert key.expires_at == 1_893_456_000_000
    price = config.prices["mock/gpt-4o-mini"]
    assert (price.input_per_million, price.output_per_million) == (150_000_000, 600_000_000)
    assert price.cached_input_per_million == 75_000_000
    assert list(references(config)) == [
        ("providers.mock.credentials[0].api_key", "MOCK_KEY"),
        ("virtual_keys[0].key", "TEAM_A_KEY"),
    ]


def test_a_date_in_metadata_stays_what_was_written() -> None:
    config = parse_config("virtual_keys: [{name: a, key: env.K, metadata: {since: 2026-01-31}}]")

    assert config.virtual_keys[0].metadata == {"since": "2026-01-31"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "providers:\nvirtual_keys:\nteams:\nprices:\n"])
def test_an_empty_file_and_empty_sections_ask_for_nothing(text: str) -> None:
    assert parse_config(text) == ConfigFile()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("provider: {}", "finops.yaml is wrong: provider is not a known field."),
        (
            "providers: {mock: {credentials: [{name: a, wieght: 1}]}}",
            "finops.yaml is wrong: providers.mock.credentials[0].wieght is not a known field.",
        ),
        (
            "providers: {mock: {credentials: [{api_key: x}]}}",
            "finops.yaml is wrong: providers.mock.credentials[0].name is missing.",
        ),
        (
            "prices: {mock/m: {input_per_million: 0.15}}",
            'finops.yaml is wrong: prices.mock/m.input_per_million must be in quotes, such as "0.15": '
            "a float cannot hold money exactly.",
        ),
        (
            "routes: {a/b: mock/m}",
            "finops.yaml is wrong: routes.a/b should match pattern",
        ),
        (
            "routes: {fast: {targets: [m]}}",
            "finops.yaml is wrong: routes.fast.targets[0].model must be provider/model, such as",
        ),
        (
            "routes: {fast: {targets: []}}",
            "finops.yaml is wrong: routes.fast.targets should have at least 1 item",
        ),
        (
            "routes: {fast: {targets: [a/m, a/m]}}",
            "finops.yaml is wrong: routes.fast targets must not hold 'a/m' twice.",
        ),
        ("- a", "finops.yaml is wrong: the file must be a mapping of sections."),
        ("providers: [", "finops.yaml is not valid YAML: line 1:"),
        ("teams: [{name: a}, {name: a}]", "finops.yaml is wrong: teams must not hold 'a' twice."),
        ("teams: []\nteams: []", "finops.yaml is not valid YAML: line 2: 'teams' stands there twice."),
        (
            "providers: {mock: {base_url: 127.0.0.1}}",
            "finops.yaml is wrong: providers.mock.base_url must be an http:// or https:// address.",
        ),
        *(
            (
                f"providers: {{mock: {{base_url: '{address}'}}}}",
                f"finops.yaml is wrong: providers.mock.base_url must be an address {what}",
            )
            for address, what in (
                ("http://", "with a host"),
                ("http:///v1", "with a host"),
                ("http://:8080/v1", "with a host"),
                ("http://[::1/v1", "with a host"),
                ("http://a..b/v1", "with a host"),
                ("http://h:abc/v1", "with a port from 1 to 65535"),
                ("http://h:0/v1", "with a port from 1 to 65535"),
                ("http://h:65536/v1", "with a port from 1 to 65535"),
                ("http://h:/v1", "with a port from 1 to 65535"),
                ("https://h/v1?api-version=1", "without ? and #"),
            )
        ),
        (
            'prices: {odd/*: {input_per_million: "1"}}',
            "finops.yaml is wrong: prices.odd/* must be one model, such as openai/gpt-4o-mini; odd/* is a pattern.",
        ),
        (
            "routes: {fast: openai/*}",
            "finops.yaml is wrong: routes.fast.targets[0].model must be one model, such as",
        ),
        (
            "providers: {openai: }",
            "finops.yaml is wrong: providers.openai has nothing under it; write {} to use the defaults.",
        ),
        (
            "providers: {openai: 5}",
            "finops.yaml is wrong: providers.openai must hold named fields, each with its value.",
        ),
        *(
            (
                f"virtual_keys: [{{name: a, key: env.K, budgets: [{budget}]}}]",
                f"finops.yaml is wrong: virtual_keys[0].budgets[0]{what} must be at most 1000000000 US dollars.",
            )
            for budget, what in (
                ("99999999999999/1M", " a limit"),
                ('{limit: "9223372036.854775807", window: 1M}', ".limit"),
                ("{limit: 1000000001, window: 1M}", ".limit"),
                ('{limit: "1000000000.000000001", window: 1M}', ".limit"),
            )
        ),
        (
            "providers: {mock: {credentials: [{name: a, api_key: env.no-name}]}}",
            "finops.yaml is wrong: providers.mock.credentials[0].api_key must name an environment variable",
        ),
        (
            "virtual_keys: [{name: a, key: sk-fo-short}]",
            "finops.yaml is wrong: virtual_keys[0].key must be env.NAME or a whole virtual key",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, team: nobody}]",
            "finops.yaml is wrong: virtual key 'a' names the team 'nobody', which teams does not list.",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, budgets: [5.00/2M]}]",
            "finops.yaml is wrong: virtual_keys[0].budgets[0] '2M' is not a budget window",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, budgets: [0/1M]}]",
            "finops.yaml is wrong: virtual_keys[0].budgets[0].limit must be above 0.",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, budgets: [1/1M, 2/1M]}]",
            "finops.yaml is wrong: virtual_keys[0].budgets must not hold two budgets with the window 1M (calendar).",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, expires_at: 2030-01-01T00:00:00}]",
            "finops.yaml is wrong: virtual_keys[0].expires_at must name its time zone",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, expires_at: 2030-02-30T00:00:00Z}]",
            "finops.yaml is wrong: virtual_keys[0].expires_at must be an RFC 3339 time",
        ),
        (
            "virtual_keys: [{name: a, key: env.K, expires_at: 2030-13-01}]",
            "finops.yaml is wrong: virtual_keys[0].expires_at must be an RFC 3339 time",
        ),
        (
            "providers: {m: {timeouts: {connect: .inf}}}",
            "finops.yaml is wrong: providers.m.timeouts.connect should be less than or equal to",
        ),
        ("teams: !!int many", "finops.yaml is not valid YAML: invalid literal for int()"),
        ("[" * 3_000, "finops.yaml is not valid YAML: maximum recursion depth"),
        (
            "virtual_keys: [{name: a, key: env.K}, {name: b, key: env.K}]",
            "finops.yaml is wrong: virtual_keys must not use one key twice.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_field(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_config(text)

    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)


def test_an_error_never_repeats_a_secret() -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_config("providers: {m: {credentials: [{name: a, api_key: sk-live-secret, wight: 1}]}}")

    assert "sk-live-secret" not in str(raised.value)
    assert "sk-live-secret" not in repr(
        parse_config("providers: {m: {credentials: [{name: a, api_key: sk-live-secret}]}}")
    )


def test_a_literal_key_with_the_right_checksum_is_accepted() -> None:
    key = new_key()

    config = parse_config(f"virtual_keys: [{{name: a, key: {key}}}]")

    assert config.virtual_keys[0].key.get_secret_value() == key


def test_a_configured_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(Settings(config=tmp_path / "absent.yaml"))


def test_without_a_path_a_missing_file_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(Settings()) == ConfigFile()

    (tmp_path / "finops.yaml").write_text("teams: [{name: a}]")
    assert [team.name for team in load_config(Settings()).teams] == ["a"]


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost",
        "https://[::1]:8443/v1",
        "https://bedrock-runtime.{region}.amazonaws.com",
        "http://user@h:65535/a/b",
        "https://münchen.example/v1",
    ],
)
def test_an_address_that_can_be_called_is_taken(address: str) -> None:
    config = parse_config(f"providers: {{mock: {{base_url: '{address}/'}}}}")

    assert config.providers["mock"].base_url == address


def test_the_largest_limit_is_accepted() -> None:
    config = parse_config("virtual_keys: [{name: a, key: env.K, budgets: [1000000000.00/1M]}]")

    assert config.virtual_keys[0].budgets[0].limit == 10**18


@given(st.text(alphabet=string.printable, max_size=200))
def test_any_text_is_either_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse_config(text)
    except ConfigurationError as error:
        assert str(error).startswith("finops.yaml is ")
        assert str(error).endswith(".")
