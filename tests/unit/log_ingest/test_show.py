"""How values are shown to people."""

import pytest

from services.log_ingest.show import clock, duration, money, pretty, size


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "unpriced"),
        ("0.00", "$0.00"),
        ("0.000000001", "$0.000000001"),
        ("0.0000048", "$0.0000048"),
        ("0.0312345", "$0.0312"),
        ("0.50", "$0.50"),
        ("0.9996", "$1.00"),
        ("1234.5678", "$1,234.57"),
    ],
)
def test_money_has_as_many_digits_as_tell_something(usd: str | None, shown: str) -> None:
    assert money(usd) == shown


@pytest.mark.parametrize(
    ("ms", "shown"), [(None, "–"), (0, "0 ms"), (999, "999 ms"), (3210, "3.2 s"), (125_000, "2 min 5 s")]
)
def test_durations(ms: int | None, shown: str) -> None:
    assert duration(ms) == shown


def test_sizes() -> None:
    assert [size(512), size(2048), size(3 * 1024 * 1024)] == ["512 B", "2.0 KiB", "3.0 MiB"]


def test_json_is_indented_and_a_transcript_is_shown_as_text() -> None:
    assert pretty('{"a": "ü"}') == '{\n  "a": "ü"\n}'
    assert pretty('"data: {}\\n\\n"') == "data: {}\n\n"
    assert pretty("no json") == "no json"


def test_a_clock_is_readable_without_a_script() -> None:
    assert clock("2026-11-23T04:20:24.672Z") == "2026-11-23 04:20:24"
