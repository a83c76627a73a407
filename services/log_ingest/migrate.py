"""Bring the store's schema to the newest version, and its retention to the settings."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from services.log_ingest.store.port import LogStore
from shared.errors import ConfigurationError

_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_BODY_COLUMNS = ("request", "response", "prompt_text", "answer_text")

_CREATE_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations
(number UInt32, name String, checksum String, applied_at DateTime('UTC') DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements, without comments. A semicolon at the end of a line ends one."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return [part.strip() for part in re.split(r";\s*(?:\n|$)", code) if part.strip()]


def shipped_migrations() -> list[Migration]:
    """The migrations of this version, in order."""
    found = []
    for entry in resources.files("services.log_ingest.migrations").iterdir():
        if match := _NAME.match(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text()))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(store: LogStore) -> list[str]:
    """Apply what is missing; the names of what was applied. Safe when several replicas start at once.

    Raises ConfigurationError when an applied file was changed since, or the store is newer than this program.
    """
    await store.command(_CREATE_APPLIED)
    rows = await store.query("SELECT number, name, checksum FROM schema_migrations FINAL")
    applied = {int(row["number"]): row for row in rows}
    shipped = shipped_migrations()
    _check_history(applied.keys() - {migration.number for migration in shipped})
    done = []
    for migration in shipped:
        known = applied.get(migration.number)
        if known is None:
            await _apply(store, migration)
            done.append(migration.name)
        elif known["checksum"] != migration.checksum:
            raise ConfigurationError(
                f"Migration {migration.number:04d}_{migration.name} was applied to database {store.database} "
                "with other content; migrations must never be edited, add a new one."
            )
    return done


def _check_history(unknown: set[int]) -> None:
    if unknown:
        raise ConfigurationError(
            f"The log store has migration {max(unknown):04d}, which this version does not know; run a newer version."
        )


async def _apply(store: LogStore, migration: Migration) -> None:
    for statement in migration.statements:
        await store.command(statement)
    await store.insert(
        "schema_migrations",
        {"number": [migration.number], "name": [migration.name], "checksum": [migration.checksum]},
        token=f"migration-{migration.number}-{migration.checksum}",
    )


async def apply_retention(store: LogStore, *, bodies_days: int, rows_days: int) -> bool:
    """Make the table's TTLs what the settings say; whether anything had to change.

    Metadata only: parts written before keep their old deadline until they are merged.
    """
    rows = await store.query(
        "SELECT create_table_query AS ddl FROM system.tables WHERE database = {db:String} AND name = 'request_logs'",
        {"db": store.database},
    )
    ddl = str(rows[0]["ddl"])
    wanted_row_ttl = f"TTL toDateTime(started_at) + toIntervalDay({rows_days}) SETTINGS"
    wanted_body_ttl = f"TTL toDateTime(started_at) + toIntervalDay({bodies_days}),"
    changes = []
    if wanted_row_ttl not in " ".join(ddl.split()):
        changes.append(f"MODIFY TTL toDateTime(started_at) + INTERVAL {rows_days} DAY")
    if ddl.count(wanted_body_ttl) != len(_BODY_COLUMNS):
        changes += [
            f"MODIFY COLUMN {name} String CODEC(ZSTD(3)) TTL toDateTime(started_at) + INTERVAL {bodies_days} DAY"
            for name in _BODY_COLUMNS
        ]
    for change in changes:
        await store.command(f"ALTER TABLE request_logs {change} SETTINGS materialize_ttl_after_modify = 0")
    return bool(changes)
