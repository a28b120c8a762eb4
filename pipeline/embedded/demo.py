"""The demo: a simulated market through the whole pipeline in one command, and what it found."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.embedded.findings import WIDTH, findings
from pipeline.embedded.market_collection import collect_market
from pipeline.embedded.pipeline import Servers, Snapshot, clickhouse_folder, run_pipeline
from pipeline.embedded.simulator import START_MS
from pipeline.embedded.totals import Totals
from pipeline.errors import OperationError
from pipeline.grafana.report.report import Wanted
from pipeline.grafana.report.writing import write_report
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.replay import Progress as ToldOften
from pipeline.ingest.replay import Replayed
from pipeline.settings import Settings
from pipeline.warehouse.client import connect
from pipeline.warehouse.databases import USUAL
from pipeline.warehouse.query import run_query

_HOUR_US = 3_600_000_000
_NOTE = "demo.json"

# To try next; none of them holds what a shell would touch within double quotes.
NEXT_QUERIES = (
    """
    SELECT asset, round(sum(long_usd)) AS longs, round(sum(short_usd)) AS shorts
    FROM bars_1h GROUP BY asset ORDER BY longs + shorts DESC LIMIT 10
    """,
    "SELECT start, long_usd, short_usd, largest_usd FROM bars_5m WHERE symbol = 'ETHUSDT' AND exchange = 'bybit'",
    "SELECT reason, exchange, message, payload FROM dead_letters LIMIT 3 FORMAT Vertical",
)


class DemoError(OperationError):
    """The demo cannot run; the message says why and what to do, in one line."""


def run_demo(settings: Settings, data: Path, seed: int, hours: float, console: Console | None = None) -> Totals:
    """Simulate a market, take it through the pipeline into the folder `data`, and tell what was found.

    While it works it shows how far it is; in the end come the findings, what to try next, and the report.
    The same seed and length again give the same rows. Raises `DemoError` if the folder holds another simulated
    market: the two would add up.
    """
    console = console or _console()
    keep_one_market(data, seed, hours)
    began_s = time.monotonic()
    _say(console, f"{hours:g} hours of a simulated market on Binance, Bybit and OKX, seed {seed}:")
    with _shown(hours, console) as progress:

        def collect(run: Settings, publisher: Publisher, told: ToldOften) -> Replayed:
            return collect_market(run, publisher, seed, hours, data / "logs", told)

        totals = run_pipeline(collect, settings, data, progress, Servers(database=USUAL))
    _say(
        console,
        f"{totals.frames:,} frames became {totals.events:,} liquidations in {totals.bars:,} one-minute bars, "
        f"in {time.monotonic() - began_s:.0f} s.\n",
    )
    console.print(_found(data))
    console.print()
    for line in next_steps(data, program()):
        _say(console, line)
    _say(console, f"\nAll panels in one page, for a browser: {_write_report(settings, data)}")
    return totals


def keep_one_market(data: Path, seed: int, hours: float) -> None:
    """Note in the folder which market it holds, or raise `DemoError` if it holds another one."""
    note = data / _NOTE
    wanted = {"seed": seed, "hours": hours}
    try:
        if not note.exists():
            data.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(wanted) + "\n")
            return
        found = note.read_text().strip()
    except OSError as error:
        raise DemoError(f"cannot use {data} as the data folder: {error.strerror}") from error
    if not _is_json_of(found, wanted):
        raise DemoError(
            f"{data} holds the demo of another market ({found}): give another folder with --data, "
            f"or start over with `rm -r {shlex.quote(str(data))}`"
        )


def next_steps(data: Path, called: str) -> Iterator[str]:
    """Yield lines that say what to try next; `called` is how this program is called from the present folder."""
    where = "" if data == Path("data") else f"--data {shlex.quote(str(data))} "
    yield "Try next:"
    for query in NEXT_QUERIES:
        yield f'  {called} sql {where}"{" ".join(query.split())}"'
    yield f"The data lie in {data}, the tables are described in docs/tables.md."
    yield f"To start over: rm -r {shlex.quote(str(data))}"


def program() -> str:
    """Return how to call this program from the present folder: by name if that finds it, else by its path."""
    script = Path(sys.executable).parent / "liquidations"
    on_path = shutil.which(script.name)
    if on_path is not None and Path(on_path).resolve() == script.resolve():
        return script.name
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m pipeline"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def _console() -> Console:
    """Return standard output, as wide as its terminal, or as the findings where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _found(data: Path) -> RenderableType:
    client = connect(clickhouse_folder(data))

    def query(sql: str) -> Sequence[dict[str, Any]]:
        return list(client.query(sql).named_results())

    try:
        return findings(query)
    finally:
        client.close()


def _write_report(settings: Settings, data: Path) -> Path:
    """Write the report of the market beside its data and return its path."""
    out = data / "report.html"
    client = connect(clickhouse_folder(data))
    try:
        write_report(lambda sql: run_query(client, sql, "JSONCompact"), Wanted(), settings, out)
    finally:
        client.close()
    return out


@contextmanager
def _shown(hours: float, console: Console) -> Iterator[Callable[[Snapshot], None]]:
    """Give a function that shows progress: a live line on a terminal, else a line for every hour and stage."""
    if not console.is_terminal:
        yield _lines(console)
        return
    start_us, length_us = START_MS * 1000, hours * _HOUR_US
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting", total=length_us)

        def show(snapshot: Snapshot) -> None:
            time_us = snapshot.replayed.time_us
            done_us = min(length_us, max(0.0, time_us - start_us))
            bars.update(task, completed=done_us, description=_status(snapshot))

        yield show


def _lines(console: Console) -> Callable[[Snapshot], None]:
    """Return what prints a line when an hour of the market has passed or another stage begins."""
    said: tuple[str, int] | None = None

    def show(snapshot: Snapshot) -> None:
        nonlocal said
        now = (snapshot.stage, snapshot.replayed.time_us // _HOUR_US)
        if now != said and (snapshot.stage != "publishing" or snapshot.replayed.events):
            said = now
            _say(console, f"  {_status(snapshot)}")

    return show


def _status(snapshot: Snapshot) -> str:
    replayed = snapshot.replayed
    counts = f"{replayed.frames:,} frames, {replayed.events:,} events published"
    if snapshot.stage == "publishing":
        clock = datetime.fromtimestamp(replayed.time_us / 1e6, UTC)
        return f"market at {clock:%H:%M}: {counts}"
    if snapshot.stage == "folding":
        return f"{counts}; {snapshot.worker_lag or 0:,} records to fold into bars"
    if snapshot.stage == "storing":
        return f"{counts}; {snapshot.sink_lag or 0:,} rows to store"
    return "starting broker, worker and tables" if snapshot.stage == "starting" else f"{counts}; all rows are stored"


def _is_json_of(text: str, wanted: object) -> bool:
    try:
        return bool(json.loads(text) == wanted)
    except ValueError:
        return False


def _say(console: Console, line: str) -> None:
    """Print a line as it is: not wrapped, not coloured."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
