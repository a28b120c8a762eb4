import ast
import re

import pytest
from conftest import ROOT

from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", RUNBOOK, re.DOTALL)


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
