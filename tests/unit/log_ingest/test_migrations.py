"""The rules that every migration file keeps."""

import re

from services.log_ingest.migrate import shipped_migrations
from services.log_ingest.rows import LogRow
from services.log_ingest.search import indexed

_REPEATABLE = re.compile(
    r"^(CREATE (TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS|CREATE OR REPLACE|ALTER TABLE)\b"
)


def test_they_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in shipped_migrations()] == list(
        range(1, len(shipped_migrations()) + 1)
    )


def test_each_says_why_and_what_it_costs() -> None:
    for migration in shipped_migrations():
        first, second = migration.sql.splitlines()[:2]
        assert first.startswith("-- Why:")
        assert second.startswith("-- Cost:")


def test_every_statement_can_run_twice_because_replicas_start_together() -> None:
    for migration in shipped_migrations():
        assert migration.statements
        for statement in migration.statements:
            assert _REPEATABLE.match(statement), statement
            if statement.startswith("ALTER TABLE"):
                assert "IF NOT EXISTS" in statement or "IF EXISTS" in statement or "MODIFY" in statement


def test_the_search_asks_for_what_is_indexed() -> None:
    schema = "\n".join(migration.sql for migration in shipped_migrations())

    assert all(indexed(column) in schema for column in ("prompt_text", "answer_text"))


def test_every_column_of_a_row_is_in_the_schema() -> None:
    schema = "\n".join(migration.sql for migration in shipped_migrations())

    columns = set(re.findall(r"^\s+(?:ADD COLUMN IF NOT EXISTS )?(\w+) +\w", schema, re.MULTILINE))
    assert [name for name in LogRow._fields if name not in columns] == []
