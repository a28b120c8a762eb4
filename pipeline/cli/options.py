"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DATA = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Folder of the embedded ClickHouse and of the logs.",
)
CLICKHOUSE = click.option(
    "--clickhouse", "clickhouse_url", metavar="URL", help="Ask this ClickHouse instead of the embedded one."
)
DATABASE = click.option(
    "--database", metavar="NAME", help="Fill the database NAME (tables in NAME_data) instead of `liquidations`."
)
INSTRUMENTS = click.option(
    "--instruments",
    type=click.File("rb"),
    help="Contracts as JSON lines, one Instrument record each: what needs a contract size is refused without.",
)
UTC_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
