"""Commands that are the long-running parts, one each."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pipeline.cli.running import stop_on_signals
from pipeline.errors import OperationError
from pipeline.settings import COLLECTOR_NAME, Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command()
@click.option("--exchange", "exchanges", multiple=True, help="Only this one; may be given several times.")
@click.option("--collector", help="Name of this collector, where several collect the same exchange.")
@click.option("--market-data/--no-market-data", default=True, show_default=True, help="Candles, open interest, ...")
@click.option(
    "--symbols",
    help="Contracts or assets, comma separated, whose market data are collected; without: those with liquidations.",
)
@click.pass_obj
def ingest(
    settings: Settings, exchanges: tuple[str, ...], collector: str | None, market_data: bool, symbols: str | None
) -> None:
    """Collect the exchanges' feeds until told to stop, together with any other collectors.

    Every message goes to the topic `frames` as it came, and what it means to the others.
    """
    from pipeline.ingest.collect import live_exchanges, run_ingest
    from pipeline.ingest.exchange_collector import Choice
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of

    lives = live_exchanges(exchanges)
    if collector is not None:
        if re.match(COLLECTOR_NAME, collector) is None:
            raise click.BadParameter(
                "a collector's name has letters, digits, points and dashes", param_hint="--collector"
            )
        settings = settings.model_copy(update={"collector": collector})
    configure_logs(settings)
    names = frozenset(filter(None, (word.strip() for word in (symbols or "").split(","))))
    run_ingest(settings, codec_of(settings), lives, Choice(market_data, names))


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Fold the events topic into bars and coverage, together with any other workers."""
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of
    from pipeline.worker.application import run_worker

    configure_logs(settings)
    run_worker(settings, codec_of(settings))


@click.command()
@click.pass_obj
def sink(settings: Settings) -> None:
    """Copy the topics into ClickHouse, together with any other sinks."""
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of
    from pipeline.warehouse.sink import run_sink

    configure_logs(settings)
    run_sink(settings, codec_of(settings), stop_on_signals())


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("recordings"),
    show_default=True,
    help="Folder of the recorded days; one that was recorded into before is continued.",
)
@click.option("--follow/--until-now", default=True, show_default=True, help="Go on until stopped, or stop at the end.")
@click.option(
    "--from-beginning/--from-now", default=True, show_default=True, help="Where a new folder begins: oldest or next."
)
@click.option(
    "--verify",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Compare the files in DIR with their manifests instead.",
)
@click.pass_obj
def record(settings: Settings, out: Path, follow: bool, from_beginning: bool, verify: Path | None) -> None:
    """Write the frames of the log into daily compressed files, for `replay`.

    Each file has a manifest beside it. May be stopped or killed at any time: started again, it goes on without losing
    or repeating a frame. docs/recordings.md says more.
    """
    if verify is not None:
        _verify(verify)
        return
    from pipeline.ingest.record import run_record
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of

    configure_logs(settings)
    run_record(settings, codec_of(settings), out, stop_on_signals(), until_now=not follow, from_now=not from_beginning)


def _verify(folder: Path) -> None:
    from pipeline.ingest.verify import missing_in, verify_recordings

    wrong = 0
    for verified in verify_recordings(folder):
        wrong += bool(verified.wrong)
        said = verified.wrong or f"{verified.frames:,} frames of {verified.channels} channels"
        click.echo(f"{'WRONG' if verified.wrong else 'right'}  {verified.path.relative_to(folder)}: {said}")
    for partition, begin, end in missing_in(folder):
        click.echo(f"missing  partition {partition}, offsets {begin} to {end - 1}: deleted from the log, or no frames")
    if wrong:
        raise OperationError(f"{wrong} recorded files are not what their manifests say")


COMMANDS = (ingest, worker, sink, record)
