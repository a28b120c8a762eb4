"""Commands that read what is stored."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.asking import asking
from pipeline.cli.options import CLICKHOUSE, DATA, UTC_TIME
from pipeline.cli.running import login
from pipeline.errors import OperationError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.warehouse.compare import Comparison

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command()
@click.argument("query")
@DATA
@click.option("--format", "output_format", default="PrettyCompact", show_default=True, help="Any format of ClickHouse.")
@CLICKHOUSE
@click.pass_obj
def sql(settings: Settings, query: str, data: Path, output_format: str, clickhouse_url: str | None) -> None:
    """Run QUERY, read-only, on the database `liquidations`.

    docs/tables.md lists the views. Example: liquidations sql "SELECT * FROM bars_1m ORDER BY long_usd DESC LIMIT 5"
    """
    with asking(settings, data, clickhouse_url) as asked:
        answer = asked(query, output_format)
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


@click.command(name="compare")
@click.argument("first")
@click.argument("second")
@DATA
@CLICKHOUSE
@click.option(
    "--from", "begin", type=UTC_TIME, metavar="TIME", help="Only rows from then on (2026-11-24T13:00:00), UTC."
)
@click.option("--to", "end", type=UTC_TIME, metavar="TIME", help="Only rows before then, UTC.")
@click.option("--show", default=3, show_default=True, type=click.IntRange(0, 1000), help="Rows shown of each table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def compare_command(
    settings: Settings,
    first: str,
    second: str,
    data: Path,
    clickhouse_url: str | None,
    begin: datetime | None,
    end: datetime | None,
    show: int,
    as_json: bool,
) -> None:
    """Show how the tables of the databases FIRST and SECOND differ; exit code 1 if they do.

    Every row is compared with all that is stored of it. A replay of a recording into another database has the rows that
    were made live: liquidations compare liquidations replayed
    """
    from pipeline.embedded.pipeline import clickhouse_folder
    from pipeline.warehouse.client import connect
    from pipeline.warehouse.compare import Span, compare
    from pipeline.warehouse.databases import Databases

    a, b = Databases(first), Databases(second)
    client = connect(clickhouse_url or clickhouse_folder(data), *login(settings))
    try:
        comparison = compare(client, a, b, Span(begin, end), show)
    finally:
        client.close()
    if as_json:
        click.echo(json.dumps(asdict(comparison)))
    else:
        _show_comparison(comparison, first, second)
    if not comparison.is_equal:
        raise OperationError(f"{first} and {second} differ")


def _show_comparison(comparison: Comparison, first: str, second: str) -> None:
    click.echo(f"{'table':20} {'only ' + first:>18} {'only ' + second:>18} {'different':>12} {'equal':>14}")
    for table in comparison.tables:
        click.echo(
            f"{table.table:20} {table.only_a:>18,} {table.only_b:>18,} {table.different:>12,} {table.equal:>14,}"
        )
    for name in comparison.left_out:
        click.echo(f"{name:20} left out: its rows have no time")
    for table in comparison.tables:
        for row in table.first:
            click.echo(f"\n{table.table}: " + ", ".join(f"{name}={value}" for name, value in row.key.items()))
            for name, (in_a, in_b) in row.values.items():
                click.echo(f"    {name}: {'-' if in_a is None else in_a} | {'-' if in_b is None else in_b}")


COMMANDS = (sql, compare_command)
