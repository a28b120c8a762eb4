"""The command that writes the panels into one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline.cli.asking import asking
from pipeline.cli.options import CLICKHOUSE, DATA, UTC_TIME
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command(name="report")
@DATA
@CLICKHOUSE
@click.option("--from", "begin", type=UTC_TIME, metavar="TIME", help="Since then (2026-11-24T13:00), UTC.")
@click.option("--to", "end", type=UTC_TIME, metavar="TIME", help="Until then, UTC; without: the end of the data.")
@click.option("--asset", help="Of this asset only.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.pass_obj
def report_command(
    settings: Settings,
    data: Path,
    clickhouse_url: str | None,
    begin: datetime | None,
    end: datetime | None,
    asset: str | None,
    out: Path,
) -> None:
    """Write the panels of all dashboards into one HTML file, for people without Grafana.

    Without times it shows the last day of the data. The file works offline, on a phone and on paper.
    """
    from pipeline.grafana.report.report import Wanted
    from pipeline.grafana.report.writing import write_report

    wanted = Wanted(_ms(begin), _ms(end), asset)
    with asking(settings, data, clickhouse_url) as asked:
        write_report(lambda sql: asked(sql, "JSONCompact"), wanted, settings, out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp() * 1_000)


COMMANDS = (report_command,)
