"""The tables: their columns, what the catalogue says of each operation, and how they stand in the README."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from shared.catalogue.provider_types import PROVIDER_TYPES, Endpoint, ProviderType

ROOT: Final = Path(__file__).resolve().parents[3]
README: Final = ROOT / "services/gateway/providers/README.md"
BEGIN: Final = "<!-- conformance: begin -->"
END: Final = "<!-- conformance: end -->"

YES: Final = "yes"
NOT_OFFERED: Final = "–"
VIA_CHAT: Final = "via chat"
ESTIMATED: Final = "estimated"
FIXED: Final = "fixed"
LEFT_OUT: Final = "left out"
REFUSED: Final = "refused"

MODELS: Final = "models"
CHAT: Final = "chat.completions"
STREAMED: Final = "chat, streamed"
COUNT: Final = "messages.count_tokens"
SHORT: Final = {"chat": CHAT, "stream": STREAMED}
OPERATIONS: Final[tuple[str, ...]] = (
    MODELS,
    CHAT,
    STREAMED,
    *(name for name in get_args(Endpoint) if name != CHAT),
)
ASKED: Final = (
    "system, developer",
    "tools",
    "parallel tools",
    "tool loop",
    "forced tool",
    "json mode",
    "json schema",
    "image, data URL",
    "image, https",
    "pdf",
    "audio",
    "effort",
    "thinking budget",
    "reasoning out",
    "signatures",
    "foreign history",
    "caching markers",
    "cached usage",
    "logprobs",
    "stop",
    "seed",
    "n",
)
FAILING: Final = (
    "error",
    "rate limit",
    "error in 200",
    "error event",
    "broken stream",
    "early end",
    "stalled stream",
    "no usage",
)
FEATURES: Final = ASKED + FAILING
CHATTING: Final = tuple(name for name in PROVIDER_TYPES if name != "demo")
"""The rows of the tables of features: demo is a provider of the gateway's own making."""
_HEADS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "Provider": (tuple(PROVIDER_TYPES), OPERATIONS),
    "Asked of chat": (CHATTING, ASKED),
    "Failing": (CHATTING, FAILING),
}

Cell = tuple[str, str]
"""(provider, operation or feature)."""
Cells = Mapping[Cell, str]


@dataclass(frozen=True, slots=True)
class Proof:
    """What the tests that passed prove together."""

    operations: frozenset[Cell]
    features: Cells


def offered(kind: ProviderType, operation: str) -> str:
    """What the catalogue says of an operation, as it stands in the table."""
    if operation == MODELS:
        return YES if kind.lists_models else FIXED if kind.static_models else NOT_OFFERED
    if operation in kind.operations or (operation == STREAMED and CHAT in kind.operations):
        return YES
    if CHAT in kind.operations and operation in ("responses", "messages"):
        return VIA_CHAT
    return ESTIMATED if CHAT in kind.operations and operation == COUNT else NOT_OFFERED


def unproven(proof: Proof) -> list[Cell]:
    """Cells that no test says anything about."""
    operations = [(name, column) for name in PROVIDER_TYPES for column in OPERATIONS]
    features = [(name, column) for name in CHATTING for column in FEATURES]
    return [cell for cell in operations if cell not in proof.operations] + [
        cell for cell in features if cell not in proof.features
    ]


def rendered(proof: Proof) -> str:
    """All tables, as they stand between the markers; what is unproven is empty."""
    shown = {cell: offered(PROVIDER_TYPES[cell[0]], cell[1]) for cell in proof.operations}
    cells: Cells = {**shown, **proof.features}
    return "\n\n".join(_table(head, rows, columns, cells) for head, (rows, columns) in _HEADS.items())


def _table(head: str, rows: Sequence[str], columns: Sequence[str], cells: Cells) -> str:
    lines = [[head, *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(cells.get((name, column), "") for column in columns)] for name in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells_in(text: str) -> Cells:
    """The cells of all tables of a README."""
    cells: dict[Cell, str] = {}
    columns: list[str] = []
    for line in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        name, *values = [value.strip() for value in line.strip().strip("|").split("|")]
        if name in _HEADS:
            columns = values
        elif values and name != "---":
            cells |= {(name, column): value for column, value in zip(columns, values, strict=True)}
    return cells


def with_tables(text: str, tables: str) -> str:
    """The README with `tables` between the markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} in {README}")
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def committed() -> Cells:
    """The cells of the README as it is."""
    return cells_in(README.read_text())
