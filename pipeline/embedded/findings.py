"""What a demo or a replay has found: a page of tables, from the views that every user reads.

Each query stands here as it can be typed into `liquidations sql`; `docs/tables.md` describes the views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
Query = Callable[[str], Sequence[Row]]

LARGEST_BARS = """
SELECT start, exchange, symbol, long_usd, short_usd, long_count, short_count, largest_usd
FROM liquidations.bars_1m
ORDER BY long_usd + short_usd DESC, start, exchange, symbol
LIMIT 6
"""

TOTALS = """
SELECT exchange, arrayStringConcat(arraySort(groupUniqArray(toString(completeness))), ', ') AS completeness,
    sumIf(notional_micros, position = 'long') / 1000000 AS long_usd, countIf(position = 'long') AS long_count,
    sumIf(notional_micros, position = 'short') / 1000000 AS short_usd, countIf(position = 'short') AS short_count,
    uniqExact(asset) AS assets
FROM liquidations.events
GROUP BY exchange
ORDER BY exchange
"""

PEAK = """
SELECT argMax(start, (events, usd)) AS peak, max(events) AS peak_events, argMax(usd, (events, usd)) AS peak_usd,
    argMax(long_share, (events, usd)) AS peak_long_share,
    quantileExact(0.5)(events) AS median_events, quantileExact(0.5)(usd) AS median_usd, count() AS minutes
FROM
(
    SELECT start, long_count + short_count AS events, long_usd + short_usd AS usd,
        if(usd > 0, long_usd / usd, 0) AS long_share
    FROM liquidations.market
)
"""

LARGEST_EVENTS = """
SELECT event_time, exchange, symbol, position, notional_usd, price, price_kind
FROM liquidations.events
ORDER BY notional_micros DESC, event_time, exchange, symbol
LIMIT 5
"""

FIVE_MINUTES = """
SELECT toStartOfInterval(start, toIntervalMinute(5)) AS start, sum(long_usd) AS long_usd, sum(short_usd) AS short_usd
FROM liquidations.market
GROUP BY start
ORDER BY start
"""

COUNTS = """
SELECT exchange, sum(events) AS events, sum(duplicates) AS duplicates, sum(late) AS late, sum(too_late) AS too_late,
    sum(refused) AS refused
FROM
(
    SELECT exchange, events, duplicates, late, too_late, 0 AS refused FROM liquidations.tallies
    UNION ALL
    SELECT exchange, 0, 0, 0, 0, 1 FROM liquidations.dead_letters
)
GROUP BY exchange
ORDER BY exchange
"""

REFUSED = """
SELECT reason, count() AS refused, arrayStringConcat(arraySort(groupUniqArray(toString(exchange))), ', ') AS exchanges,
    argMin(message, received_time) AS example
FROM liquidations.dead_letters
GROUP BY reason
ORDER BY refused DESC, reason
"""

COVERAGE = """
SELECT exchange, channel, min(start) AS first, max(start) AS last, count() AS minutes,
    countIf(alive_ms = 60000) AS whole_minutes, sum(frames) AS frames
FROM liquidations.coverage
GROUP BY exchange, channel
ORDER BY exchange, channel
"""

WIDTH = 100
_MOST_CHARACTERS = 84
_MOST_EXAMPLE = 40
_LOG_SPAN = 1_000
_BLOCKS, _PLAIN_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
_COMPLETENESS = {
    "full": "all of them",
    "sampled": "a sample: a lower bound",
    "largest_per_second": "the largest of each second",
    "inferred": "inferred, not announced",
    "unknown": "not known",
}


def findings(query: Query) -> RenderableType:
    """Return what the tables hold as one page for `rich`, readable at 100 columns and without colour.

    `query` runs one statement and returns its rows by column name; times come as `datetime` in UTC.
    """
    parts: list[RenderableType] = [
        *_market(query),
        _largest_bars(query(LARGEST_BARS)),
        _largest_events(query(LARGEST_EVENTS)),
        _totals(query(TOTALS)),
        *_counts(query),
        _coverage(query(COVERAGE)),
    ]
    return Group(*parts)


def money(usd: float) -> str:
    """Return a sum for people, in three or so digits: $950, $12.3K, $1.2M, $1.05B."""
    for unit, letter, decimals in ((1e9, "B", 2), (1e6, "M", 1), (1e3, "K", 1)):
        # What would be rounded up to 1000.0K is 1.0M.
        if usd >= unit * (1 - 0.5 * 10 ** -(decimals + 3)):
            return f"${usd / unit:.{decimals}f}{letter}"
    return f"${usd:.0f}"


class Sparks:
    """A row of numbers as characters of rising height, on a logarithmic scale, for terminals with and without Unicode.

    `highest` has the full height, a thousandth of it and less the lowest one, and nothing at all is blank.
    """

    def __init__(self, label: str, numbers: Sequence[float], highest: float, style: str) -> None:
        self._label, self._numbers, self._highest, self._style = label, numbers, highest, style

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the row for the console's characters."""
        blocks = _PLAIN_BLOCKS if options.ascii_only else _BLOCKS
        top = len(blocks) - 1
        heights = [
            0
            if number <= 0
            else max(1, 1 + round(log(number / self._highest * _LOG_SPAN) / log(_LOG_SPAN) * (top - 1)))
            for number in self._numbers
        ]
        yield Text(f"  {self._label:<7}").append("".join(blocks[height] for height in heights), style=self._style)


