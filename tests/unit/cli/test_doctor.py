"""The examinations: what is found, and what to do about it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from services.budget.desired_state import DesiredState, desired_state
from services.cli.doctor import (
    check_config,
    check_data_directory,
    check_log_store,
    check_port,
    check_python,
    judge_clickhouse,
)
from services.cli.doctor_providers import check_providers
from services.cli.finding import OK, PROBLEM, WARNING, Finding
from shared.config_file import ConfigFile, parse_config
from shared.settings import Settings

Handler = Callable[[httpx.Request], httpx.Response]
MOCK = """
providers:
  mock:
    type: openai
    base_url: http://mock.test/v1
    headers: {x-team: research}
    credentials: [{name: main, api_key: env.MOCK_KEY}]
"""


async def found(handler: Handler, desired: DesiredState, **environ: str) -> list[Finding]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return await check_providers(desired, environ, client)


def mock_provider(**environ: str) -> DesiredState:
    return desired_state(parse_config(MOCK), environ)


def test_an_old_python_is_a_problem_with_a_fix() -> None:
    assert check_python((3, 10, 1)).state == PROBLEM
    assert check_python((3, 10, 1)).fix
    assert check_python((3, 12, 0)).state == OK


def test_a_data_directory_is_fine_before_it_exists(tmp_path: Path) -> None:
    (finding,) = check_data_directory(tmp_path / "not" / "yet", 1)

    assert finding.state == OK
    assert "first start" in finding.detail


def test_a_file_in_place_of_the_data_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    (finding,) = check_data_directory(tmp_path / "data", 1)

    assert finding.state == PROBLEM


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_a_data_directory_that_can_never_be_made_is_a_problem(place: str) -> None:
    (finding,) = check_data_directory(Path(place), 1)

    assert (finding.state, finding.detail) == (PROBLEM, f"{place} cannot be written")
    assert "FINOPS_DATA_DIR" in finding.fix


async def test_a_socket_in_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        (missing,) = await check_port(Settings(uds=str(tmp_path / "no" / "finops.sock")), client)
        (right,) = await check_port(Settings(uds=str(tmp_path / "finops.sock")), client)

    assert (missing.state, right.state) == (PROBLEM, OK)
    assert "FINOPS_UDS" in missing.detail


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    (finding,) = check_data_directory(tmp_path, 2**62)

    assert finding.state == WARNING
    assert "FINOPS_SPOOL_LIMIT" in finding.fix


def test_a_wrong_file_is_found_and_the_examination_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "finops.yaml"
    path.write_text("nonsense: 1")

    desired, finding = check_config(Settings(config=path), {})

    assert finding.state == PROBLEM and "nonsense" in finding.detail
    assert list(desired.providers) == ["demo"]


async def test_without_any_provider_there_is_a_hint() -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    (finding,) = await found(never, desired_state(ConfigFile(), {}))

    assert finding.state == WARNING
    assert "OPENAI_API_KEY" in finding.fix


async def test_a_provider_that_takes_the_key_is_fine() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://mock.test/v1/models"
        assert request.headers["authorization"] == "Bearer right"
        assert request.headers["x-team"] == "research"
        return httpx.Response(200, json={"data": []})

    (finding,) = await found(handler, mock_provider(MOCK_KEY="right"), MOCK_KEY="right")

    assert finding.state == OK
    assert "right" not in finding.detail


@pytest.mark.parametrize(
    ("status", "state", "word"), [(401, PROBLEM, "key"), (403, PROBLEM, "key"), (404, WARNING, "base_url")]
)
async def test_a_refusal_says_what_to_look_at(status: int, state: str, word: str) -> None:
    (finding,) = await found(lambda _: httpx.Response(status), mock_provider(MOCK_KEY="k"), MOCK_KEY="k")

    assert finding.state == state
    assert word in finding.fix


async def test_a_provider_that_cannot_be_reached_is_a_problem() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    (finding,) = await found(refuse, mock_provider(MOCK_KEY="k"), MOCK_KEY="k")

    assert finding.state == PROBLEM
    assert "http://mock.test/v1" in finding.detail


async def test_a_key_that_is_not_set_is_named_and_the_provider_not_called() -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    (finding,) = await found(never, mock_provider())

    assert finding.state == PROBLEM
    assert "MOCK_KEY" in finding.detail


async def test_a_provider_of_the_environment_is_examined_too() -> None:
    environ = {"GROQ_API_KEY": "k"}

    (finding,) = await found(
        lambda _: httpx.Response(200, json={"data": []}), desired_state(ConfigFile(), environ), **environ
    )

    assert finding.subject.startswith("groq")
    assert finding.state == OK


@pytest.mark.parametrize(
    ("variable", "url", "header", "value"),
    [
        ("ANTHROPIC_API_KEY", "https://api.anthropic.com/v1/models", "authorization", "Bearer k"),
        ("CO_API_KEY", "https://api.cohere.com/v1/models", "authorization", "Bearer k"),
        ("GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/models", "x-goog-api-key", "k"),
        ("HF_TOKEN", "https://router.huggingface.co/v1/models", "authorization", "Bearer k"),
        ("REPLICATE_API_TOKEN", "https://api.replicate.com/v1/account", "authorization", "Bearer k"),
    ],
)
async def test_each_wire_format_is_asked_in_its_own_way(
    variable: str, url: str, header: str, value: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == url
        assert {"authorization", "x-goog-api-key"} & set(request.headers) == {header}
        assert request.headers[header] == value
        assert ("anthropic-version" in request.headers) is (variable == "ANTHROPIC_API_KEY")
        return httpx.Response(200, json={})

    (finding,) = await found(handler, desired_state(ConfigFile(), {variable: "k"}), **{variable: "k"})

    assert finding.state == OK
    assert "takes the key" in finding.detail


@pytest.mark.parametrize(
    "base_url", ["https://cohere.test", "https://cohere.test/v1", "https://cohere.test/v2/"]
)
async def test_an_address_with_a_version_is_not_given_a_second_one(base_url: str) -> None:
    text = f"providers: {{cohere: {{base_url: '{base_url}', credentials: [{{name: main, api_key: k}}]}}}}"

    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://cohere.test/v1/models"
        return httpx.Response(200, json={})

    (finding,) = await found(handler, desired_state(parse_config(text), {}))

    assert finding.state == OK


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_BEARER_TOKEN_BEDROCK": "k"},
        {"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com", "AZURE_OPENAI_API_KEY": "k"},
        {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"},
    ],
)
async def test_what_cannot_be_tried_for_nothing_is_not_probed(environ: dict[str, str]) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    (finding,) = await found(never, desired_state(ConfigFile(), environ), **environ)

    assert finding.state == OK
    assert "not probed" in finding.detail


@pytest.mark.parametrize(
    ("version", "state"), [("26.3.1.896", OK), ("27.1.1", OK), ("26.2.5.1", PROBLEM), ("25.12.1", PROBLEM)]
)
def test_a_clickhouse_server_must_be_new_enough(version: str, state: str) -> None:
    finding = judge_clickhouse(version, "db:8123")

    assert finding.state == state
    assert version in finding.detail
    assert bool(finding.fix) is (state == PROBLEM)


@pytest.mark.parametrize(
    "url", ["mysql://user:secret@db/finops", "clickhouse://user:sec/ret@db:8123/finops", "clickhouse://"]
)
async def test_an_address_that_no_store_has_is_a_problem(url: str) -> None:
    (finding,) = await check_log_store(Settings(clickhouse_url=url))

    assert finding.state == PROBLEM
    assert "secret" not in finding.detail
