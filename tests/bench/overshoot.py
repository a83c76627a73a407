"""How far past its limit does a budget go when a key is hammered through two gateways at once?

    python -m tests.bench.overshoot [--limit 1.00] [--concurrency 32] [--delay-ms 0]

The clients go on until each is refused for good. What was settled is then compared with the limit, and with what the
mock upstream served.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Final

import aiohttp

from tests.bench import report
from tests.bench.surroundings import surroundings
from tests.support.audit import Audit, Price
from tests.support.cluster import Cluster, Shape, running
from tests.support.load import Planned, Seen, body_of
from tests.support.proof import settle

PRICE: Final = Price("10", "40")
"""Dear enough for a dollar to be gone after some hundred requests."""
SETTLE_TIMEOUT_S: Final = 90
NANO: Final = 1_000_000_000


@dataclass(slots=True)
class Hammering:
    seen: list[Seen] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    """Answers by `success` or their error code."""
    sentence: str = ""
    took_s: float = 0.0


async def hammer(cluster: Cluster, key: str, concurrency: int, delay_ms: int) -> Hammering:
    """Every client sends one request after the other until it is refused for good."""
    result = Hammering()
    numbers = count()
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(cluster.url, connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as clients,
    ):
        for _ in range(concurrency):
            clients.create_task(_until_refused(session, cluster.model, key, numbers, result, delay_ms))
    result.took_s = time.monotonic() - began
    return result


async def _until_refused(
    session: aiohttp.ClientSession,
    model: str,
    key: str,
    numbers: "count[int]",
    result: Hammering,
    delay_ms: int,
) -> None:
    while True:
        planned = Planned(f"o-{next(numbers):06d}", key, stream=False, fate="finish", delay_ms=delay_ms)
        body = body_of(planned, model)
        headers = {"Authorization": f"Bearer {key}"}
        async with session.post("/v1/chat/completions", json=body, headers=headers) as response:
            document = await response.json()
            error = document.get("error") or {}
            result.codes[error.get("code", "success")] += 1
            result.seen.append(
                Seen(
                    planned.marker, "finish", response.status, response.headers["x-request-id"], complete=True
                )
            )
            if response.status == 402:
                result.sentence = error["message"]
                return
            if response.status == 429:
                await asyncio.sleep(float(response.headers["Retry-After"]))
            elif response.status != 200:
                raise AssertionError(f"answered {response.status}: {document}")


async def measure(limit_usd: str, concurrency: int, delay_ms: int) -> tuple[Hammering, Audit]:
    shape = Shape(price=PRICE)
    with surroundings() as around:
        async with running(shape, around.directory, around.kafka, around.upstream_url) as cluster:
            budget = {"limit": limit_usd, "window": "lifetime"}
            key_id, key = await cluster.create_key("hammered", [budget])
            report.note(f"{concurrency} clients spend {limit_usd} USD through two gateways ...")
            hammering = await hammer(cluster, key, concurrency, delay_ms)
            report.note("waiting until everything is settled ...")
            return hammering, await settle(cluster, [key_id], hammering.seen, SETTLE_TIMEOUT_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", default="1.00", help="the budget in USD")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the upstream takes to answer")
    arguments = parser.parse_args()
    hammering, result = asyncio.run(measure(arguments.limit, arguments.concurrency, arguments.delay_ms))
    limit = Decimal(arguments.limit)
    settled = Decimal(result.settled_nanos) / NANO
    overshoot = max(settled - limit, Decimal(0))
    rate = settled / Decimal(hammering.took_s)
    served = hammering.codes["success"]
    report.table(
        f"Overshoot, {report.machine()}",
        [
            ("limit", f"{limit} USD"),
            ("settled", f"{settled} USD ({settled / limit:.2%} of the limit)"),
            ("overshoot", f"{overshoot} USD ({overshoot / limit:.3%})"),
            ("overshoot in time", f"{overshoot / rate * 1000:.0f} ms of spending at {rate:.2f} USD/s"),
            ("answers", dict(hammering.codes)),
            ("mean cost of a served request", f"{settled / max(served, 1):.9f} USD"),
            (
                "spending took",
                f"{hammering.took_s:.1f} s, {len(hammering.seen) / hammering.took_s:.0f} requests/s",
            ),
            ("the refusal", hammering.sentence),
            ("disagreements between the books", len(result.problems)),
        ],
    )
    for problem in result.problems[:20]:
        print(f"  {problem}")
    report.result(
        {
            "limit_usd": float(limit),
            "overshoot_pct": round(float(overshoot / limit * 100), 4),
            "overshoot_usd": float(overshoot),
            "used_pct": round(float(settled / limit * 100), 4),
            "served": served,
        }
    )
    sys.exit(1 if result.problems else 0)


if __name__ == "__main__":
    main()
