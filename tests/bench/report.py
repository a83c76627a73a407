"""How every bench reports: a readable table, then one JSON object alone on the last line of standard output."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def table(title: str, rows: Sequence[tuple[str, object]]) -> None:
    """Names on the left, figures on the right."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}\n{'-' * len(title)}")
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def note(text: str) -> None:
    """Progress, on standard error: it never mixes with the figures."""
    print(text, file=sys.stderr, flush=True)


def result(figures: Mapping[str, Any]) -> None:
    """The last line."""
    print(f"\n{json.dumps(figures)}", flush=True)


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
