"""The command that shows the last minutes in the terminal."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from pipeline.cli.asking import asking
from pipeline.cli.options import CLICKHOUSE, DATA
from pipeline.cli.top_picture import WIDTH, picture
from pipeline.settings import Settings


@click.command()
@DATA
@CLICKHOUSE
@click.option("--minutes", default=15, show_default=True, type=click.IntRange(1, 1440), help="How far to look back.")
@click.option("--every", "every_s", default=2.0, show_default=True, type=click.FloatRange(0.5), help="Seconds between.")
@click.option("--once", is_flag=True, help="Print one picture and end.")
@click.pass_obj
def top(settings: Settings, data: Path, clickhouse_url: str | None, minutes: int, every_s: float, once: bool) -> None:
    """Show the last minutes, live: largest events, bars, open anomalies, coverage. Ctrl-C ends it.

    The last minutes are those before the end of the data, which may be long ago: the first line says so.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    with asking(settings, data, clickhouse_url) as asked:
        if once:
            console.print(picture(asked, minutes))
            return
        with Live(picture(asked, minutes), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(picture(asked, minutes), refresh=True)


COMMANDS = (top,)
