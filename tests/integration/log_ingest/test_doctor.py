"""What `finops doctor` says of a ClickHouse server."""

import pytest

from services.cli.doctor import check_log_store
from services.cli.finding import OK, PROBLEM
from shared.settings import Settings
from tests.support.processes import free_port

pytestmark = pytest.mark.clickhouse


async def test_a_server_that_answers_is_named_with_its_version(clickhouse_url: str) -> None:
    (finding,) = await check_log_store(Settings(clickhouse_url=f"{clickhouse_url}/never_made"))

    assert finding.state == OK, finding
    assert finding.detail.startswith("ClickHouse 2")


async def test_a_server_that_is_away_is_a_problem_without_the_password() -> None:
    url = f"clickhouse://user:secret@127.0.0.1:{free_port()}/logs"

    (finding,) = await check_log_store(Settings(clickhouse_url=url))

    assert finding.state == PROBLEM and "127.0.0.1" in finding.detail
    assert "secret" not in finding.detail + finding.fix
