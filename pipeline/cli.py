"""The command line: read settings, call one function, turn errors into one line and an exit code."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.console import Console

from pipeline.errors import OperationError
from pipeline.feeds.feed import Instruments
from pipeline.settings import COLLECTOR_NAME, Settings, read_settings

if TYPE_CHECKING:
    from pipeline.warehouse.compare import Comparison

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415

_DATA = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Folder of the embedded ClickHouse and of the logs.",
)
_UTC = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
_DATABASE = click.option(
    "--database", metavar="NAME", help="Fill the database NAME (tables in NAME_data) instead of `liquidations`."
)
_INSTRUMENTS = click.option(
    "--instruments",
    type=click.File("rb"),
    help="Contracts as JSON lines, one Instrument record each: what needs a contract size is refused without.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), envvar="LIQUIDATIONS_CONFIG", help="Settings in TOML.")
@click.version_option(package_name="liquidation-pipeline")
@click.pass_context
def commands(context: click.Context, config: Path | None) -> None:
    """Crypto liquidations as exact, complete and reproducible data.

    Start with `liquidations demo`. Settings come from the environment (LIQUIDATIONS_BOOTSTRAP_SERVERS, ...) or from a
    TOML file; `liquidations settings` lists them.
    """
    context.obj = read_settings(config)


@commands.command()
@_DATA
@click.option("--seed", default=7, show_default=True, help="Another seed is another market.")
@click.option("--hours", default=6.0, show_default=True, type=click.FloatRange(0.1, 48.0), help="How much market.")
@click.pass_obj
def demo(settings: Settings, data: Path, seed: int, hours: float) -> None:
    """Send a simulated market through the whole embedded pipeline and show what is found.

    Needs no server: broker, worker, sink and ClickHouse run on this machine, on loopback only, and stop at the end.
    The rows stay in the data folder.
    """
    from pipeline.embedded.demo import run_demo

    _quiet(settings)
    run_demo(settings, data, seed, hours)


@commands.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_DATA
@_INSTRUMENTS
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object, and nothing else.")
@click.option("--bootstrap-servers", help="Use this Kafka instead of the embedded broker.")
@click.option("--clickhouse", "clickhouse_url", metavar="URL", help="Use this ClickHouse instead of the embedded one.")
@_DATABASE
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

    _quiet(settings)
    contracts = _read_instruments(instruments)
    servers = Servers(bootstrap_servers, clickhouse_url, database)
    totals = run_replay(paths, contracts, settings, data, servers, show=not as_json)
    if as_json:
        click.echo(json.dumps(asdict(totals)))


@commands.command(name="map")
@click.argument("exchange")
@click.argument("file", type=click.File("rb"), default="-")
@_INSTRUMENTS
def map_command(exchange: str, file: click.utils.LazyFile, instruments: click.utils.LazyFile | None) -> None:
    """Map messages of EXCHANGE to events, one JSON document a line.

    FILE (default: standard input) holds frames or bare messages as the exchange sent them, one JSON document a line.
    What is refused comes out as {"error": reason, "message": ...}.
    """
    from pipeline.feeds import feed_of
    from pipeline.feeds.map_lines import map_lines

    feed_of(exchange)
    for line in map_lines(exchange, file, _read_instruments(instruments)):
        click.echo(line)


@commands.command()
@_DATA
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

    _quiet(settings)
    for text in faults:
        fault_of(text, EXCHANGES)
    words = [word for name in exchanges for word in ("--exchange", name)]
    words += [] if market_data else ["--no-market-data"]
    words += [] if symbols is None else ["--symbols", symbols]
    serving = ["--seed", str(seed), "--speed", str(speed), *(word for text in faults for word in ("--fault", text))]
    run_up(settings, data, words, Simulated(serving) if simulated else None, click.echo)


@commands.command()
@click.argument("query")
@_DATA
@click.option("--format", "output_format", default="PrettyCompact", show_default=True, help="Any format of ClickHouse.")
@click.option("--clickhouse", "clickhouse_url", metavar="URL", help="Ask this ClickHouse instead of the embedded one.")
@click.pass_obj
def sql(settings: Settings, query: str, data: Path, output_format: str, clickhouse_url: str | None) -> None:
    """Run QUERY, read-only, on the database `liquidations`.

    docs/tables.md lists the views. Example: liquidations sql "SELECT * FROM bars_1m ORDER BY long_usd DESC LIMIT 5"
    """
    from pipeline.embedded.pipeline import clickhouse_folder
    from pipeline.embedded.sql_endpoint import ask_endpoint
    from pipeline.warehouse.client import WarehouseError, connect
    from pipeline.warehouse.query import run_query

    answer = None if clickhouse_url is not None else ask_endpoint(data, query, output_format)
    if answer is not None:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
        return
    if clickhouse_url is None and not (data / "clickhouse").is_dir():
        raise WarehouseError(f"there is no data in {data}: run `liquidations demo --data {data}` first")
    client = connect(clickhouse_url or clickhouse_folder(data), *_login(settings))
    try:
        answer = run_query(client, query, output_format)
    finally:
        client.close()
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


@commands.command(name="compare")
@click.argument("first")
@click.argument("second")
@_DATA
@click.option("--clickhouse", "clickhouse_url", metavar="URL", help="Ask this ClickHouse instead of the embedded one.")
@click.option("--from", "begin", type=_UTC, metavar="TIME", help="Only rows from then on (2026-11-24T13:00:00), UTC.")
@click.option("--to", "end", type=_UTC, metavar="TIME", help="Only rows before then, UTC.")
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
    client = connect(clickhouse_url or clickhouse_folder(data), *_login(settings))
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


@commands.command()
@click.option("--seed", default=7, show_default=True)
@click.option("--hours", default=6.0, show_default=True, type=click.FloatRange(0.01, 48.0))
@click.option("--list-instruments", is_flag=True, help="Print the contracts instead, for `replay --instruments`.")
@click.option("--serve", is_flag=True, help="Be seven exchanges on loopback, in their own protocols, until stopped.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 1000.0), help="Market per time.")
@click.option("--traps", default=30.0, show_default=True, type=click.FloatRange(0), help="Broken messages an hour.")
@click.option("--fault", "faults", multiple=True, metavar="KIND[:EXCHANGE[:AFTER_S[:FOR_S]]]", help="What goes wrong.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Write what was really sent, as JSON lines.")
@click.option("--write-settings", "settings_path", type=click.Path(path_type=Path), help="Settings for `ingest`.")
def simulate(
    seed: int,
    hours: float,
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
    """
    from pipeline.embedded.simulator import instruments, simulate
    from pipeline.feeds.frame_lines import line_of_frame

    if serve:
        from pipeline.embedded.exchange_server import EXCHANGES, Play, fault_of
        from pipeline.embedded.exchange_server.serving import serve as serve_exchanges

        play = Play(seed, speed, hours, traps, tuple(fault_of(text, EXCHANGES) for text in faults))
        serve_exchanges(play, ledger, settings_path, click.echo)
        return
    if list_instruments:
        for instrument in instruments():
            click.echo(json.dumps(asdict(instrument)))
        return
    for frame in simulate(seed, hours):
        sys.stdout.buffer.write(line_of_frame(frame))


