"""What stands on top of the report: what it is of, how complete it is, and by which rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.grafana.macros import TimeRange, expand
from pipeline.grafana.report.answers import Ask, read
from pipeline.grafana.report.words import in_words, time_in_words
from pipeline.grafana.sql import ASSET, COVERED
from pipeline.grafana.variable import ALL

_TOTALS: Final = f"""
SELECT completeness, arraySort(groupUniqArray(exchange)) AS exchanges, sum(long_count + short_count) AS events,
    sum(long_usd) AS longs, sum(short_usd) AS shorts, countIf(NOT closed) AS unfinished
FROM bars_1m
WHERE $__timeFilter_ms(start) AND {ASSET}
GROUP BY completeness
ORDER BY completeness
"""
_RULES: Final = f"""
SELECT rules_hash, count() AS findings
FROM anomalies
WHERE $__timeFilter_ms(started) AND (asset = '' OR {ASSET})
GROUP BY rules_hash
ORDER BY findings DESC, rules_hash
"""
_SHOW: Final = {
    "full": "every liquidation",
    "sampled": "a part of them",
    "largest_per_second": "the largest of each contract and second",
    "inferred": "what can be inferred",
    "unknown": "an unknown part",
}


def facts(ask: Ask, of: TimeRange, asset: str | None) -> Iterator[tuple[str, str]]:
    """Yield what the report is of: name and words."""
    values: dict[str, str | list[str]] = {"asset": ALL if asset is None else [asset], "exchange": ALL}
    # From the first minute to the end of the last one, which is not part of the range.
    length = in_words((of.to_ms + 1 - of.from_ms) / 1_000, "s")
    yield (
        "Time",
        f"{span_in_words(of)}, {length}; a column is {in_words(of.interval_ms / 1_000, 's')}. All times are UTC.",
    )
    yield "Of", asset or "all assets; where a chapter is of one, the largest"
    rows = read(ask(expand(_TOTALS, of, values))).rows
    longs, shorts = (sum(float(str(row[place])) for row in rows) for place in (3, 4))
    events = sum(int(str(row[2])) for row in rows)
    if events:
        bound = "" if all(row[0] == "full" for row in rows) else "at least "
        share = in_words(round(longs / (longs + shorts), 2) if longs + shorts else None, "percentunit")
        unfinished = sum(int(str(row[5])) for row in rows)
        still_open = f"; {unfinished:,} bars are still open" if unfinished else ""
        usd = in_words(longs + shorts, "currencyUSD")
        yield "Liquidated", f"{bound}{usd} in {events:,} liquidations, {share} of it longs{still_open}"
    covered = read(ask(expand(COVERED, of, values))).rows[0][0]
    heard = "no feed was listened to" if covered is None else f"{in_words(covered, 'percentunit', 2)} of the time"
    yield "Listened to", heard + ", mean over the feeds of liquidations"
    if rows:
        shown = (f"{', '.join(_names(row[1]))} {_verb(row[1])} {_SHOW[str(row[0])]}" for row in rows)
        yield "Feeds", "; ".join(shown)
    rules = [f"{row[0]} ({int(str(row[1])):,} findings)" for row in read(ask(expand(_RULES, of, values))).rows]
    yield "Rules", f"hash {', '.join(rules)}" if rules else "no finding in this time"


def span_in_words(of: TimeRange) -> str:
    """Return the time range, the date of its end only where it is another one."""
    begin, end = time_in_words(of.from_ms)[:16], time_in_words(of.to_ms + 1)[:16]
    return f"{begin} to {end[11:] if begin[:10] == end[:10] else end}"


def _names(exchanges: object) -> list[str]:
    return [str(name) for name in exchanges] if isinstance(exchanges, list) else []


def _verb(exchanges: object) -> str:
    return "shows" if len(_names(exchanges)) == 1 else "show"
