"""The users' rights, enforced by the embedded engine.

The engine can keep no users of its own and knows one: `default`. So the file's grants and limits are given to that one
through a configuration file, in one process per user. What remains unproved here: that a server takes the file's
statements about passwords, which are only parsed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.warehouse.client import WarehouseError
from pipeline.warehouse.migrate import read_migrations
from pipeline.warehouse.users import Passwords, apply_users, user_statements

USERS = ("liquidations_migrate", "liquidations_write", "liquidations_read", "liquidations_grafana")
SECRETS = Passwords(SecretStr("m" * 12), SecretStr("w" * 12), SecretStr("r" * 12), SecretStr("g" * 12))

RUN = """
import json, sys
import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from pipeline.codec import Codec
from pipeline.warehouse import migrate
from unit.warehouse.rows import (
    anomaly, bar, cascade, coverage, dead_letter, liquidation, market_delay, store, tally,
)
path, config, steps, definer = sys.argv[1:]
client = clickhouse_connect.get_client(interface="chdb", path=path, chdb_options={"config-file": config})
command = client.command
client.command = lambda cmd, **named: command(cmd.replace("DEFINER = CURRENT_USER", "DEFINER = " + definer), **named)
told = []
for step in json.loads(steps):
    try:
        if step == "migrate":
            told.append(len(migrate.migrate(client)))
        elif step == "store":
            records = [liquidation(1), bar(), coverage(), tally(), anomaly(), cascade(), market_delay(), dead_letter()]
            told.append(len(store(client, Codec(), records)))
        else:
            told.append(client.query(step).result_rows)
    except Exception as error:
        told.append(str(error))
