"""`liquidations replay`: recordings through the pipeline, with progress and the totals at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.embedded.pipeline import Servers, Snapshot, recordings, run_pipeline
from pipeline.embedded.totals import Totals
from pipeline.feeds.feed import Instruments
from pipeline.ingest.recordings import read_recordings
from pipeline.settings import Settings
from pipeline.warehouse.databases import Databases

_STAGES = {
    "starting": "starting broker, worker and sink",
    "publishing": "reading, mapping and publishing",
    "folding": "folding into bars",
    "storing": "storing rows",
    "done": "done",
}

_LARGEST = "SELECT * FROM bars_1m ORDER BY long_usd + short_usd DESC LIMIT 10"
_REFUSED = "SELECT reason, count() FROM dead_letters GROUP BY reason ORDER BY 2 DESC"


def run_replay(
    paths: Sequence[Path], instruments: Instruments, settings: Settings, data: Path, servers: Servers, *, show: bool
) -> Totals:
    """Replay `paths` and return the totals; with `show`, say how far it is and print them."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    share = 0.0

    def read(read_bytes: int, total_bytes: int) -> None:
        nonlocal share
        share = read_bytes / max(1, total_bytes)

    # Found before anything is started: a path that is no recording ends here, and so does a wrong name.
    if servers.database:
        Databases(servers.database)
    items = read_recordings(paths, read)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not show or not console.is_terminal,
        transient=True,
    ) as bars:
        task = bars.add_task(_STAGES["starting"], total=1.0, detail="")
        said = ""

        def progress(snapshot: Snapshot) -> None:
            nonlocal said
            bars.update(task, description=_STAGES[snapshot.stage], completed=share, detail=_detail(snapshot))
            if show and not console.is_terminal and said != snapshot.stage:
                said = snapshot.stage
                console.print(f"{_STAGES[snapshot.stage]} {_detail(snapshot)}".rstrip())

        totals = run_pipeline(recordings(items, instruments), settings, data, progress, servers)
    if show:
        _print(totals, data, servers, time.monotonic() - began)
    return totals


def _detail(snapshot: Snapshot) -> str:
    if snapshot.worker_lag:
        return f"{snapshot.worker_lag:,} records to fold"
    if snapshot.sink_lag:
        return f"{snapshot.sink_lag:,} records to store"
    if not snapshot.replayed.frames:
        return ""
    time_text = f"{datetime.fromtimestamp(snapshot.replayed.time_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{snapshot.replayed.frames:,} frames, {time_text}"


def _print(totals: Totals, data: Path, servers: Servers, seconds: float) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{totals.frames:,} frames = {totals.events:,} events + {totals.duplicates:,} duplicates"
        f" + {totals.dead_letters:,} refused"
        + (f" ({totals.without_events:,} frames held no event, some may hold several)" if totals.without_events else "")
    )
    console.print(
        f"{totals.bars:,} one-minute bars; {totals.late:,} events were late, {totals.too_late:,} too late for their bar"
        f"; {seconds:.1f} s"
    )
    where = f"--clickhouse {servers.clickhouse_url}" if servers.clickhouse_url else f"--data {data}"
    if servers.database:
        where += f" --database {servers.database}"
    queries = [_LARGEST, _REFUSED] if totals.dead_letters else [_LARGEST]
    if servers.database:
        queries = [query.replace(" FROM ", f" FROM {servers.database}.") for query in queries]
    for query in queries:
        console.print(f'next: liquidations sql {where} "{query}"')
