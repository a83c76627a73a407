"""Logs carry what happened and no secrets; metrics of two services never meet."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import Counter

from shared.telemetry import FewRepeats, configure_logging, get_logger, metrics_response, new_registry

SECRETS = (
    "sk-fo-0123456789abcdefghij",
    "sk-proj-abc_DEF-123456",
    "sk-ant-api03-abc_DEF-123456",
    "bearer abcdefgh12345678",
    "fo-admin-0123456789abcdefghij",
    "gsk_0123456789abcdefghij",
    "xai-0123456789abcdefghij",
    "hf_0123456789abcdefghij",
    "r8_0123456789abcdefghij",
    "AIzaSy0123456789abcdefghij",
    "pplx-0123456789abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_component_level_and_time() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)

    get_logger("here").info("happened", count=3)

    (line,) = lines(stream)
    assert (line["event"], line["component"], line["level"], line["count"]) == ("happened", "here", "info", 3)
    assert line["timestamp"].endswith("Z")


def test_the_level_decides_what_is_written() -> None:
    stream = io.StringIO()
    configure_logging("warning", stream=stream)

    get_logger("here").info("quiet")
    get_logger("here").warning("loud")
    logging.getLogger("library").info("quiet")
    logging.getLogger("library").error("loud too")

    assert [line["event"] for line in lines(stream)] == ["loud", "loud too"]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_never_reaches_a_line(secret: str) -> None:
    stream = io.StringIO()
    configure_logging("debug", stream=stream)

    get_logger("here").info("called", header=f"Authorization: {secret}", url=f"http://x/?key={secret}")
    get_logger("here").info("called", headers={"a": [secret]}, error=ValueError(secret), raw=secret.encode())
    logging.getLogger("library").warning("sent %s", secret)
    try:
        raise KeyError(f"\n{secret}")
    except KeyError:
        get_logger("here").exception("failed")

    assert secret.split()[-1] not in stream.getvalue()
    assert stream.getvalue().count("[cut]") >= 7


def test_the_password_in_an_address_never_reaches_a_line() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)

    get_logger("here").info("connecting", url="clickhouse://user:geheim@host:8123/db")

    (line,) = lines(stream)
    assert line["url"] == "clickhouse://user:[cut]@host:8123/db"


def test_what_is_no_secret_stays_as_it_was() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)

    get_logger("here").info(
        "as it is", at="http://host:8123/a@b", of=("task-force", 1, None, 2.5), id="hf_short"
    )

    (line,) = lines(stream)
    assert (line["at"], line["of"], line["id"]) == (
        "http://host:8123/a@b",
        ["task-force", 1, None, 2.5],
        "hf_short",
    )


def test_two_services_may_have_metrics_of_the_same_name() -> None:
    one, two = new_registry(), new_registry()
    Counter("requests", "served", registry=one).inc(5)
    Counter("requests", "served", registry=two)

    text = bytes(metrics_response(one).body).decode()

    assert "requests_total 5.0" in text
    assert "process_cpu_seconds_total" in text
    assert "requests_total 0.0" in bytes(metrics_response(two).body).decode()


def test_a_library_that_repeats_itself_is_heard_again_only_after_a_while() -> None:
    now = [100.0]
    few = FewRepeats(lambda: now[0])

    def passes(text: str) -> bool:
        return few.filter(logging.LogRecord("aiokafka", logging.ERROR, "x.py", 1, text, None, None))

    assert passes("unable to connect")
    assert not passes("unable to connect")
    assert passes("something else")
    now[0] += 31
    assert passes("unable to connect")
