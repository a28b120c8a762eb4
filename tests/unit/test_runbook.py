import ast
import re
from xml.etree import ElementTree as ET

import clickhouse_connect
import pytest
from conftest import ROOT

from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", RUNBOOK, re.DOTALL)
CLICKHOUSE_CONFIG = ROOT / "infra" / "clickhouse" / "config.d" / "liquidations.xml"


def logged_events():
    """Return the names of all log lines above debug."""
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
                and node.func.attr != "debug"
            ):
                yield node.args[0].value


def test_every_log_line_is_explained_and_none_that_is_not_written():
    section = RUNBOOK.partition("## Log lines")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    explained = {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert explained == set(logged_events())


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_queries_run(tmp_path, number):
    client = connect(f"chdb://{tmp_path}/clickhouse")
    try:
        migrate(client)
        run_query(client, QUERIES[number], "JSONEachRow")
    finally:
        client.close()


def test_what_was_backed_up_can_be_brought_back(tmp_path):
    """With the embedded engine, which takes the server's setting of where backups may lie."""
    backup, restore = re.findall(r'"((?:BACKUP|RESTORE) .*?)"', RUNBOOK)
    allowed = ET.parse(CLICKHOUSE_CONFIG).find("backups/allowed_path")  # noqa: S314 - our own file
    assert allowed.text == "/var/lib/clickhouse/backups/"
    config = tmp_path / "config.xml"
    config.write_text(f"<clickhouse><backups><allowed_path>{tmp_path}/backups/</allowed_path></backups></clickhouse>")
    client = clickhouse_connect.get_client(interface="chdb", path=f"{tmp_path}/clickhouse?config-file={config}")
    try:
        migrate(client)
        client.command(
            "INSERT INTO liquidations_data.coverage (exchange, channel, start, alive_ms)"
            " VALUES ('binance', 'forceOrder', now(), 60000)"
        )
        before = client.query("SELECT * FROM liquidations.coverage").result_rows
        client.command(backup)
        client.command("DROP DATABASE liquidations")
        client.command("DROP DATABASE liquidations_data")
        client.command(restore)
        assert len(before) == 1
        assert client.query("SELECT * FROM liquidations.coverage").result_rows == before
        assert not migrate(client)
    finally:
        client.close()
