"""Mixed traffic through two gateways on a real Kafka behind nginx: do requests, log, rows and spend agree exactly?

    python -m tests.bench.exactness [--requests 5000] [--concurrency 32] [--kill]

Ends with status 1 when they do not.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

from tests.bench import report
from tests.bench.surroundings import surroundings
from tests.support.audit import Audit
from tests.support.cluster import Shape, running
from tests.support.load import LONGEST_S, Mix
from tests.support.proof import create_keys, killing, load_for, run_disturbed, settle

VICTIMS = ("gateway-1", "budget-1", "log-ingest-1", "gateway-2")
MIX_WITH_KILLS = Mix(delay_ms=250)
"""Long enough for every kill to meet requests that are waiting for their provider."""
SETTLE_TIMEOUT_S = 180
SLOWEST_RPS = 10
"""A machine that does not even reach this has a load that never ends."""


async def measure(requests: int, concurrency: int, kill: bool) -> tuple[Audit, float, float]:
    with surroundings() as around:
        async with running(Shape(), around.directory, around.kafka, around.upstream_url) as cluster:
            keys = await create_keys(cluster)
            mix = MIX_WITH_KILLS if kill else Mix()
            load = load_for(cluster, keys, requests, mix=mix, longest_s=LONGEST_S + requests / SLOWEST_RPS)
            report.note(f"at least {requests} requests, {concurrency} at a time ...")
            began = time.monotonic()
            victims = VICTIMS if kill else ()
            await run_disturbed(load, concurrency, [killing(cluster, victim) for victim in victims])
            took = time.monotonic() - began
            report.note("waiting until everything is settled ...")
            result = await settle(cluster, list(keys), load.seen, SETTLE_TIMEOUT_S)
            return result, took, time.monotonic() - began - took


def figures(result: Audit) -> dict[str, Any]:
    return {
        "sent": result.sent,
        "logged": result.logged,
        "rows": result.rows,
        "settled_nano": result.settled_nanos,
        "truth_nano": result.truth_nanos,
        "abandoned": result.abandoned,
        "problems": len(result.problems),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=5000, help="with --kill: at least")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--kill", action="store_true", help="kill -9 each process in turn during the load")
    arguments = parser.parse_args()
    result, took, settling = asyncio.run(measure(arguments.requests, arguments.concurrency, arguments.kill))
    asked = result.sent + result.unheard.total()
    report.table(
        f"Exactness, {report.machine()}",
        [
            ("sent by the clients", asked),
            ("accepted by a gateway", result.sent),
            ("gone before any gateway read them", result.unheard.total()),
            ("RequestLogged on the log", result.logged),
            ("rows in ClickHouse", result.rows),
            ("outcomes", dict(result.outcomes)),
            ("cost bases", dict(result.bases)),
            ("settled, nano-dollars", f"{result.settled_nanos:,}"),
            ("true, nano-dollars", f"{result.truth_nanos:,}"),
            ("records replayed after kills", result.replays),
            ("load", f"{took:.1f} s, {asked / took:.0f} requests/s"),
            ("settled after", f"{settling:.1f} s"),
            ("disagreements", len(result.problems)),
        ],
    )
    for problem in result.problems[:20]:
        print(f"  {problem}")
    report.result(figures(result))
    sys.exit(1 if result.problems else 0)


if __name__ == "__main__":
    main()