def _market(query: Query) -> list[RenderableType]:
    peak = query(PEAK)[0]
    if not peak["minutes"]:
        return [Text("There are no bars.")]
    found = query(FIVE_MINUTES)
    spans = _joined([(row["long_usd"], row["short_usd"]) for row in found])
    highest = max(max(span) for span in spans) or 1.0
    day, first, last = found[0]["start"].strftime("%Y-%m-%d"), _minute(found[0]["start"]), _minute(found[-1]["start"])
    times = max(1.0, peak["peak_events"]) / max(1.0, peak["median_events"])
    return [
        _title(f"The market, {day} {first} to {last} UTC (USD, logarithmic scale)"),
        Sparks("longs", [long for long, _ in spans], highest, "green"),
        Sparks("shorts", [short for _, short in spans], highest, "red"),
        Text(""),
        Text(
            f"  Peak minute {_minute(peak['peak'])}: {peak['peak_events']:,} liquidations worth "
            f"{money(peak['peak_usd'])}, {peak['peak_long_share']:.0%} of it longs,"
        ),
        Text(
            f"  {times:,.0f} times the median minute ({peak['median_events']:,} liquidations worth "
            f"{money(peak['median_usd'])})."
        ),
    ]


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return so few sums of neighbours that they fit into a line."""
    step = -(-len(spans) // _MOST_CHARACTERS)
    return [
        (sum(long for long, _ in spans[at : at + step]), sum(short for _, short in spans[at : at + step]))
        for at in range(0, len(spans), step)
    ]


def _largest_bars(rows: Sequence[Row]) -> RenderableType:
    return _table(
        "Largest one-minute bars",
        ("minute", "exchange", "contract", ">longs", ">shorts", ">count", ">largest one"),
        (
            (
                _minute(row["start"]),
                row["exchange"],
                row["symbol"],
                money(row["long_usd"]),
                money(row["short_usd"]),
                _count(row["long_count"] + row["short_count"]),
                money(row["largest_usd"]),
            )
            for row in rows
        ),
    )


def _largest_events(rows: Sequence[Row]) -> RenderableType:
    return _table(
        "Largest single liquidations",
        ("time", "exchange", "contract", "position", ">value", ">price", "kind of price"),
        (
            (
                row["event_time"].strftime("%H:%M:%S"),
                row["exchange"],
                row["symbol"],
                row["position"],
                money(row["notional_usd"]),
                f"{row['price']:,.6g}" if row["price"] < 1_000 else f"{row['price']:,.2f}",  # noqa: PLR2004
                row["price_kind"].replace("_", " "),
            )
            for row in rows
        ),
    )


def _totals(rows: Sequence[Row]) -> RenderableType:
    total = {name: sum(row[name] for row in rows) for name in ("long_usd", "long_count", "short_usd", "short_count")}
    lines = [
        (
            row["exchange"],
            money(row["long_usd"]),
            _count(row["long_count"]),
            money(row["short_usd"]),
            _count(row["short_count"]),
            ", ".join(_COMPLETENESS.get(word, word) for word in row["completeness"].split(", ")),
        )
        for row in rows
    ]
    lines.append(
        (
            "all",
            money(total["long_usd"]),
            _count(total["long_count"]),
            money(total["short_usd"]),
            _count(total["short_count"]),
            "all of them" if all(row["completeness"] == "full" for row in rows) else "a lower bound",
        )
    )
    return _table(
        "Liquidated positions by exchange",
        ("exchange", ">longs", ">count", ">shorts", ">count", "what the feed shows"),
        lines,
    )


def _counts(query: Query) -> list[RenderableType]:
    names = ("events", "duplicates", "late", "too_late", "refused")
    rows = query(COUNTS)
    lines = [(row["exchange"] or "unknown", *(_count(row[name]) for name in names)) for row in rows]
    lines.append(("all", *(_count(sum(row[name] for row in rows)) for name in names)))
    parts: list[RenderableType] = [
        _table(
            "What came twice, late or broken",
            (
                "exchange",
                ">events",
                ">duplicates",
                ">late",
                ">too late",
                ">refused",
            ),
            lines,
        ),
        Text("  Duplicates count once. Late ones corrected a closed bar; too late ones are in events, in no bar."),
    ]
    refused = query(REFUSED)
    if refused:
        parts.append(
            _table(
                "Refused, in dead_letters",
                ("reason", ">count", "exchanges", "for example"),
                (
                    (row["reason"], _count(row["refused"]), row["exchanges"], _shortened(row["example"]))
                    for row in refused
                ),
            )
        )
    return parts


def _coverage(rows: Sequence[Row]) -> RenderableType:
    return _table(
        "Coverage: when the channels were heard",
        ("exchange", "channel", "from", "to", ">minutes", ">heard all of it", ">frames"),
        (
            (
                row["exchange"],
                row["channel"],
                _minute(row["first"]),
                _minute(row["last"]),
                _count(row["minutes"]),
                _count(row["whole_minutes"]),
                _count(row["frames"]),
            )
            for row in rows
        ),
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Return a table; a column whose name starts with `>` is aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=True, padding=(0, 1), show_edge=False, header_style="dim")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return Group(Text(""), _title(title), table)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _minute(time: Any) -> str:  # noqa: ANN401 - a datetime of any library
    return str(time.strftime("%H:%M"))


def _count(number: int) -> str:
    return f"{number:,}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_EXAMPLE else line[: _MOST_EXAMPLE - 3] + "..."
