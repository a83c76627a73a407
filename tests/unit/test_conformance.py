"""The plugin of the conformance table, and the committed table against the catalogue."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.conformance import (
    BEGIN,
    END,
    FEATURES,
    NOT_OFFERED,
    OPERATIONS,
    README,
    YES,
    Claim,
    Collector,
    Proof,
    cells_in,
    claimed_cells,
    claims_of,
    rendered,
    unproven_cells,
    with_tables,
)

PROOF = Proof(
    operations=frozenset({("groq", "chat.completions"), ("cohere", "rerank")}),
    features=frozenset({("groq", "stream")}),
    refused=frozenset({("replicate", "tools")}),
)


def item(name: str, *marks: pytest.MarkDecorator) -> Any:
    return SimpleNamespace(nodeid=name, iter_markers=lambda _: [mark.mark for mark in marks])


def report(name: str, outcome: str = "passed", when: str = "call") -> Any:
    return SimpleNamespace(nodeid=name, when=when, passed=outcome == "passed", failed=outcome == "failed")


def test_only_a_test_that_passed_proves_something() -> None:
    collector = Collector()
    names = ("passes", "fails", "falls at the end", "skips", "never runs")
    kinds = ("groq", "xai", "cerebras", "nebius", "ollama")
    collector.pytest_collection_modifyitems(
        [
            item(name, pytest.mark.proves(provider=kind, operation="chat", features=("stream",)))
            for name, kind in zip(names, kinds, strict=True)
        ]
        + [item("says nothing")]
    )
    for seen in (
        report("passes", when="setup"),
        report("passes"),
        report("passes", when="teardown"),
        report("fails", "failed"),
        report("falls at the end"),
        report("falls at the end", "failed", "teardown"),
        report("skips", "skipped"),
        report("says nothing"),
    ):
        collector.pytest_runtest_logreport(seen)

    proof = collector.proof()

    assert proof.operations == {("groq", "chat.completions")}
    assert proof.features == {("groq", "stream")}


def test_a_mark_may_name_several_providers() -> None:
    mark = pytest.mark.proves(provider=["groq", "xai"], operation="chat", refuses=("tools",)).mark

    assert claims_of(mark) == [
        Claim("groq", "chat.completions", refuses=("tools",)),
        Claim("xai", "chat.completions", refuses=("tools",)),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"provider": "nobody", "operation": "chat"},
        {"provider": "groq", "operation": "rerank"},
        {"provider": "groq", "operation": "chat", "features": ("telepathy",)},
        {"provider": "cohere", "operation": "rerank", "features": ("stream",)},
        {"provider": "groq", "operation": "chat", "feature": ("stream",)},
        {"provider": "groq"},
    ],
)
def test_a_mark_that_names_nothing_is_a_mistake(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"catalogue has no|no such features|takes provider"):
        claims_of(pytest.mark.proves(**given).mark)


def test_the_tables_are_read_as_they_were_written() -> None:
    text = with_tables(f"before {BEGIN} old {END} after", rendered(PROOF))
    operations, features = cells_in(text), cells_in(text, "Chat of")

    assert text.startswith("before ") and text.endswith(" after") and " old " not in text
    assert (operations["groq", "chat.completions"], operations["cohere", "rerank"]) == (YES, YES)
    assert operations["groq", "rerank"] == NOT_OFFERED
    assert operations["cohere", "embeddings"] == "", "claimed, and not proven"
    assert features["groq", "stream"] == YES
    assert features["replicate", "tools"] == NOT_OFFERED
    assert features["groq", "tools"] == ""
    assert with_tables(text, rendered(PROOF)) == text


def test_what_is_claimed_and_not_proven_is_found() -> None:
    unproven = unproven_cells(PROOF)

    assert ("cohere", "rerank") not in unproven
    assert ("cohere", "embeddings") in unproven
    assert len(unproven) == len(claimed_cells()) - 2


def test_a_readme_without_markers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="conformance"):
        with_tables("nothing here", rendered(PROOF))


def test_the_committed_table_is_the_catalogues() -> None:
    """Drift that can be seen without running the tests: `make conformance` repairs it, or says what lacks a proof."""
    text = README.read_text()
    shown, claimed = cells_in(text), set(claimed_cells())
    providers = {name for name, _ in claimed}

    assert {cell for cell, value in shown.items() if value == YES} == claimed
    assert {name for name, _ in shown} == providers
    assert set(shown.values()) <= {YES, NOT_OFFERED}
    assert {column for _, column in shown} == set(OPERATIONS)
    features = cells_in(text, "Chat of")
    assert set(features) == {(name, feature) for name in providers for feature in FEATURES}