print(json.dumps(told, default=str))
"""


def grants(user: str) -> list[str]:
    found = []
    for statement in user_statements():
        body = re.sub(r"^--.*$", "", statement, flags=re.MULTILINE).strip()
        granted = re.fullmatch(rf"(GRANT\s.*)\s+TO {user}", body, re.DOTALL)
        if granted:
            found.append(" ".join(granted[1].split()))
    return found


def limits(user: str) -> dict[str, tuple[str, str | None, str | None]]:
    (profile,) = [s for s in user_statements() if f"CREATE SETTINGS PROFILE OR REPLACE {user} " in s]
    body = profile.partition(" SETTINGS\n")[2]
    pattern = r"(\w+) = (\d+)(?: MIN (\d+) MAX (\d+))?"
    return {name: (value, least or None, most or None) for name, value, least, most in re.findall(pattern, body)}


def configuration(folder: Path, default: str | None) -> Path:
    """Write a configuration in which `default` has the rights of one of our users, or all."""

    def user(name: str, of: str | None, profile: str) -> str:
        rights = "<access_management>1</access_management>" if of is None else ""
        if of is not None:
            rights = "<grants>" + "".join(f"<query>{grant}</query>" for grant in grants(of)) + "</grants>"
        networks = "<networks><ip>::/0</ip></networks>"
        return f"<{name}><no_password/>{networks}<profile>{profile}</profile><quota>default</quota>{rights}</{name}>"

    limited = default if default in {"liquidations_read", "liquidations_grafana"} else None
    known = limits(limited or "liquidations_read")
    values = "".join(f"<{name}>{value}</{name}>" for name, (value, _, _) in known.items())
    bounds = "".join(
        f"<{name}><min>{least}</min><max>{most}</max></{name}>" for name, (_, least, most) in known.items() if least
    )
    users = folder / f"users-{default}.xml"
    users.write_text(
        f"<clickhouse><profiles><default/><plain/><read>{values}<constraints>{bounds}</constraints></read></profiles>"
        f"<users>{user('default', default, 'read' if limited else 'plain')}"
        f"{user('liquidations_migrate', 'liquidations_migrate', 'plain')}</users>"
        "<quotas><default/></quotas></clickhouse>"
    )
    config = folder / f"config-{default}.xml"
    config.write_text(
        "<clickhouse><access_control_improvements><table_engines_require_grant>true</table_engines_require_grant>"
        "</access_control_improvements>"
        f"<user_directories><users_xml><path>{users}</path></users_xml></user_directories></clickhouse>"
    )
    return config


def run(folder: Path, default: str | None, steps: list[str], definer: str = "liquidations_migrate") -> list[object]:
    config = configuration(folder, default)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "data"), str(config), json.dumps(steps), definer],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told: list[object] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("users")
    assert run(folder, None, ["migrate", "store"]) == [len(read_migrations()), 0]
    return folder


def test_the_migrating_user_can_migrate_and_no_more(tmp_path):
    told = run(
        tmp_path,
        "liquidations_migrate",
        ["migrate", "SELECT count() FROM liquidations.bars_1h", "CREATE DATABASE other", "CREATE USER someone"],
        definer="CURRENT_USER",
    )

    assert told[:2] == [len(read_migrations()), [[0]]]
    assert "Not enough privileges" in str(told[2])
    assert "Not enough privileges" in str(told[3])


def test_the_reading_user_reads_views_and_nothing_else(data):
    views = ["events", "bars_1m", "bars_5m", "bars_1h", "bars_1d", "bars_filled", "assets", "market"]
    views += ["coverage", "tallies", "anomalies", "cascades", "dead_letters", "market_delay"]
    told = run(data, "liquidations_read", [f"SELECT count() FROM liquidations.{view}" for view in views])  # noqa: S608
    assert told == [[[1]]] * len(views)
    (tables,) = run(data, "liquidations_read", ["SELECT DISTINCT table FROM liquidations.storage ORDER BY table"])
    assert isinstance(tables, list)
    assert {"anomalies", "bars", "events"} <= {table for (table,) in tables}

    refused = run(
        data,
        "liquidations_read",
        [
            "SELECT count() FROM liquidations_data.events",
            "INSERT INTO liquidations_data.bars (symbol) SELECT 'x'",
            "TRUNCATE TABLE liquidations_data.bars",
            "DROP VIEW liquidations.events",
            "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        ],
    )
    for answer in refused:
        assert "Not enough privileges" in str(answer) or "readonly mode" in str(answer), answer


def test_the_reading_user_cannot_lift_its_limits(data):
    told = run(
        data,
        "liquidations_read",
        [
            "SELECT getSetting('readonly'), getSetting('max_execution_time'), getSetting('max_memory_usage')",
            "SELECT 1 SETTINGS max_execution_time = 61",
            "SELECT 1 SETTINGS max_execution_time = 0",
            "SELECT 1 SETTINGS max_memory_usage = 0",
            "SELECT 1 SETTINGS readonly = 0",
            "SELECT 1 SETTINGS max_execution_time = 5, join_use_nulls = 1, readonly = 2",
            "SELECT max(sipHash64(number)) FROM numbers(100000000000) SETTINGS max_execution_time = 1",
        ],
    )

    assert told[0] == [[2, 30, 4_000_000_000]]
    assert [type(answer) for answer in told[1:5]] == [str] * 4
    assert told[5] == [[1]]
    assert "Timeout exceeded" in str(told[6])


def test_grafanas_user_reads_views_and_may_bring_no_setting(data):
    """But one, of which the embedded engine cannot be told: the plugin sends it with every query."""
    assert limits("liquidations_grafana")["readonly"] == ("1", None, None)
    assert "max_execution_time = 30 MIN 1 MAX 60 CHANGEABLE_IN_READONLY" in "".join(user_statements())
    told = run(
        data,
        "liquidations_grafana",
        [
            "SELECT count() FROM liquidations.events",
            "SELECT 1 SETTINGS max_memory_usage = 0",
            "SELECT number FROM numbers(200001)",
            "SELECT count() FROM liquidations_data.events",
            "DROP VIEW liquidations.events",
        ],
    )
    assert told[0] == [[1]]
    assert "readonly" in str(told[1])
    assert "Limit for result exceeded" in str(told[2])
    assert "Not enough privileges" in str(told[3])
    assert "readonly" in str(told[4]) or "Not enough privileges" in str(told[4])


def test_the_writing_user_writes_and_cannot_read(data):
    told = run(
        data,
        "liquidations_write",
        [
            "store",
            "SELECT count() FROM liquidations_data.events",
            "SELECT count() FROM liquidations.events",
            "TRUNCATE TABLE liquidations_data.bars",
            "INSERT INTO liquidations_data.migrations (version) SELECT 1",
        ],
    )

    assert told[0] == 0
    for answer in told[1:]:
        assert "Not enough privileges" in str(answer)


def test_no_password_has_a_default():
    text = "\n".join(user_statements())

    assert text.count("IDENTIFIED") == 8
    assert re.findall(r"BY (\S+)", text) == [
        f"{{{u.removeprefix('liquidations_')}_password:String}}" for u in USERS for _ in "12"
    ]
    with pytest.raises(WarehouseError, match="LIQUIDATIONS_WRITE_PASSWORD must hold a password"):
        Passwords.from_environment({"LIQUIDATIONS_MIGRATE_PASSWORD": "m" * 12, "LIQUIDATIONS_READ_PASSWORD": "r" * 12})
    with pytest.raises(WarehouseError, match="at least 12"):
        Passwords.from_environment({"LIQUIDATIONS_MIGRATE_PASSWORD": "short"})
    assert "mmm" not in repr(SECRETS)


def test_the_embedded_engine_parses_every_statement_and_says_that_it_keeps_no_users(client):
    with pytest.raises(WarehouseError, match="cannot make the users: "):
        apply_users(client, SECRETS)
    for statement in user_statements():
        plain = re.sub(r"\{\w+:String\}", "'a password'", statement)
        formatted = client.query("SELECT formatQuery({statement:String})", parameters={"statement": plain}).first_row
        assert formatted