@commands.command()
@click.pass_obj
def topics(settings: Settings) -> None:
    """Create the topics that are missing on the broker."""
    from pipeline.ingest.topic_admin import create_topics

    report = create_topics(settings)
    for state in ("created", "corrected", "existing"):
        for name in getattr(report, state):
            click.echo(f"{name}: {state}")


@commands.command()
@_DATABASE
@click.pass_obj
def migrate(settings: Settings, database: str | None) -> None:
    """Bring ClickHouse's tables and views up to date."""
    from pipeline.warehouse.client import connect
    from pipeline.warehouse.databases import Databases
    from pipeline.warehouse.migrate import migrate

    client = connect(settings.clickhouse_url, *_login(settings))
    try:
        applied = migrate(client, databases=Databases(database or settings.clickhouse_database))
    finally:
        client.close()
    for migration in applied:
        click.echo(f"{migration.version:04d} {migration.name}: applied")
    if not applied:
        click.echo("nothing to do")


@commands.command()
@click.pass_obj
def users(settings: Settings) -> None:
    """Make ClickHouse's four users, or set their rights and passwords again.

    The passwords come from LIQUIDATIONS_MIGRATE_PASSWORD, LIQUIDATIONS_WRITE_PASSWORD, LIQUIDATIONS_READ_PASSWORD and
    LIQUIDATIONS_GRAFANA_PASSWORD.
    """
    from pipeline.warehouse.client import connect
    from pipeline.warehouse.users import Passwords, apply_users

    passwords = Passwords.from_environment()
    client = connect(settings.clickhouse_url, *_login(settings))
    try:
        for name in apply_users(client, passwords):
            click.echo(f"{name}: ready")
    finally:
        client.close()


