"""What a bench needs around the product: a real Kafka, the mock upstream as its own process, a folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import report
from tests.support.kafka import any_broker
from tests.support.upstream import upstream_process


@dataclass(frozen=True, slots=True)
class Surroundings:
    kafka: str
    upstream_url: str
    directory: Path


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """All of it gone at the end."""
    report.note("starting Kafka and the mock upstream ...")
    with (
        any_broker() as kafka,
        upstream_process() as upstream_url,
        tempfile.TemporaryDirectory(prefix="finops-bench-") as folder,
    ):
        yield Surroundings(kafka, upstream_url, Path(folder))
