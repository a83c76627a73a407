"""The plugin of the conformance tables, and the committed tables against the catalogue."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES
from tests.support.conformance.collector import CELL, Collector, claims_of
from tests.support.conformance.tables import (
    BEGIN,
    CHATTING,
    END,
    ESTIMATED,
    FEATURES,
    FIXED,
    LEFT_OUT,
    NOT_OFFERED,
    OPERATIONS,
    REFUSED,
    STREAMED,
    VIA_CHAT,
    YES,
    Proof,
    cells_in,
    committed,
    offered,
    rendered,
    unproven,
    with_tables,
)

PROOF = Proof(
    operations=frozenset({("groq", "chat.completions"), ("groq", "rerank"), ("groq", "messages")}),
    features={("groq", "seed"): YES, ("replicate", "tools"): REFUSED},
)


def item(name: str, *marks: pytest.MarkDecorator) -> Any:
    return SimpleNamespace(nodeid=name, iter_markers=lambda _: [mark.mark for mark in marks])


def report(name: str, outcome: str = "passed", when: str = "call", *found: tuple[str, str, str]) -> Any:
    return SimpleNamespace(
        nodeid=name,
        when=when,
        passed=outcome == "passed",
        failed=outcome == "failed",
        user_properties=[(CELL, cell) for cell in found],
    )


def test_only_a_test_that_passed_proves_something() -> None:
    collector = Collector()
    names = ("passes", "fails", "falls at the end", "skips", "never runs")
    kinds = ("groq", "xai", "cerebras", "nebius", "ollama")
    collector.pytest_collection_modifyitems(
        [
            item(name, pytest.mark.proves(provider=kind, operation="chat"))
            for name, kind in zip(names, kinds, strict=True)
        ]
        + [item("says nothing")]
    )
    for seen in (
        report("passes", "passed", "setup"),
        report("passes", "passed", "call", ("groq", "seed", YES)),
        report("passes", "passed", "teardown"),
        report("fails", "failed", "call", ("xai", "seed", YES)),
        report("falls at the end", "passed", "call", ("cerebras", "seed", YES)),
        report("falls at the end", "failed", "teardown"),
        report("skips", "skipped"),
        report("says nothing"),
    ):
        collector.pytest_runtest_logreport(seen)

    proof = collector.proof()

    assert proof.operations == {("groq", "chat.completions")}
    assert proof.features == {("groq", "seed"): YES}


def test_tests_that_contradict_each_other_prove_nothing() -> None:
    collector = Collector()
    collector.pytest_runtest_logreport(report("one", "passed", "call", ("groq", "seed", YES)))
    collector.pytest_runtest_logreport(report("two", "passed", "call", ("groq", "seed", LEFT_OUT)))

    with pytest.raises(ValueError, match="both"):
        collector.proof()


def test_a_mark_may_name_several_providers() -> None:
    mark = pytest.mark.proves(provider=["groq", "xai"], operation="stream").mark

    assert claims_of(mark) == [("groq", STREAMED), ("xai", STREAMED)]


@pytest.mark.parametrize(
    "given",
    [
        {"provider": "nobody", "operation": "chat"},
        {"provider": "groq", "operation": "telepathy"},
        {"provider": "groq", "operation": "chat", "features": ("stream",)},
        {"provider": "groq"},
    ],
)
def test_a_mark_that_names_nothing_is_a_mistake(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there is no|takes provider"):
        claims_of(pytest.mark.proves(**given).mark)


@pytest.mark.parametrize("found", [("groq", "telepathy", YES), ("demo", "seed", YES)])
def test_a_feature_that_does_not_exist_is_a_mistake(found: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="there is no"):
        Collector().pytest_runtest_logreport(report("finds", "passed", "call", found))


def test_what_the_catalogue_says_of_each_operation() -> None:
    said = {
        (kind, name): offered(PROVIDER_TYPES[kind], name)
        for kind, name in (
            ("openai", "responses"), ("groq", "responses"), ("anthropic", "messages"), ("groq", "messages"),
            ("anthropic", "messages.count_tokens"), ("groq", "messages.count_tokens"), ("groq", "models"),
            ("perplexity", "models"), ("azure", "models"), ("groq", "rerank"), ("groq", STREAMED),
        )
    }  # fmt: skip

    assert list(said.values()) == [
        YES, VIA_CHAT, YES, VIA_CHAT, YES, ESTIMATED, YES, FIXED, NOT_OFFERED, NOT_OFFERED, YES,
    ]  # fmt: skip


def test_the_tables_are_read_as_they_were_written() -> None:
    text = with_tables(f"before {BEGIN} old {END} after", rendered(PROOF))
    cells = cells_in(text)

    assert text.startswith("before ") and text.endswith(" after") and " old " not in text
    assert (cells["groq", "chat.completions"], cells["groq", "messages"]) == (YES, VIA_CHAT)
    assert cells["groq", "rerank"] == NOT_OFFERED
    assert cells["cohere", "embeddings"] == "", "claimed, and not proven"
    assert cells["xai", "rerank"] == "", "nobody showed that it is refused"
    assert (cells["groq", "seed"], cells["replicate", "tools"]) == (YES, REFUSED)
    assert cells["groq", "tools"] == ""
    assert with_tables(text, rendered(PROOF)) == text


def test_every_cell_without_a_proof_is_found() -> None:
    missing = unproven(PROOF)

    assert ("groq", "messages") not in missing and ("groq", "seed") not in missing
    assert {("cohere", "embeddings"), ("xai", "rerank"), ("xai", "seed")} <= set(missing)
    cells = len(PROVIDER_TYPES) * len(OPERATIONS) + len(CHATTING) * len(FEATURES)
    assert len(missing) == cells - len(PROOF.operations) - len(PROOF.features)


def test_a_readme_without_markers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="conformance"):
        with_tables("nothing here", rendered(PROOF))


def test_the_committed_tables_are_whole_and_the_catalogues() -> None:
    """Drift that can be seen without running the tests: `make conformance` repairs it, or says what lacks a proof."""
    shown = committed()
    operations = {
        (kind, name): offered(PROVIDER_TYPES[kind], name) for kind in PROVIDER_TYPES for name in OPERATIONS
    }

    assert {cell: shown.get(cell) for cell in operations} == operations
    features = {cell for cell in shown if cell not in operations}
    assert features == {(name, feature) for name in CHATTING for feature in FEATURES}
    assert {shown[cell] for cell in features} <= {YES, LEFT_OUT, REFUSED, NOT_OFFERED}
