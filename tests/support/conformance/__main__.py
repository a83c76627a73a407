"""`python -m tests.support.conformance`: writes the tables from the tests that pass."""

import argparse
import sys
from collections.abc import Iterable, Sequence

import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES
from tests.support.conformance.collector import Collector
from tests.support.conformance.tables import README, ROOT, Cell, rendered, unproven, with_tables


def listed(cells: Iterable[Cell]) -> str:
    """`provider: a; b` in lines."""
    by_provider: dict[str, list[str]] = {}
    for provider, name in cells:
        by_provider.setdefault(provider, []).append(name)
    return "\n".join(f"  {provider}: {'; '.join(names)}" for provider, names in by_provider.items())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the conformance tables from the tests that pass.")
    parser.add_argument("--check", action="store_true", help="Leave the file alone.")
    options = parser.parse_args(arguments)
    collector = Collector()
    run = ["-m", "proves", "-q", "--durations=1", "--rootdir", str(ROOT), str(ROOT / "tests")]
    failed = pytest.main(run, plugins=[collector]) != pytest.ExitCode.OK
    if not collector.passed:
        print("No test that proves anything passed; the tables stay as they are.")
        return 1
    proof = collector.proof()
    text = README.read_text()
    renewed = with_tables(text, rendered(proof))
    changed = renewed != text
    if changed and not options.check:
        README.write_text(renewed)
    if changed:
        print(f"The tables {'are' if options.check else 'were'} not what the tests prove: {README}")
    if missing := unproven(proof):
        print(f"Unproven:\n{listed(missing)}")
    print(f"{len(collector.passed)} tests prove {len(proof.operations)} cells of operations and"
          f" {len(proof.features)} of features, of {len(PROVIDER_TYPES)} providers.")  # fmt: skip
    return int(failed or changed or bool(missing))


if __name__ == "__main__":
    sys.exit(main())
