"""Apply the numbered SQL files of `infra/clickhouse/migrations`, each once and in order.

A file is `NNNN_name.sql`, numbered from 0001 without gaps. Its statements are separated by a line that reads exactly
`-- next statement`; nothing else separates, so that text and comments may hold what they like. ClickHouse has no
transactions over definitions: a file that failed half way is applied again from its start, so each statement must be
one that may be repeated (`IF NOT EXISTS`, `OR REPLACE`). A file that was applied is never edited; a change is a new
file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.locations import INFRA
from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.databases import Databases

MIGRATIONS = INFRA / "clickhouse" / "migrations"
SEPARATOR = "-- next statement"

_USUAL = Databases()
_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_RECORD = (
    "CREATE DATABASE IF NOT EXISTS liquidations_data COMMENT 'Tables as inserted; users read liquidations.'",
    """
    CREATE TABLE IF NOT EXISTS liquidations_data.migrations
    (
        version UInt32 COMMENT 'Number of the file.',
        name String COMMENT 'Name of the file behind the number.',
        sha256 FixedString(64) COMMENT 'Of the bytes of the file, in hex.',
        applied_time DateTime64(3, 'UTC') COMMENT 'When it was applied.'
    )
    ENGINE = ReplacingMergeTree(applied_time)
    ORDER BY version
    COMMENT 'Which migrations were applied.'
    """,
)


class MigrationError(WarehouseError):
    """The files and the record of what was applied do not fit, or ClickHouse refused a statement."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, the SHA-256 of its bytes in hex, its statements."""

    version: int
    name: str
    sha256: str
    statements: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Return `NNNN_name.sql`."""
        return f"{self.version:04d}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Applied:
    """What the database remembers of one migration."""

    version: int
    name: str
    sha256: str
    applied_time: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What was applied, and what waits."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]


def read_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Read the files in order. Raise `MigrationError` for a wrong name, a number twice or a gap."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        named = _FILE_NAME.fullmatch(path.name)
        if named is None:
            raise MigrationError(f"{path.name} is no migration: the name must be NNNN_name.sql, in lower case")
        content = path.read_bytes()
        found.append(Migration(int(named[1]), named[2], hashlib.sha256(content).hexdigest(), split(content.decode())))
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"the migration after {expected - 1:04d} must be {expected:04d}, not {migration.file_name}"
            )
    return tuple(found)


def split(text: str) -> tuple[str, ...]:
    """Return the statements of a file, which are separated by `-- next statement` alone on a line."""
    parts = re.split(rf"^{re.escape(SEPARATOR)}\s*$", text, flags=re.MULTILINE)
    return tuple(part.strip() for part in parts if part.strip())


def pending(migrations: Sequence[Migration], applied: Sequence[Applied]) -> tuple[Migration, ...]:
    """Return the migrations that wait.

    Raise `MigrationError` if one that was applied is missing, was edited or renamed, or if one that waits has a lower
    number than one that was applied.
    """
    by_version = {migration.version: migration for migration in migrations}
    for done in sorted(applied, key=lambda a: a.version):
        migration = by_version.get(done.version)
        label = f"{done.version:04d}_{done.name}.sql"
        if migration is None:
            raise MigrationError(
                f"{label} was applied, but its file is missing: is this an older version of the program?"
            )
        if migration.name != done.name:
            raise MigrationError(f"{label} was applied, but number {done.version:04d} is now {migration.file_name}")
        if migration.sha256 != done.sha256:
            raise MigrationError(
                f"{label} was edited after it was applied: restore it and put the change into a new file"
            )
    versions = {done.version for done in applied}
    last = max(versions, default=0)
    waiting = tuple(migration for migration in migrations if migration.version not in versions)
    if waiting and waiting[0].version < last:
        raise MigrationError(f"{waiting[0].file_name} comes before {last:04d}, which was applied: give it a new number")
    return waiting


def status(client: Client, folder: Path = MIGRATIONS, databases: Databases = _USUAL) -> Status:
    """Return what was applied to `databases` and what waits, without changing anything."""
    applied = _applied(client, databases)
    return Status(applied, pending(read_migrations(folder), applied))


def migrate(client: Client, folder: Path = MIGRATIONS, databases: Databases = _USUAL) -> list[Applied]:
    """Apply what waits to `databases` and return it; when nothing waits, change nothing and return an empty list."""
    waiting = status(client, folder, databases).pending
    if not waiting:
        return []
    _command(client, databases.rewrite(_RECORD[0]), "the database of the tables")
    _command(client, databases.rewrite(_RECORD[1]), "the record of migrations")
    done = []
    for migration in waiting:
        for number, statement in enumerate(migration.statements, start=1):
            _command(client, databases.rewrite(statement), f"{migration.file_name}, statement {number}")
        entry = Applied(migration.version, migration.name, migration.sha256, datetime.now(UTC))
        client.insert(
            f"{databases.tables}.migrations",
            [[entry.version, entry.name, entry.sha256, entry.applied_time]],
            column_names=["version", "name", "sha256", "applied_time"],
            settings={"async_insert": 0},
        )
        done.append(entry)
    return done


def _applied(client: Client, databases: Databases) -> tuple[Applied, ...]:
    exists = client.query(
        "SELECT count() FROM system.tables WHERE database = {tables:String} AND name = 'migrations'",
        parameters={"tables": databases.tables},
    ).result_rows[0][0]
    if not exists:
        return ()
    rows = client.query(
        databases.rewrite(
            "SELECT version, name, sha256, applied_time FROM liquidations_data.migrations FINAL ORDER BY version"
        )
    ).result_rows
    return tuple(
        Applied(version, name, sha256.decode() if isinstance(sha256, bytes) else sha256, applied_time)
        for version, name, sha256, applied_time in rows
    )


def _command(client: Client, statement: str, label: str) -> None:
    try:
        client.command(statement)
    except ClickHouseError as error:
        raise MigrationError(f"ClickHouse refuses {label}: {short_message(error)}") from error
