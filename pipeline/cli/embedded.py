"""Commands that run the whole pipeline on this machine, and the simulated market."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.cli.options import DATA, DATABASE, INSTRUMENTS
from pipeline.cli.running import contracts_of, quiet
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command()
@DATA
@click.option("--seed", default=7, show_default=True, help="Another seed is another market.")
@click.option("--hours", default=6.0, show_default=True, type=click.FloatRange(0.1, 48.0), help="How much market.")
@click.pass_obj
def demo(settings: Settings, data: Path, seed: int, hours: float) -> None:
    """Send a simulated market through the whole embedded pipeline and show what is found.

    Needs no server: broker, worker, sink and ClickHouse run on this machine, on loopback only, and stop at the end.
    The rows stay in the data folder.
    """
    from pipeline.embedded.demo import run_demo

    quiet(settings)
    run_demo(settings, data, seed, hours)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@DATA
@INSTRUMENTS
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object, and nothing else.")
@click.option("--bootstrap-servers", help="Use this Kafka instead of the embedded broker.")
@click.option("--clickhouse", "clickhouse_url", metavar="URL", help="Use this ClickHouse instead of the embedded one.")
@DATABASE
@click.pass_obj
def replay(
    settings: Settings,
    paths: tuple[Path, ...],
    data: Path,
    instruments: click.utils.LazyFile | None,
    as_json: bool,
    bootstrap_servers: str | None,
    clickhouse_url: str | None,
    database: str | None,
) -> None:
    """Send recordings through the whole pipeline.

    PATHS are files or folders: our own frames as JSON lines, or archives in a known format, plain, gzip or zstd. The
    same mapping, topics, worker and sink serve a live market. Recordings of one market belong into one call, so that
    bars which both touch are made of both.
    """
    from pipeline.embedded.pipeline import Servers
    from pipeline.embedded.replay_command import run_replay

    quiet(settings)
    contracts = contracts_of(instruments)
    servers = Servers(bootstrap_servers, clickhouse_url, database)
    totals = run_replay(paths, contracts, settings, data, servers, show=not as_json)
    if as_json:
        click.echo(json.dumps(asdict(totals)))


@click.command()
@DATA
@click.option("--exchange", "exchanges", multiple=True, help="Only this one; may be given several times.")
@click.option("--market-data/--no-market-data", default=True, show_default=True, help="Candles, open interest, ...")
@click.option("--symbols", help="Contracts or assets, comma separated, whose market data are collected.")
@click.option("--simulated", is_flag=True, help="Collect from simulated exchanges on loopback, not from the real ones.")
@click.option("--seed", default=7, show_default=True, help="Of the simulated market.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 1000.0), help="Of it, too.")
@click.option("--fault", "faults", multiple=True, metavar="KIND[:EXCHANGE[:AFTER_S[:FOR_S]]]", help="As in `simulate`.")
@click.pass_obj
def up(
    settings: Settings,
    data: Path,
    exchanges: tuple[str, ...],
    market_data: bool,
    symbols: str | None,
    simulated: bool,
    seed: int,
    speed: float,
    faults: tuple[str, ...],
) -> None:
    """Collect, fold and store, everything embedded, until Ctrl-C.

    Broker, worker, sink and ClickHouse run on this machine, on loopback only. `liquidations sql` answers meanwhile.
    """
    from pipeline.embedded.exchange_server import EXCHANGES, fault_of
    from pipeline.embedded.up import Simulated, run_up

    quiet(settings)
    for text in faults:
        fault_of(text, EXCHANGES)
    words = [word for name in exchanges for word in ("--exchange", name)]
    words += [] if market_data else ["--no-market-data"]
    words += [] if symbols is None else ["--symbols", symbols]
    serving = ["--seed", str(seed), "--speed", str(speed), *(word for text in faults for word in ("--fault", text))]
    run_up(settings, data, words, Simulated(serving) if simulated else None, click.echo)


@click.command()
@click.option("--seed", default=7, show_default=True)
@click.option("--hours", default=6.0, show_default=True, type=click.FloatRange(0.01, 48.0))
@click.option(
    "--scenario",
    type=click.Choice(["calm", "stress", "crash"]),
    help="A market of leveraged traders instead, whose cascades emerge: a week or a day of six exchanges.",
)
@click.option("--list-instruments", is_flag=True, help="Print the contracts instead, for `replay --instruments`.")
@click.option("--serve", is_flag=True, help="Be seven exchanges on loopback, in their own protocols, until stopped.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 1000.0), help="Market per time.")
@click.option("--traps", default=30.0, show_default=True, type=click.FloatRange(0), help="Broken messages an hour.")
@click.option("--fault", "faults", multiple=True, metavar="KIND[:EXCHANGE[:AFTER_S[:FOR_S]]]", help="What goes wrong.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Write what was really sent or true, as JSON lines.")
@click.option("--write-settings", "settings_path", type=click.Path(path_type=Path), help="Settings for `ingest`.")
def simulate(
    seed: int,
    hours: float,
    scenario: str | None,
    list_instruments: bool,
    serve: bool,
    speed: float,
    traps: float,
    faults: tuple[str, ...],
    ledger: Path | None,
    settings_path: Path | None,
) -> None:
    """Print a simulated market as a recording: frames, one JSON document a line.

    With --serve it is a market now, over sockets, for as many hours and then anew. --speed, --traps, --fault,
    --ledger and --write-settings are for it; docs/simulator.md lists the faults.

    With --scenario it is one of the markets on which detection is scored; --ledger writes what was true in it.
    """
    from pipeline.embedded.simulator import instruments, simulate
    from pipeline.feeds.frame_lines import line_of_frame

    if serve:
        from pipeline.embedded.exchange_server import EXCHANGES, Play, fault_of
        from pipeline.embedded.exchange_server.serving import serve as serve_exchanges

        play = Play(seed, speed, hours, traps, tuple(fault_of(text, EXCHANGES) for text in faults))
        serve_exchanges(play, ledger, settings_path, click.echo)
        return
    if scenario is not None:
        from pipeline.embedded.scenario_recording import contract_lines, write_recording

        if list_instruments:
            sys.stdout.buffer.writelines(contract_lines())
        else:
            write_recording(scenario, seed, sys.stdout.buffer, ledger)
        return
    if list_instruments:
        for instrument in instruments():
            click.echo(json.dumps(asdict(instrument)))
        return
    for frame in simulate(seed, hours):
        sys.stdout.buffer.write(line_of_frame(frame))


COMMANDS = (demo, replay, up, simulate)
