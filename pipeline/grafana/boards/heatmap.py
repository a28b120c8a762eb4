"""Heatmap: at which prices longs and shorts were liquidated."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_ONE
from pipeline.grafana.boards.findings import CASCADE_MARK
from pipeline.grafana.boards.shared import HEATMAP_UID, age_panel, covered_panel, strip_panel
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Chart, Column, Heat, Panel, Query, Rows, Series
from pipeline.grafana.sql import CONTRACTS, LEAST_USD, POSITION, STEP_S, bucket, grid
from pipeline.grafana.theme import PRICE

_LEVELS = 48
# With the levels about 15,000 cells, whatever was chosen.
_STEP_S = f"greatest({STEP_S}, intDiv(dateDiff('second', $__fromTime, $__toTime), 300 * 60) * 60)"

_CHOSEN = f"$__timeFilter_ms(event_time) AND {CONTRACTS} AND {POSITION} AND notional_usd >= {LEAST_USD} AND price > 0"
# Lowest and highest price and the number of events, read once. Levels lie at equal ratios, not at equal differences.
_SEEN = f"(SELECT (min(price), max(price), count()) FROM events WHERE {_CHOSEN})"
_LOWEST = f"log({_SEEN}.1)"
_RATIO = f"greatest(1e-5, (log({_SEEN}.2) - {_LOWEST}) / {_LEVELS})"
_LEVEL = f"least({_LEVELS - 1}, toInt32(floor((log(price) - {_LOWEST}) / {_RATIO})))"


_DIGITS = f"toUInt8(greatest(0, least(12, 5 - floor({_LOWEST} / log(10)))))"


def _edge(level: str) -> str:
    return f"toDecimalString(exp({_LOWEST} + ({level}) * {_RATIO}), {_DIGITS})"


def _name(level: str) -> str:
    """Return the lower edge of a level with six digits that count, padded so that text sorts as numbers do."""
    return f"leftPad({_edge(level)}, length({_edge(str(_LEVELS))}), '0')"


def _cells(position: str) -> str:
    """Return a query of all cells of one position, the empty ones too."""
    return f"""
SELECT slot AS time, {_name("level")} AS price_from, sum(part) AS Value
FROM (
    SELECT {bucket("event_time", _STEP_S)} AS slot, {_LEVEL} AS level, if(${{mode:singlequote}} = 'count', 1.,
        notional_usd) AS part
    FROM events
    WHERE {_CHOSEN} AND position = '{position}'
    UNION ALL
    SELECT slot, toInt32(number), 0. FROM ({grid(_STEP_S)}) AS slots CROSS JOIN numbers({_LEVELS}) AS levels
    WHERE {_SEEN}.3 > 0
)
GROUP BY time, level
ORDER BY time, level
"""


_LINE = f"""
SELECT {bucket("start", _STEP_S)} AS time, argMax(close, start) AS price
FROM candles
WHERE $__timeFilter_ms(start) AND {CONTRACTS} AND (exchange, symbol) IN (
    SELECT exchange, symbol FROM candles WHERE $__timeFilter_ms(start) AND {CONTRACTS}
    GROUP BY exchange, symbol ORDER BY sum(volume_usd) DESC, exchange, symbol LIMIT 1)
GROUP BY time
ORDER BY time
"""

_EXTREMES = f"""
SELECT {bucket("start", _STEP_S)} AS time, min(price_low) AS lowest, max(price_high) AS highest
FROM bars_1m
WHERE $__timeFilter_ms(start) AND {CONTRACTS}
GROUP BY time
ORDER BY time
"""

_LEVEL_TABLE = f"""
SELECT exp({_LOWEST} + level * {_RATIO}) AS price_from, exp({_LOWEST} + (level + 1) * {_RATIO}) AS price_to,
    sum(if(position = 'long', notional_usd, 0.)) AS longs, sum(if(position = 'short', notional_usd, 0.)) AS shorts,
    count() AS events
FROM (SELECT {_LEVEL} AS level, position, notional_usd FROM events WHERE {_CHOSEN})
GROUP BY level
ORDER BY longs + shorts DESC, level
LIMIT 25
"""


def _heat(number: int, position: str) -> Panel:
    return Panel(
        number,
        f"Liquidated {position}s by price, $mode: ${{bound}}",
        f"At which prices were {position}s closed by force? Steps of equal ratio between the lowest and the "
        f"highest price of "
        "the time range; each line starts at the price beside it. What happened, not what might happen. An "
        "empty cell: no "
        "liquidation that anybody saw.",
        Heat(),
        (Query(_cells(position)),),
        unit="short",
        width=24,
        height=12,
    )


HEATMAP: Final = Dashboard(
    HEATMAP_UID,
    "Liquidations: heatmap",
    "At which prices were longs and shorts of one asset liquidated?",
    OF_ONE,
    (
        Section(100, "By price and time", (_heat(1, "long"), _heat(2, "short"))),
        Section(
            101,
            "Price",
            (
                Panel(
                    3,
                    "Price, and prices of liquidations",
                    "Where was the price, and between which prices were positions closed? The price is that of "
                    "the chosen "
                    "contract that is traded most; the points are the extremes of the liquidations.",
                    Chart(
                        "line",
                        (
                            Series("price", PRICE),
                            Series("lowest", "long", "points"),
                            Series("highest", "short", "points"),
                        ),
                        logarithmic=True,
                    ),
                    (Query(_LINE), Query(_EXTREMES)),
                    unit="locale",
                    width=14,
                    height=10,
                ),
                Panel(
                    4,
                    "Prices with the most: ${bound}",
                    "Between which prices was most liquidated?",
                    Rows(
                        (
                            Column("price_from", "locale"),
                            Column("price_to", "locale"),
                            Column("longs", "currencyUSD", 0),
                            Column("shorts", "currencyUSD", 0),
                        )
                    ),
                    (Query(_LEVEL_TABLE, "table"),),
                    width=10,
                    height=10,
                ),
            ),
        ),
        Section(102, "What it rests on", (age_panel(5, 12), covered_panel(6, 12), strip_panel(7, height=5))),
    ),
    (CASCADE_MARK,),
)
