"""What `liquidations top` shows, from SQL only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.asking import Asked

WIDTH: Final = 110
_EVENTS: Final = 8
_BARS: Final = 8
_ANOMALIES: Final = 6
_FULL: Final = 0.999
_WHOLE_FROM: Final = 10.0

# The end of the data: the last minute that the pipeline has judged, or the last event if it is younger.
_NOW: Final = """
SELECT toString(greatest(judged, newest)) AS now, toString(judged) AS judged_until,
    dateDiff('second', greatest(judged, newest), now()) AS age_s, judged > 0 OR newest > 0 AS is_known
FROM (
    SELECT (SELECT if(count() = 0, max(start), max(start) + toIntervalMinute(1)) FROM coverage) AS judged,
        (SELECT max(last_time) FROM channels) AS newest
)
"""

_LARGEST: Final = """
SELECT formatDateTime(event_time, '%H:%i:%S') AS time, exchange, symbol, position, notional_usd AS usd, price,
    completeness
FROM events
WHERE event_time > {since} AND event_time <= {until}
ORDER BY notional_micros DESC, event_time, exchange, symbol
LIMIT {most}
"""

_BARS_OF_ASSETS: Final = """
SELECT asset, sum(long_usd) AS longs, sum(short_usd) AS shorts, sum(long_count + short_count) AS events,
    sumIf(long_usd + short_usd, start >= {until} - toIntervalMinute(1)) AS last_minute, max(largest_usd) AS largest,
    countIf(completeness != 'full') > 0 AS is_bound, countIf(NOT closed) > 0 AS is_open
FROM bars_1m
WHERE start > {since} AND start <= {until}
GROUP BY asset
ORDER BY longs + shorts DESC, asset
LIMIT {most}
"""

_OPEN: Final = """
SELECT formatDateTime(started, '%H:%i:%S') AS since, kind, if(scope = 'market', 'market', concat(asset, symbol)) AS of,
    position, level, value, threshold, measure, coverage, degraded
FROM anomalies
WHERE state = 'open' AND started > {until} - toIntervalDay(1) AND started <= {until}
ORDER BY level DESC, started DESC, of
LIMIT {most}
"""

_COVERAGE: Final = """
SELECT exchange, channel, sum(alive_ms) / ({minutes} * 60000) AS share, sum(frames) AS frames
FROM coverage
WHERE start >= {judged} - toIntervalMinute({minutes}) AND start < {judged}
    AND (exchange, channel) IN (SELECT exchange, channel FROM channels)
GROUP BY exchange, channel
ORDER BY share, exchange, channel
"""

Row = dict[str, Any]


def picture(asked: Asked, minutes: int) -> RenderableType:
    """Return the last `minutes` before the end of the data."""
    now = _rows(asked, _NOW)[0]
    if not now["is_known"]:
        return Text("nothing is stored yet")
    until, judged = (f"toDateTime64('{now[name]}', 3, 'UTC')" for name in ("now", "judged_until"))
    span = {"since": f"{until} - toIntervalMinute({minutes})", "until": until, "judged": judged, "minutes": minutes}
    largest = _rows(asked, _LARGEST.format(**span, most=_EVENTS))
    bars = _rows(asked, _BARS_OF_ASSETS.format(**span, most=_BARS))
    anomalies = _rows(asked, _OPEN.format(**span, most=_ANOMALIES))
    coverage = _rows(asked, _COVERAGE.format(**span))
    return Group(
        Text(f"{minutes} minutes up to {str(now['now'])[:19]} UTC, {_ago(int(now['age_s']))} ago", style="bold"),
        _table(
            "Largest liquidations", largest, ("time", "exchange", "symbol", "position", "usd", "price", "completeness")
        ),
        _table(
            "Assets",
            [_asset(row) for row in bars],
            ("asset", "longs", "shorts", "events", "last minute", "largest", ""),
        ),
        _table(
            "Open anomalies",
            [_anomaly(row) for row in anomalies],
            ("since", "kind", "of", "position", "level", "value", ""),
        ),
        _coverage(coverage),
    )


def _rows(asked: Asked, sql: str) -> list[Row]:
    answer = json.loads(asked(sql, "JSON"))
    numeric = {column["name"] for column in answer["meta"] if "Int" in column["type"]}
    # Integers of 64 bits come in quotes.
    return [{name: int(value) if name in numeric else value for name, value in row.items()} for row in answer["data"]]


def _table(title: str, rows: Sequence[Row], columns: Sequence[str]) -> RenderableType:
    if not rows:
        return Text(f"\n{title}: none", style="dim")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        number = isinstance(rows[0].get(name), int | float)
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in columns))
    return table


def _cell(name: str, value: object) -> Text:
    if name == "position":
        return Text(str(value), style={"long": "green", "short": "red"}.get(str(value), ""))
    if isinstance(value, float):
        # Prices and shares need their digits, sums of money do not.
        return Text(f"{value:,.6g}" if name == "price" or abs(value) < _WHOLE_FROM else f"{value:,.0f}")
    return Text(f"{value:,}" if isinstance(value, int) else str(value))


def _asset(row: Row) -> Row:
    said = [word for word, holds in (("lower bound", row["is_bound"]), ("open", row["is_open"])) if holds]
    return {**row, "last minute": row["last_minute"], "": ", ".join(said)}


def _anomaly(row: Row) -> Row:
    said = f"over {_cell('threshold', row['threshold']).plain} {row['measure']}, coverage {row['coverage']:.0%}"
    return {**row, "": said + (", degraded" if row["degraded"] else "")}


def _coverage(rows: Sequence[Row]) -> RenderableType:
    if not rows:
        return Text("\nCoverage: no channel that brings liquidations was listened to", style="bold")
    found = Text("\nCoverage  ", style="bold")
    for row in rows:
        share = min(1.0, row["share"])
        style = "" if share >= _FULL else "bold yellow"
        found.append(f"{row['exchange']} {row['channel']} ", style="not bold")
        found.append(f"{share:.1%}   ", style=style or "not bold")
    return found


def _ago(seconds: int) -> str:
    for length, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds // length:,} {name}"
    return f"{max(0, seconds)} seconds"
