"""The conformance table: what tests prove of each provider, kept in services/gateway/providers/README.md.

A test says what it proves with `@pytest.mark.proves(provider=..., operation=..., features=(...), refuses=(...))`.
`python -m tests.support.conformance` runs the tests that say so and writes the table from those that passed. It fails
when a test failed, when the table was not what the file had, and when the catalogue claims an operation that no test
proves. `--check` leaves the file alone.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES, Endpoint

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "services/gateway/providers/README.md"
BEGIN: Final = "<!-- conformance: begin -->"
END: Final = "<!-- conformance: end -->"
YES: Final = "yes"
NOT_OFFERED: Final = "–"
OPERATIONS: Final[tuple[str, ...]] = get_args(Endpoint)
CHAT: Final = "chat.completions"
_SHORT: Final = {"chat": CHAT, "count_tokens": "messages.count_tokens"}
FEATURES: Final = (
    "stream",
    "tools",
    "tool loop",
    "forced tool",
    "json mode",
    "json schema",
    "images in",
    "documents in",
    "reasoning",
    "usage with cache",
    "errors mapped",
    "rate limit",
    "cut stream",
    "error in 200",
)
_OPERATIONS_HEAD: Final = "Provider"
_FEATURES_HEAD: Final = "Chat of"

Cells = Mapping[tuple[str, str], str]
"""(provider, operation or feature) to what the table says."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one test says it proves of one provider."""

    provider: str
    operation: str
    features: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What the tests that passed prove together."""

    operations: frozenset[tuple[str, str]]
    features: frozenset[tuple[str, str]]
    refused: frozenset[tuple[str, str]]


def claims_of(mark: pytest.Mark) -> list[Claim]:
    """One claim for each provider of a mark; a name that does not exist is a mistake in the test: ValueError."""
    if mark.args:
        raise ValueError("`proves` takes names only: provider, operation, features, refuses")
    given: dict[str, Any] = {"features": (), "refuses": (), **mark.kwargs}
    if given.keys() != {"provider", "operation", "features", "refuses"}:
        raise ValueError(f"`proves` takes provider, operation, features, refuses, not {sorted(mark.kwargs)}")
    providers, asked = given["provider"], given["operation"]
    operation = _SHORT.get(asked, asked)
    features, refuses = tuple(given["features"]), tuple(given["refuses"])
    unknown = {*features, *refuses}.difference(FEATURES)
    if unknown or (operation != CHAT and (features or refuses)):
        raise ValueError(f"no such features of {operation}: {sorted(unknown or {*features, *refuses})}")
    names: Sequence[str] = (providers,) if isinstance(providers, str) else tuple(providers)
    for name in names:
        if name not in PROVIDER_TYPES or operation not in PROVIDER_TYPES[name].operations:
            raise ValueError(f"the catalogue has no {operation} of {name}")
    return [Claim(name, operation, features, refuses) for name in names]


@dataclass(eq=False)
class Collector:
    """A pytest plugin that keeps what the tests of a run claim, and which of them passed."""

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            found = [claim for mark in item.iter_markers("proves") for claim in claims_of(mark)]
            if found:
                self.claims[item.nodeid] = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def proof(self) -> Proof:
        proven = [
            claim for test in self.passed - self.failed for claim in self.claims.get(test, ())
        ]  # a test whose teardown failed proves nothing
        return Proof(
            frozenset((claim.provider, claim.operation) for claim in proven),
            frozenset((claim.provider, name) for claim in proven for name in claim.features),
            frozenset((claim.provider, name) for claim in proven for name in claim.refuses),
        )


def claimed_cells() -> list[tuple[str, str]]:
    """What the catalogue says that each provider offers."""
    return [
        (kind.name, name)
        for kind in PROVIDER_TYPES.values()
        for name in OPERATIONS
        if name in kind.operations
    ]


def unproven_cells(proof: Proof) -> list[tuple[str, str]]:
    return [cell for cell in claimed_cells() if cell not in proof.operations]


def open_features(proof: Proof) -> list[tuple[str, str]]:
    """Features of chat of which no test says anything."""
    cells = [(name, feature) for name in PROVIDER_TYPES for feature in FEATURES]
    return [cell for cell in cells if cell not in proof.features | proof.refused]


def rendered(proof: Proof) -> str:
    """Both tables, as they stand between the markers."""
    claimed = set(claimed_cells())
    operations = {
        (name, column): (YES if (name, column) in proof.operations else "")
        if (name, column) in claimed
        else NOT_OFFERED
        for name in PROVIDER_TYPES
        for column in OPERATIONS
    }
    features = dict.fromkeys(proof.refused, NOT_OFFERED) | dict.fromkeys(proof.features, YES)
    return "\n\n".join(
        (_table(_OPERATIONS_HEAD, OPERATIONS, operations), _table(_FEATURES_HEAD, FEATURES, features))
    )


def _table(head: str, columns: Sequence[str], cells: Cells) -> str:
    rows = [[head, *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(cells.get((name, column), "") for column in columns)] for name in PROVIDER_TYPES]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cells_in(text: str, head: str = _OPERATIONS_HEAD) -> Cells:
    """The cells of the table of a README whose first column is called `head`."""
    cells: dict[tuple[str, str], str] = {}
    columns: list[str] = []
    for line in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        name, *values = [value.strip() for value in line.strip().strip("|").split("|")]
        if not values:
            columns = []
        elif not columns:
            columns = values if name == head else columns
        elif name != "---":
            cells |= {(name, column): value for column, value in zip(columns, values, strict=True)}
    return cells


def with_tables(text: str, tables: str) -> str:
    """The README with `tables` between the markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} in {README}")
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def listed(cells: Iterable[tuple[str, str]]) -> str:
    """`provider: a, b` in lines."""
    by_provider: dict[str, list[str]] = {}
    for provider, name in cells:
        by_provider.setdefault(provider, []).append(name)
    return "\n".join(f"  {provider}: {', '.join(names)}" for provider, names in by_provider.items())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the conformance table from the tests that pass.")
    parser.add_argument("--check", action="store_true", help="Leave the file alone.")
    options = parser.parse_args(arguments)
    collector = Collector()
    run = ["-m", "proves", "-q", "--durations=1", "--rootdir", str(ROOT), str(ROOT / "tests")]
    failed = pytest.main(run, plugins=[collector]) != pytest.ExitCode.OK
    if not collector.passed:
        print("No test that proves anything passed; the table stays as it is.")
        return 1
    proof = collector.proof()
    text = README.read_text()
    renewed = with_tables(text, rendered(proof))
    if renewed != text and not options.check:
        README.write_text(renewed)
    if renewed != text:
        print(f"The table {'is not' if options.check else 'was not'} what the tests prove: {README}")
    if unproven := unproven_cells(proof):
        print(f"Claimed but unproven:\n{listed(unproven)}")
    if missing := open_features(proof):
        print(f"Features of chat without a test:\n{listed(missing)}")
    print(f"{len(collector.passed)} tests prove {len(proof.operations)} operations of {len(PROVIDER_TYPES)}"
          f" providers and {len(proof.features)} features of chat.")  # fmt: skip
    return int(failed or renewed != text or bool(unproven))


if __name__ == "__main__":
    sys.exit(main())
