"""A pytest plugin that keeps what the tests of a run claim and find, and the fixture's side of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES
from tests.support.conformance.tables import (
    CHATTING,
    FEATURES,
    OPERATIONS,
    README,
    SHORT,
    Cell,
    Proof,
    committed,
)

CELL: Final = "conformance cell"
"""Name of the property by which a test says (provider, feature, what becomes of it)."""
WRITING: Final = pytest.StashKey[bool]()
"""The tables are being written, so nothing is compared with them."""


def claims_of(mark: pytest.Mark) -> list[Cell]:
    """One claim for each provider of a mark; a name that does not exist is a mistake in the test: ValueError."""
    if mark.args or mark.kwargs.keys() != {"provider", "operation"}:
        raise ValueError(f"`proves` takes provider and operation by name, not {sorted(mark.kwargs)}")
    providers, asked = mark.kwargs["provider"], mark.kwargs["operation"]
    operation = SHORT.get(asked, asked)
    names: Sequence[str] = (providers,) if isinstance(providers, str) else tuple(providers)
    for name in names:
        if name not in PROVIDER_TYPES or operation not in OPERATIONS:
            raise ValueError(f"there is no {operation} of {name}")
    return [(name, operation) for name in names]


def found_by(properties: Iterable[tuple[str, object]]) -> dict[Cell, str]:
    """What a test found of features. A name that does not exist is a mistake in the test: ValueError."""
    found: dict[Cell, str] = {}
    triples: list[Any] = [value for name, value in properties if name == CELL]
    for provider, feature, outcome in triples:
        if provider not in CHATTING or feature not in FEATURES:
            raise ValueError(f"there is no {feature} of {provider}")
        found[provider, feature] = outcome
    return found


@dataclass(eq=False)
class Collector:
    """A pytest plugin that keeps what the tests of a run claim and find, and which of them passed."""

    claims: dict[str, list[Cell]] = field(default_factory=dict)
    found: dict[str, dict[Cell, str]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[WRITING] = True

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            claims = [claim for mark in item.iter_markers("proves") for claim in claims_of(mark)]
            if claims:
                self.claims[item.nodeid] = claims

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
            self.found[report.nodeid] = found_by(report.user_properties)

    def proof(self) -> Proof:
        """Raises ValueError when two tests found different things."""
        proving = self.passed - self.failed  # a test whose teardown failed proves nothing
        features: dict[Cell, str] = {}
        for test in sorted(proving):
            for cell, outcome in self.found.get(test, {}).items():
                if features.setdefault(cell, outcome) != outcome:
                    raise ValueError(f"{cell} is both {features[cell]} and {outcome}")
        claims = [claim for test in proving for claim in self.claims.get(test, ())]
        return Proof(frozenset(claims), features)


def record(request: pytest.FixtureRequest, provider: str, feature: str, outcome: Any) -> None:
    """What a test found of a feature: kept for the tables, or compared with them."""
    request.node.user_properties.append((CELL, (provider, feature, outcome)))
    if not request.config.stash.get(WRITING, False):
        told = committed().get((provider, feature))
        assert outcome == told, f"{README} says {told!r}; `make conformance` would write {outcome!r}"
