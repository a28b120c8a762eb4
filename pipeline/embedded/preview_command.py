"""`liquidations rules preview` for people: progress, and what would have been found."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.detect.rules import Rules
from pipeline.embedded.pipeline import clickhouse_folder
from pipeline.embedded.preview import Asked, Preview, Reached, Recorded, run_preview
from pipeline.settings import Settings
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.found import FoundLargest
from pipeline.worker.parameters import window_parameters

_PLAIN_WIDTH = 110
_DAY_MS = 86_400_000
_POSITIONS = ("long", "short", "both")


def preview_with_progress(
    settings: Settings,
    rules: Rules,
    rules_in_force: Rules,
    data: Path,
    clickhouse_url: str | None,
    asked: Asked,
    *,
    keep: bool,
    show: bool,
) -> Preview:
    """Run a preview on the embedded ClickHouse below `data`, or on the one at `clickhouse_url`."""
    console = Console(stderr=True, highlight=False)
    password = settings.clickhouse_password
    recorded = Recorded(
        clickhouse_url or clickhouse_folder(data),
        settings.clickhouse_user,
        password.get_secret_value() if password else None,
        Databases(settings.clickhouse_database),
    )
    with Progress(
        TextColumn("reading what is recorded"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not show or not console.is_terminal,
        transient=True,
    ) as bars:
        task = bars.add_task("", total=1.0, detail="")

        def progress(reached: Reached) -> None:
            share = (reached.time_ms - reached.begin_ms) / (reached.end_ms - reached.begin_ms)
            bars.update(task, completed=share, detail=f"{_minute(reached.time_ms)}, {reached.found:,} findings")

        return run_preview(recorded, rules, rules_in_force, window_parameters(settings), asked, progress, keep=keep)


def as_document(preview: Preview) -> dict[str, Any]:
    """Return a preview as it is printed with `--json`; every kind, scope and day is there."""
    rules: dict[str, Any] = {}
    for kind, scope in _rows(preview):
        by_day = dict.fromkeys(_days(preview), 0)
        degraded = 0
        for found in preview.by_day:
            if (found.kind, found.scope) == (kind, scope):
                by_day[found.day] = found.findings
                degraded += found.degraded
        rules[f"{kind} {scope}".strip()] = {
            "findings": sum(by_day.values()),
            "degraded": degraded,
            "in_force": _in_force(preview)[kind, scope],
            "by_day": by_day,
            "by_series": [
                {
                    "interval_ms": one.interval_ms,
                    "measure": one.measure,
                    "position": one.position,
                    "findings": one.findings,
                }
                for one in preview.by_series
                if (one.kind, one.scope) == (kind, scope)
            ],
            "largest": [_fields(one) for one in preview.largest if (one.kind, one.scope) == (kind, scope)],
        }
    return {
        "rules_hash": preview.rules_hash,
        "from": _iso(preview.begin_ms),
        "to": _iso(preview.end_ms),
        "read_from": _iso(preview.read_from_ms),
        "events": preview.events,
        "database": preview.database,
        "rules": rules,
    }


def print_preview(preview: Preview) -> None:
    """Print how often each rule would have fired, in all and by day, and the largest findings of each."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    rows, days = _rows(preview), _days(preview)
    console.print(
        f"{_minute(preview.begin_ms)} to {_minute(preview.end_ms)} UTC, read from {_minute(preview.read_from_ms)} on:"
        f" {preview.events:,} events, rules {preview.rules_hash}"
    )
    span_days = (preview.end_ms - preview.begin_ms) / _DAY_MS
    counts, degraded = _counts(preview, "findings"), _counts(preview, "degraded")
    summary = _table("rule", "scope", "findings", "a day", "degraded", "in force")
    for row in rows:
        summary.add_row(
            *row,
            f"{counts[row]:,}",
            f"{counts[row] / span_days:,.1f}",
            f"{degraded[row]:,}",
            f"{_in_force(preview)[row]:,}",
        )
    console.print(summary)
    if len(days) > 1:
        console.print()
        by_day = _table("day", *(" ".join(row).strip() for row in rows))
        for day in days:
            found = {(one.kind, one.scope): one.findings for one in preview.by_day if one.day == day}
            by_day.add_row(day, *(f"{found.get(row, 0):,}" for row in rows))
        console.print(by_day)
    _print_series(preview, console)
    for row in rows:
        largest = [one for one in preview.largest if (one.kind, one.scope) == row]
        if largest:
            console.print(f"\nlargest: {' '.join(row)}", style="bold")
            for one in largest:
                console.print(_line(one), markup=False)
    if preview.database:
        console.print(f"\nkept: all findings are in {preview.database}.anomalies", markup=False)


def _print_series(preview: Preview, console: Console) -> None:
    """Print what rules that judge several bars and measures found in each."""
    series = {(one.kind, one.scope, one.interval_ms, one.measure) for one in preview.by_series}
    several = {row for row in _rows(preview) if sum(one[:2] == row for one in series) > 1}
    if not several:
        return
    found = {
        (one.kind, one.scope, one.interval_ms, one.measure, one.position): one.findings for one in preview.by_series
    }
    table = _table("rule", "scope", "bar", "measure", *_POSITIONS)
    for kind, scope, interval_ms, measure in sorted(series, key=lambda one: (*one[:3], one[3] != "usd")):
        if (kind, scope) in several:
            counts = (found.get((kind, scope, interval_ms, measure, position), 0) for position in _POSITIONS)
            table.add_row(kind, scope, f"{interval_ms // 60_000} min", measure, *(f"{count:,}" for count in counts))
    console.print()
    console.print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"rule", "scope", "day", "measure"} else "right")
    return table


def _line(one: FoundLargest) -> str:
    where = " ".join(filter(None, (one.asset, one.exchange, one.symbol)))
    bar = f", {one.interval_ms // 60_000} min" if one.interval_ms else ""
    unit = {"usd": " USD", "count": " events"}.get(one.measure, "")
    value, threshold = (f"{number:,.0f}" if unit else f"{number:.3f}" for number in (one.value, one.threshold))
    level = f", level {one.level}" if one.level else ""
    said = f"{where or 'market'} {one.position}{bar}: {value}{unit}, above {threshold}{level}"
    return f"  {one.started:%Y-%m-%d %H:%M:%S}  {said}" + (", degraded" if one.degraded else "")


def _rows(preview: Preview) -> list[tuple[str, str]]:
    """Return kinds and scopes in the order of the rules; a kind that found nothing has one row without a scope."""
    found = {(one.kind, one.scope) for one in (*preview.by_day, *preview.in_force)}
    return [row for kind in preview.kinds for row in (sorted(one for one in found if one[0] == kind) or [(kind, "")])]


def _counts(preview: Preview, what: str) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in preview.by_day:
        counts[one.kind, one.scope] += getattr(one, what)
    return counts


def _in_force(preview: Preview) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in preview.in_force:
        counts[one.kind, one.scope] += one.findings
    return counts


def _days(preview: Preview) -> list[str]:
    first = preview.begin_ms - preview.begin_ms % _DAY_MS
    return [f"{_time(day):%Y-%m-%d}" for day in range(first, preview.end_ms, _DAY_MS)]


def _fields(one: FoundLargest) -> dict[str, Any]:
    fields = asdict(one)
    ended = one.ended
    return {**fields, "started": one.started.isoformat(), "ended": None if ended is None else ended.isoformat()}


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1_000, UTC)


def _minute(time_ms: int) -> str:
    return f"{_time(time_ms):%Y-%m-%d %H:%M}"


def _iso(time_ms: int) -> str:
    return _time(time_ms).isoformat()
