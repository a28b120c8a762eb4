"""The same tables and views under another name."""

from __future__ import annotations

import re

import pytest

from pipeline.codec import Codec
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.grouping import targets
from pipeline.warehouse.migrate import migrate, read_migrations, status


@pytest.mark.parametrize(
    ("statement", "rewritten"),
    [
        ("SELECT 1 FROM liquidations_data.bars FINAL", "SELECT 1 FROM other_data.bars FINAL"),
        ("CREATE OR REPLACE VIEW liquidations.bars_1m", "CREATE OR REPLACE VIEW other.bars_1m"),
        ("CREATE DATABASE IF NOT EXISTS liquidations COMMENT 'x'", "CREATE DATABASE IF NOT EXISTS other COMMENT 'x'"),
        ("CREATE DATABASE IF NOT EXISTS liquidations_data C", "CREATE DATABASE IF NOT EXISTS other_data C"),
        (
            "COMMENT 'Sum of all liquidations. See liquidations.'",
            "COMMENT 'Sum of all liquidations. See liquidations.'",
        ),
        ("WHERE database = 'liquidations_data' AND active", "WHERE database = 'other_data' AND active"),
        ("COMMENT 'Distinct liquidations read, late'", "COMMENT 'Distinct liquidations read, late'"),
        ("SELECT my_liquidations.x, a.liquidations.b", "SELECT my_liquidations.x, a.liquidations.b"),
    ],
)
def test_only_the_names_of_databases_are_rewritten(statement, rewritten):
    assert Databases("other").rewrite(statement) == rewritten
    assert Databases().rewrite(statement) == statement


@pytest.mark.parametrize(
    "name", ["", "a b", "a;b", "a`", "A", "1a", "a.b", "default", "system", "x_data", "é", "a" * 49, "a\n"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(WarehouseError, match="cannot be the name of a database"):
        Databases(name)


def test_no_migration_names_the_usual_databases_after_rewriting():
    for migration in read_migrations():
        for statement in migration.statements:
            code = re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", statement))
            assert "liquidations" not in Databases("other").rewrite(code), migration.file_name


def test_two_sets_beside_each_other(tmp_path):
    client = connect(f"chdb://{tmp_path}")
    try:
        other = Databases("other")
        migrate(client, databases=other)
        found = {name for (name,) in client.query("SELECT name FROM system.databases").result_rows}
        assert {"other", "other_data"} <= found
        assert not {"liquidations", "liquidations_data"} & found
        assert status(client).pending == read_migrations()
        assert migrate(client, databases=other) == []
        migrate(client)
        shapes = [
            client.query(
                "SELECT table, name, type FROM system.columns WHERE database = {name:String} ORDER BY ALL",
                parameters={"name": name},
            ).result_rows
            for name in ("liquidations", "other", "liquidations_data", "other_data")
        ]
        assert shapes[0] == shapes[1]
        assert shapes[2] == shapes[3]
        assert client.query(
            "SELECT count() FROM system.tables WHERE startsWith(database, 'other')"
            " AND (match(as_select, 'liquidations(_data)?[.]') OR match(create_table_query, ' TO liquidations'))"
        ).result_rows == [(0,)]
    finally:
        client.close()


def test_the_sink_writes_where_it_is_told():
    entrances = {target.entrance for target in targets(Codec(), "other_data").values() if target is not None}
    assert {name.partition(".")[0] for name in entrances} == {"other_data"}
