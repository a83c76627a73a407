"""`finops up` as a newcomer meets it: one command, the official SDK, the command line, and kill -9."""

import asyncio
import base64
import os
import random
import signal
import struct
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventually import eventually
from tests.support.installation import Installation, is_alive
from tests.support.processes import free_port

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for the tests that only use it."""
    installation = Installation(tmp_path_factory.mktemp("standalone"))
    try:
        asyncio.run(installation.start())
        yield installation
    finally:
        asyncio.run(installation.child.stop())


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation for a test that stops or kills it."""
    installation = Installation(tmp_path)
    try:
        await installation.start()
        yield installation
    finally:
        await installation.child.stop()


@pytest.fixture
async def sdk(running: Installation) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="dummy", max_retries=0) as client:
        yield client


async def test_the_official_sdk_chats(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model="demo/echo", messages=[user("Hello there")])

    assert "Hello there" in (answer.choices[0].message.content or "")
    assert answer.usage is not None and answer.usage.completion_tokens > 0
    assert (answer.usage.model_extra or {})["cost"] > 0


async def test_the_official_sdk_streams_and_gets_usage_exactly_once(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="demo/lorem",
        messages=[user("Tell me something")],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(text) > 20
    assert len(usages) == 1 and usages[0].completion_tokens > 0


async def test_the_official_sdk_sends_a_picture(sdk: openai.AsyncOpenAI, running: Installation) -> None:
    picture = base64.b64encode(png()).decode()
    parts: list[Any] = [
        {"type": "text", "text": "What is in the turquoise picture?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    ]

    answer = await sdk.chat.completions.create(
        model="demo/echo", messages=[{"role": "user", "content": parts}]
    )

    assert answer.choices[0].message.content
    (entry,) = await eventually(lambda: running.logs(search="turquoise"))
    async with running.client(headers=running.admin_headers) as client:
        detail = await client.get(f"/api/logs/{entry['request_id']}")
    assert "turquoise picture" in detail.text
    assert picture[:200] not in detail.text


async def test_the_official_sdk_embeds_and_makes_images(sdk: openai.AsyncOpenAI) -> None:
    models = [model.id async for model in await sdk.models.list(extra_query={"type": "embedding"})]
    embeddings = await sdk.embeddings.create(model=models[0], input=["one", "two"])
    image = await sdk.images.generate(model="demo/image", prompt="a cat", response_format="b64_json")

    assert len(embeddings.data) == 2 and len(embeddings.data[0].embedding) > 1
    assert image.data is not None and base64.b64decode(image.data[0].b64_json or "").startswith(b"\x89PNG")


async def test_a_key_spends_its_budget_and_is_then_refused_and_all_of_it_is_logged(
    running: Installation,
) -> None:
    key = await running.command_json(
        "keys", "create", "--name", "team-a", "--budget", "0.0005/1M", "--models", "demo/*"
    )
    served, refusal = 0, None
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=key["key"], max_retries=0) as client:
        while refusal is None and served < 500:
            try:
                await client.chat.completions.create(
                    model="demo/echo", messages=[user("word " * 50)], max_tokens=60
                )
                served += 1
            except openai.APIStatusError as error:
                refusal = error

    assert refusal is not None and refusal.status_code == 402
    assert refusal.code == "budget_exceeded"
    assert "0.0005" in refusal.message
    assert served > 1

    async def all_logged() -> list[dict[str, Any]]:
        entries = await running.logs(virtual_key=key["id"], limit="200")
        return entries if len(entries) == served + 1 else []

    entries = await eventually(all_logged)
    assert sorted({entry["status"] for entry in entries}) == ["error", "success"]
    shown = await running.command_json("keys", "show", "team-a")
    (budget,) = shown["budgets"]
    logged = sum(Decimal(entry["cost"]) for entry in entries if entry["status"] == "success")
    assert Decimal(budget["settled"]) == logged
    assert Decimal(budget["settled"]) <= Decimal("0.0005")
    assert Decimal(budget["reserved"]) == 0


async def test_a_key_is_rotated_changed_and_revoked_on_the_command_line(running: Installation) -> None:
    key = await running.command_json("keys", "create", "--name", "short life")
    rotated = await running.command_json("keys", "rotate", "short life")
    changed = await running.command_json(
        "keys", "update", key["id"], "--budget", "2/1d/rolling", "--expires-at", "2030-01-01T00:00:00Z",
        "--fallback", "demo/lorem", "--metadata", "owner=ada",
    )  # fmt: skip
    shown = await running.command("keys", "show", key["id"])
    for_ever = await running.command_json(
        "keys", "update", key["id"], "--no-expiry", "--no-fallbacks", "--no-metadata"
    )
    listing = await running.command("keys", "list")
    revoked = await running.command_json("keys", "revoke", key["id"])

    assert rotated["id"] == key["id"] and rotated["key"] != key["key"]
    assert [(b["limit"], b["window"], b["alignment"]) for b in changed["budgets"]] == [
        ("2.00", "1d", "rolling")
    ]
    assert "2030-01-01T00:00:00Z" in shown.stdout and '{"owner": "ada"}' in shown.stdout
    assert (for_ever["expires_at"], for_ever["fallbacks"], for_ever["metadata"]) == (None, [], {})
    assert for_ever["budgets"][0]["limit"] == "2.00"
    assert "short life" in listing.stdout and "0.00 / 2.00 per 1d" in listing.stdout
    assert revoked["status"] == "revoked"
    for secret in (key["key"], rotated["key"]):
        await eventually(lambda secret=secret: refused(running, secret))  # type: ignore[misc]


async def test_the_pages_ask_for_a_login_and_the_admin_token_opens_them(running: Installation) -> None:
    async with running.client(follow_redirects=True) as client:
        before = await client.get("/logs")
        await client.post("/login", data={"token": running.admin_token, "next": "/logs"})
        after = await client.get("/logs")

    assert before.url.path == "/login"
    assert after.status_code == httpx.codes.OK and after.url.path == "/logs"


async def test_logs_tail_prints_the_newest_requests(running: Installation, sdk: openai.AsyncOpenAI) -> None:
    await sdk.chat.completions.create(model="demo/echo", messages=[user("for the tail")])
    await eventually(lambda: running.logs(search="tail"))

    done = await running.command("logs", "tail", "--no-follow", "-n", "3")

    assert done.returncode == 0, done.stderr
    assert "200 success  demo/echo  anonymous" in done.stdout.splitlines()[-1]


async def test_doctor_finds_nothing_wrong(running: Installation) -> None:
    done = await running.command("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "python" in done.stdout and "embedded" in done.stdout


async def test_a_second_start_on_the_same_data_is_refused_in_one_sentence(running: Installation) -> None:
    done = await running.command("up")

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "is in use by another running FinOps" in done.stderr


async def test_a_taken_port_is_refused_in_one_sentence(running: Installation, tmp_path: Path) -> None:
    port = running.url.rpartition(":")[2]

    done = await running.command("up", "--port", port, "--data-dir", str(tmp_path / "other"))

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"127.0.0.1:{port} is in use" in done.stderr


async def test_a_wrong_address_of_the_log_store_is_refused_before_anything_starts(
    running: Installation, tmp_path: Path
) -> None:
    done = await running.command(
        "up", "--port", "0", "--data-dir", str(tmp_path / "other"), FINOPS_CLICKHOUSE_URL="mysql://host/db"
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "FINOPS_CLICKHOUSE_URL must start with" in done.stderr


async def test_data_keys_and_spend_outlive_a_stop_and_a_kill(own: Installation) -> None:
    token = own.admin_token
    key = await own.command_json("keys", "create", "--name", "survivor", "--budget", "1/1M")
    await chat(own, key["key"], "before the stop")
    (ingester,) = own.log_ingest_pids()

    os.kill(own.child.pid, signal.SIGINT)
    assert await own.child.stop() == 0
    assert not is_alive(ingester)
    await own.start()
    await chat(own, key["key"], "before the kill")
    (ingester,) = own.log_ingest_pids()
    await own.child.kill_leader()
    await eventually(lambda: not is_alive(ingester), 40)
    await own.start()
    await chat(own, key["key"], "after the kill")

    async def three() -> list[dict[str, Any]]:
        entries = await own.logs(virtual_key=key["id"])
        return entries if len(entries) == 3 else []

    entries = await eventually(three)
    assert own.admin_token == token
    shown = await own.command_json("keys", "show", "survivor")
    assert Decimal(shown["budgets"][0]["settled"]) == sum(Decimal(entry["cost"]) for entry in entries)


async def test_logs_answer_after_a_start_that_overtakes_the_end_of_a_killed_one(own: Installation) -> None:
    (old,) = own.log_ingest_pids()
    before = sockets(own)
    os.kill(old, signal.SIGSTOP)  # it ends later than the new one begins
    try:
        await own.child.kill_leader()
        starting = asyncio.create_task(own.start())
        await eventually(lambda: sockets(own) - before)
        assert is_alive(old)
    finally:
        os.kill(old, signal.SIGCONT)
    await eventually(lambda: not is_alive(old), 40)
    await starting

    ((place, _),) = sockets(own)
    _, anew = await asyncio.open_unix_connection(place)  # not one of the connections that are open already
    anew.close()


async def test_the_log_ingester_is_restarted_when_killed_and_misses_nothing(own: Installation) -> None:
    (first,) = own.log_ingest_pids()
    await chat(own, "dummy", "request 0")

    assert (await metrics_of(own))["finops_log_ingest_up"] == 1
    os.kill(first, signal.SIGKILL)

    async def is_down() -> bool:
        return (await metrics_of(own))["finops_log_ingest_up"] == 0

    await eventually(is_down)
    assert not is_alive(first)
    for number in range(1, 6):
        await chat(own, "dummy", f"request {number}")

    async def all_six() -> bool:
        return len(await own.logs()) == 6

    await eventually(all_six, 60)
    (second,) = own.log_ingest_pids()
    assert second != first


async def test_while_the_log_ingester_is_away_the_logs_say_so_and_requests_are_served(tmp_path: Path) -> None:
    # an address where no ClickHouse answers: the ingester lives, but cannot serve
    nowhere = f"clickhouse://nobody:secret@127.0.0.1:{free_port()}/none"
    installation = Installation(tmp_path, {"FINOPS_CLICKHOUSE_URL": nowhere})
    installation.child.start()
    try:
        line = await installation.child.until_printing("Dashboard", 60)
        installation.url = line.split()[-1].replace("localhost", "127.0.0.1")
        await chat(installation, "dummy", "served all the same")
        async with installation.client(headers=installation.admin_headers) as client:
            answer = await client.get("/api/logs")

        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.json()["error"]["message"]
        assert "secret" not in installation.child.tail(200)
    finally:
        await installation.child.stop()


@pytest.mark.kafka
async def test_the_same_command_runs_over_a_real_kafka(tmp_path: Path, kafka_bootstrap: str) -> None:
    settings = {
        "FINOPS_EVENT_LOG_URL": f"kafka://{kafka_bootstrap}",
        "FINOPS_TOPIC_PREFIX": f"standalone-{uuid.uuid4().hex[:8]}-",
        "FINOPS_PARTITIONS": "3",
    }
    installation = Installation(tmp_path, settings)
    try:
        await installation.start()
        key = await installation.command_json("keys", "create", "--name", "on kafka", "--budget", "1/1M")
        await chat(installation, key["key"], "over the broker")

        async def logged() -> list[dict[str, Any]]:
            return await installation.logs(virtual_key=key["id"])

        (entry,) = await eventually(logged, 60)

        async def settled() -> bool:
            shown = await installation.command_json("keys", "show", "on kafka")
            return Decimal(shown["budgets"][0]["settled"]) == Decimal(entry["cost"]) > 0

        await eventually(settled)
        assert not (installation.data_dir / "events.db").exists()
    finally:
        await installation.child.stop()


async def test_the_metrics_of_all_services_are_one_page(
    running: Installation, sdk: openai.AsyncOpenAI
) -> None:
    await sdk.chat.completions.create(model="demo/echo", messages=[user("to be counted")])

    async def is_counted() -> bool:
        metrics = await metrics_of(running)
        return metrics["finops_log_ingest_rows_total"] > 0 and metrics["finops_log_ingest_lag_records"] == 0

    await eventually(is_counted)
    metrics = await metrics_of(running)
    assert metrics["finops_log_ingest_up"] == metrics["finops_log_ingest_store_up"] == 1
    assert metrics["finops_gateway_requests_total"] > 0
    assert metrics["finops_budget_owned_partitions"] > 0
    assert (
        metrics["process_resident_memory_bytes"] != metrics["finops_log_ingest_process_resident_memory_bytes"]
    )


async def metrics_of(installation: Installation) -> dict[str, float]:
    """Every metric's sum over its labels."""
    async with installation.client() as client:
        answer = await client.get("/metrics")
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def sockets(installation: Installation) -> set[tuple[str, int]]:
    """The socket files with their numbers: one that is made again under the same name has another."""
    return {(str(path), path.stat().st_ino) for path in installation.data_dir.glob("*.sock")}


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def chat(installation: Installation, key: str, text: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{installation.url}/v1", api_key=key, max_retries=0) as client:
        await client.chat.completions.create(model="demo/echo", messages=[user(text)])


async def refused(installation: Installation, key: str) -> bool:
    async with installation.client() as client:
        answer = await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
    return answer.status_code == httpx.codes.UNAUTHORIZED


def png(side: int = 64) -> bytes:
    """A picture that does not compress, so that it is as large as pictures are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    noise = random.Random(7)
    rows = b"".join(b"\0" + noise.randbytes(side * 3) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
