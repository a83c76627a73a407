"""How long do others wait while large pictures pass through a gateway?

    python -m tests.bench.large_bodies [--megabytes 20,60] [--requests 4]

A process of its own asks a standalone FinOps for `/v1/models` all the time, while requests with one picture as a data
URL are sent to the mock upstream and to the demo. The figures are its longest waits.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from tests.bench import report
from tests.support.installation import ROOT, Installation
from tests.support.upstream import upstream_process

MODELS: Final = ("mock/gpt-4o-mini", "demo/echo")
PAUSE_S: Final = 0.01
BETWEEN_S: Final = 0.3
TIMEOUT_S: Final = 120
CONFIG: Final = """\
providers:
  mock: {{type: openai, base_url: "{url}", models: [gpt-4o-mini]}}
"""


def ask_for_models(url: str) -> None:
    """Until standard input ends; then prints the waits in milliseconds, the longest last."""
    waits: list[float] = []
    os.set_blocking(sys.stdin.fileno(), False)
    while sys.stdin.buffer.read() is None:
        began = time.perf_counter()
        with urllib.request.urlopen(f"{url}/v1/models", timeout=TIMEOUT_S) as response:
            response.read()
        waits.append((time.perf_counter() - began) * 1000)
        time.sleep(PAUSE_S)
    print(json.dumps(sorted(round(wait, 1) for wait in waits)))


async def waits_during(url: str, body: bytes, requests: int) -> list[float]:
    """What others wait while so many large requests are served, one after the other."""
    command = ("-m", "tests.bench.large_bodies", "--ask", url)
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    await asyncio.sleep(BETWEEN_S)
    for _ in range(requests):
        await asyncio.to_thread(_send, f"{url}/v1/chat/completions", body)
        await asyncio.sleep(BETWEEN_S)
    out, _ = await asking.communicate(b"")  # the end of its input
    waits: list[float] = json.loads(out)
    return waits


def _send(url: str, body: bytes) -> None:
    asked = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as response:
        response.read()


def _chat(model: str, picture: bytes) -> bytes:
    head = b'{"model":"%s","max_tokens":5,"messages":[{"role":"user","content":[' % model.encode()
    shown = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}]}' % picture
    return head + b'{"type":"text","text":"What is it?"},' + shown


async def measure(sizes_mb: list[int], requests: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with (
        upstream_process() as upstream,
        tempfile.TemporaryDirectory(prefix="finops-bench-") as folder,
    ):
        config = Path(folder) / "finops.yaml"
        config.write_text(CONFIG.format(url=upstream))
        settings = {"FINOPS_CONFIG": str(config), "FINOPS_BODY_LIMIT": str(2 * 1_000_000 * max(sizes_mb))}
        installation = Installation(Path(folder), settings)
        await installation.start()
        try:
            for megabytes in sizes_mb:
                length = megabytes * 1_000_000
                pictures = {"random": base64.b64encode(os.urandom(length * 3 // 4)), "even": b"A" * length}
                for kind, picture in pictures.items():
                    for model in MODELS:
                        name = f"{megabytes} MB, {kind}, {model}"
                        report.note(f"{name} ...")
                        found[name] = await waits_during(installation.url, _chat(model, picture), requests)
        finally:
            await installation.child.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", default="20", help="sizes of the pictures, separated by commas")
    parser.add_argument("--requests", type=int, default=4, help="of each kind")
    parser.add_argument("--ask", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        ask_for_models(arguments.ask)
        return
    sizes = [int(size) for size in arguments.megabytes.split(",")]
    found = asyncio.run(measure(sizes, arguments.requests))
    rows = [
        (name, f"median {waits[len(waits) // 2]:6.1f} ms   worst {', '.join(map(str, waits[-4:]))} ms")
        for name, waits in found.items()
    ]
    report.table(f"/v1/models beside large bodies, {report.machine()}", rows)
    report.result({"worst_ms": max(waits[-1] for waits in found.values())})


if __name__ == "__main__":
    main()
