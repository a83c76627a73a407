"""Following the log: nothing twice, nothing left out, oldest first."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.cli.logs import Unseen, log_line


def entries(*numbers: int) -> list[dict[str, Any]]:
    return [{"request_id": f"req_{number}"} for number in numbers]


def test_new_entries_come_oldest_first_and_once() -> None:
    unseen = Unseen()

    assert unseen.pick(entries(3, 2, 1)) == entries(1, 2, 3)
    assert unseen.pick(entries(4, 3, 2, 1)) == entries(4)


def test_a_long_request_that_appears_below_newer_ones_is_not_missed() -> None:
    unseen = Unseen()
    unseen.pick(entries(5, 4, 2))

    assert unseen.pick(entries(6, 5, 4, 3, 2)) == entries(3, 6)


@given(st.lists(st.lists(st.integers(0, 30), unique=True), max_size=20))
def test_over_any_looks_each_entry_is_shown_exactly_once(looks: list[list[int]]) -> None:
    unseen = Unseen()

    shown = [entry["request_id"] for look in looks for entry in unseen.pick(entries(*look))]

    assert sorted(shown) == sorted({f"req_{number}" for look in looks for number in look})


def test_memory_is_bounded() -> None:
    unseen = Unseen(remembered=2)
    unseen.pick(entries(3, 2, 1))

    assert unseen.pick(entries(1)) == []
    assert unseen.pick(entries(3)) == entries(3)


def test_a_line_tells_who_what_and_how_much() -> None:
    item = {
        "started_at": "2026-11-23T04:00:00Z",
        "http_status": 200,
        "status": "success",
        "provider": "openai",
        "model": "gpt-4o",
        "virtual_key_id": "vk_1",
        "virtual_key_name": "team-a",
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "cost": "0.0012",
        "latency_ms": 250,
        "error_code": "",
    }

    line = log_line(item)

    assert line == ("2026-11-23T04:00:00Z  200 success  openai/gpt-4o  team-a  3+4 tokens  $0.0012  250 ms")
    assert "unpriced" in log_line(item | {"cost": None})
