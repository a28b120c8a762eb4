from __future__ import annotations

import shutil

import pytest

from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import (
    MIGRATIONS,
    MigrationError,
    migrate,
    read_migrations,
    split,
    status,
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "migrations"
    path.mkdir()
    (path / "0001_first.sql").write_text("CREATE DATABASE IF NOT EXISTS one")
    (path / "0002_second.sql").write_text(
        "-- a comment; with a semicolon\nCREATE TABLE IF NOT EXISTS one.t (a String DEFAULT ';')"
        " ENGINE = MergeTree ORDER BY a COMMENT 'it''s; fine'\n-- next statement\nINSERT INTO one.t VALUES ('x;y')\n"
    )
    return path


@pytest.fixture
def empty(tmp_path):
    client = connect(f"chdb://{tmp_path / 'data'}")
    yield client
    client.close()


def test_files_are_applied_once_and_in_order(empty, folder):
    assert [m.file_name for m in status(empty, folder).pending] == ["0001_first.sql", "0002_second.sql"]

    assert [applied.name for applied in migrate(empty, folder)] == ["first", "second"]
    assert migrate(empty, folder) == []
    (folder / "0003_third.sql").write_text("INSERT INTO one.t VALUES ('z')")
    assert [applied.name for applied in migrate(empty, folder)] == ["third"]

    assert empty.query("SELECT a FROM one.t ORDER BY a").result_rows == [("x;y",), ("z",)]
    found = status(empty, folder)
    assert [applied.version for applied in found.applied] == [1, 2, 3]
    assert found.pending == ()


def test_the_record_outlives_the_connection(empty, folder, tmp_path):
    migrate(empty, folder)
    empty.close()
    again = connect(f"chdb://{tmp_path / 'data'}")
    assert migrate(again, folder) == []
    again.close()


def test_an_edited_file_is_refused(empty, folder):
    migrate(empty, folder)
    (folder / "0001_first.sql").write_text("CREATE DATABASE IF NOT EXISTS one ")

    with pytest.raises(MigrationError, match=r"0001_first.sql was edited after it was applied"):
        migrate(empty, folder)


def test_a_missing_file_is_refused(empty, folder):
    migrate(empty, folder)
    (folder / "0002_second.sql").unlink()

    with pytest.raises(MigrationError, match=r"0002_second.sql was applied, but its file is missing"):
        migrate(empty, folder)


def test_exchanged_numbers_are_refused(empty, folder):
    migrate(empty, folder)
    (folder / "0001_first.sql").rename(folder / "x")
    (folder / "0002_second.sql").rename(folder / "0001_second.sql")
    (folder / "x").rename(folder / "0002_first.sql")

    with pytest.raises(MigrationError, match=r"0001_first.sql was applied, but number 0001 is now 0001_second.sql"):
        migrate(empty, folder)


def test_a_file_before_applied_ones_is_refused(empty, folder):
    migrate(empty, folder)
    empty.command("ALTER TABLE liquidations_data.migrations DELETE WHERE version = 1 SETTINGS mutations_sync = 2")

    with pytest.raises(MigrationError, match=r"0001_first.sql comes before 0002"):
        migrate(empty, folder)


@pytest.mark.parametrize(
    "name", ["3_third.sql", "0003-third.sql", "0003_Third.sql", "0004_third.sql", "0002_third.sql"]
)
def test_wrong_names_gaps_and_doubles_are_refused(folder, name):
    (folder / name).write_text("SELECT 1")

    with pytest.raises(MigrationError, match=name):
        read_migrations(folder)


def test_a_statement_that_fails_is_named_and_can_be_tried_again(empty, folder):
    (folder / "0003_third.sql").write_text("INSERT INTO one.t VALUES ('a')\n-- next statement\nDROP TABLE one.nosuch")
    with pytest.raises(MigrationError, match=r"refuses 0003_third.sql, statement 2: .*nosuch"):
        migrate(empty, folder)
    assert [m.version for m in status(empty, folder).pending] == [3]

    (folder / "0003_third.sql").write_text("INSERT INTO one.t VALUES ('a')")
    assert [applied.version for applied in migrate(empty, folder)] == [3]


def test_only_the_separator_alone_on_its_line_separates():
    text = "SELECT '\n -- next statement; '\n-- next statement \nSELECT 2\n-- next statement\n\n"

    assert split(text) == ("SELECT '\n -- next statement; '", "SELECT 2")


def test_our_own_migrations_can_be_applied_twice(empty):
    migrate(empty)
    empty.command("TRUNCATE TABLE liquidations_data.migrations")

    assert len(migrate(empty)) == len(read_migrations())


def test_every_table_view_and_column_has_a_comment(empty):
    migrate(empty)

    without = empty.query(
        "SELECT database, name, '' FROM system.tables WHERE startsWith(database, 'liquidations') AND comment = ''"
        " UNION ALL SELECT database, table, name FROM system.columns"
        " WHERE startsWith(database, 'liquidations') AND comment = '' AND table NOT IN"
        " (SELECT name FROM system.tables WHERE engine = 'MaterializedView')"
    ).result_rows

    assert without == []


def test_what_is_a_day_old_is_merged_in_every_table_that_is_divided_by_months(empty):
    """But small ones: their months are a few rows."""
    migrate(empty)

    rest = empty.query(
        "SELECT name FROM system.tables WHERE database = 'liquidations_data' AND partition_key LIKE 'toYYYYMM%'"
        " AND engine_full NOT LIKE '%min_age_to_force_merge_seconds = 86400%' ORDER BY name"
    ).result_rows

    assert [name for (name,) in rest] == ["arrivals", "dead_letters", "market_delays", "silences", "subscriptions"]


def test_migrations_are_read_from_a_copy_as_from_the_checkout(tmp_path):
    shutil.copytree(MIGRATIONS, tmp_path / "copy")

    assert read_migrations(tmp_path / "copy") == read_migrations()
