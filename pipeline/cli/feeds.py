"""Commands about the exchanges' feeds: what they show, and what their messages mean."""

from __future__ import annotations

import json

import click
from rich.console import Console

from pipeline.cli.options import INSTRUMENTS
from pipeline.cli.running import contracts_of

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command(name="map")
@click.argument("exchange")
@click.argument("file", type=click.File("rb"), default="-")
@INSTRUMENTS
def map_command(exchange: str, file: click.utils.LazyFile, instruments: click.utils.LazyFile | None) -> None:
    """Map messages of EXCHANGE to events, one JSON document a line.

    FILE (default: standard input) holds frames or bare messages as the exchange sent them, one JSON document a line.
    What is refused comes out as {"error": reason, "message": ...}.
    """
    from pipeline.feeds import feed_of
    from pipeline.feeds.map_lines import map_lines

    feed_of(exchange)
    for line in map_lines(exchange, file, contracts_of(instruments)):
        click.echo(line)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for each exchange, with all rules.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "markdown"]),
    default="table",
    show_default=True,
    help="`markdown` is the page docs/mapping_rules.md.",
)
def feeds(as_json: bool, output_format: str) -> None:
    """List the exchanges: markets, completeness, kind of price, delay, since when, caveats."""
    from pipeline.feeds.listing import as_documents, as_markdown

    if as_json:
        for document in as_documents():
            click.echo(json.dumps(document))
    elif output_format == "markdown":
        click.echo(as_markdown(), nl=False)
    else:
        _show_feeds()


def _show_feeds() -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipeline.feeds.listing import positions_proved, served
    from pipeline.feeds.unserved import UNSERVED

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("exchange", "shows", "price"):
        table.add_column(heading, no_wrap=True)
    for heading in ("since", "delay", "markets"):
        table.add_column(heading)
    for exchange, facts in served().items():
        cells = (facts.completeness, facts.price_kind, facts.since, facts.delay, "; ".join(facts.markets))
        table.add_row(exchange, *map(Text, cells))
    console.print(table)
    console.print("\nCaveats", style="bold")
    for exchange, facts in served().items():
        unproved = () if positions_proved(facts) else ("Which position was closed is not proved.",)
        for caveat in (*unproved, *facts.caveats):
            console.print(Padding(Text(f"{exchange}: {caveat}"), (0, 0, 0, 2)))
    console.print("\nNo feed", style="bold")
    for exchange, why in UNSERVED.items():
        console.print(Padding(Text(f"{exchange}: {why.reason}"), (0, 0, 0, 2)))


COMMANDS = (map_command, feeds)
