"""Plain text tables and JSON for standard output."""

import json
from collections.abc import Sequence
from typing import Any

import typer

GAP = "  "


def render_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, as wide as their longest cell."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join(lines)


def print_json(value: Any) -> None:
    """`value` as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