@commands.command()
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
    run_record(settings, codec_of(settings), out, _stop_on_signals(), until_now=not follow, from_now=not from_beginning)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show how far worker and sink are behind: records of each topic that they have not committed."""
    from pipeline.topics import EVENTS, SINK_TOPICS
    from pipeline.warehouse.lag import group_lag

    behind = {
        group: {
            name: sum(lag for (topic, _), lag in group_lag(settings, group, topics).items() if topic == name)
            for name in [topic.name for topic in topics]
        }
        for group, topics in {"worker": [EVENTS], "sink": list(SINK_TOPICS)}.items()
    }
    if as_json:
        click.echo(json.dumps(behind))
        return
    for group, by_topic in behind.items():
        for name, lag in by_topic.items():
            click.echo(f"{group:8} {name:14} {lag:>12,} behind")


@commands.command()
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


@commands.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Fold the events topic into bars and coverage, together with any other workers."""
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of
    from pipeline.worker.application import run_worker

    configure_logs(settings)
    run_worker(settings, codec_of(settings))


@commands.command()
@click.pass_obj
def sink(settings: Settings) -> None:
    """Copy the topics into ClickHouse, together with any other sinks."""
    from pipeline.logs import configure_logs
    from pipeline.registry import codec_of
    from pipeline.warehouse.sink import run_sink

    configure_logs(settings)
    run_sink(settings, codec_of(settings), _stop_on_signals())


@commands.command()
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


@commands.group()
def grafana() -> None:
    """Dashboards and alert rules: build their files, compare them with a Grafana, push them."""


@grafana.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("infra/grafana"),
    show_default=True,
    help="Folder of the files.",
)
@click.pass_obj
def build(settings: Settings, folder: Path) -> None:
    """Write the files from which Grafana provisions itself; nothing is written where nothing has changed."""
    from pipeline.grafana.files import all_files, write_files

    files = all_files(settings)
    written, removed = write_files(files, folder)
    for path in written:
        click.echo(f"{path}: written")
    for path in removed:
        click.echo(f"{path}: removed")
    click.echo(f"{len(files) - len(written)} of {len(files)} files were up to date")


@grafana.command()
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
@click.pass_obj
def diff(settings: Settings, exit_code: bool) -> None:
    """Show what `grafana push` would change in the Grafana of the settings."""
    from pipeline.grafana.push import compare, connect

    with closing(connect(settings)) as server:
        differences = compare(server, settings)
    for difference in differences:
        if difference.state != "same":
            click.echo(f"{difference.kind} {difference.name}: {difference.state}")
        for line in difference.lines:
            click.echo(f"    {line}")
    differing = [difference for difference in differences if difference.state != "same"]
    if not differing:
        click.echo("nothing differs")
    if differing and exit_code:
        raise SystemExit(1)


@grafana.command(name="push")
@click.pass_obj
def push_command(settings: Settings) -> None:
    """Bring dashboards and alert rules of the Grafana of the settings up to date.

    What is the same is left alone. For a Grafana that does not read the files of `grafana build`: what comes from files
    cannot be pushed.
    """
    from pipeline.grafana.push import connect, push

    with closing(connect(settings)) as server:
        differences = push(server, settings)
    words = {"new": "made", "changed": "replaced", "removed": "no longer declared, left as it is"}
    for difference in differences:
        if difference.state in words:
            click.echo(f"{difference.kind} {difference.name}: {words[difference.state]}")
    if not any(difference.state in {"new", "changed"} for difference in differences):
        click.echo("nothing to do")


@commands.command(name="settings")
@click.pass_obj
def settings_command(settings: Settings) -> None:
    """List every setting with its present value and meaning."""
    for name, field in type(settings).model_fields.items():
        click.echo(f"LIQUIDATIONS_{name.upper()}={getattr(settings, name)}\n    {field.description}")


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


def _login(settings: Settings) -> tuple[str | None, str | None]:
    password = settings.clickhouse_password
    return settings.clickhouse_user, password.get_secret_value() if password else None


def _quiet(settings: Settings) -> None:
    """Show warnings only: progress is shown otherwise."""
    from pipeline.logs import configure_logs

    configure_logs(settings.model_copy(update={"log_level": "warning"}))


def _read_instruments(file: click.utils.LazyFile | None) -> Instruments:
    from pipeline.feeds.map_lines import read_instruments

    return {} if file is None else read_instruments(file)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


def main() -> None:
    """Run the command line.

    Exit codes: 0 when all went well, 1 for what can go wrong outside, 2 for wrong usage, 130 for Ctrl-C.
    """
    try:
        commands(standalone_mode=False)
    except click.Abort:
        raise SystemExit(_say("stopped", 130)) from None
    except KeyboardInterrupt:
        raise SystemExit(_say("stopped", 130)) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # Whoever read our output has had enough.
        sys.stderr.close()
        raise SystemExit(0) from None
    except OperationError as error:
        raise SystemExit(_say(str(error), 1)) from None


def _say(line: str, code: int) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"liquidations: {line}", markup=False)
    return code
