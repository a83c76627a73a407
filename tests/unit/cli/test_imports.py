"""What a process loads: the data plane never the log store's engine, and `finops --help` hardly anything."""

import subprocess
import sys

import pytest

LOG_STORE = {"chdb", "clickhouse_connect", "pandas", "pyarrow"}
SERVERS = {"uvicorn", "aiohttp", "aiokafka", "fastapi", "jinja2"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("services.gateway.main", LOG_STORE),
        ("services.budget.main", LOG_STORE),
        ("services.standalone", LOG_STORE),
        ("services.cli", LOG_STORE | SERVERS),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, unwanted: set[str]) -> None:
    program = f"import sys, {module}; print(' '.join(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & unwanted == set()
