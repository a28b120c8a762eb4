"""Heatmap: at which prices longs and shorts were liquidated."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_ONE
from pipeline.grafana.boards.findings import CASCADE_MARK
from pipeline.grafana.boards.shared import HEATMAP_UID, age_panel, covered_panel, strip_panel
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Chart, Column, Heat, Panel, Query, Rows, Series
from pipeline.grafana.sql import CONTRACTS, LEAST_USD, POSITION, STEP_S, bucket
from pipeline.grafana.theme import PRICE

_LEVELS = 48
# With the levels about 15,000 cells, whatever was chosen.
_STEP_S = f"greatest({STEP_S}, intDiv(dateDiff('second', $__fromTime, $__toTime), 300 * 60) * 60)"

_CHOSEN = f"$__timeFilter_ms(event_time) AND {CONTRACTS} AND {POSITION} AND notional_usd >= {LEAST_USD} AND price > 0"
# Events with the lowest price of all and the ratio of the levels beside each, so that they are read once. Levels lie at
# equal ratios, not at equal differences.
_ON_LEVELS = f"""
    SELECT event_time, position, notional_usd, lowest_log, ratio_log,
        least({_LEVELS - 1}, toUInt32(floor((log(price) - lowest_log) / ratio_log))) AS level
    FROM (
        SELECT event_time, position, notional_usd, price, log(min(price) OVER ()) AS lowest_log,
            greatest(1e-5, (log(max(price) OVER ()) - lowest_log) / {_LEVELS}) AS ratio_log
        FROM events
        WHERE {_CHOSEN}
    )
"""


def _cells(position: str) -> str:
    """Return a query of all cells of one position, the empty ones too.

    `seen` is the sums of all cells, the logarithms of the lowest price and of the ratio, and the number of events. A
    level is named by its lower edge with six digits that count, padded so that text sorts as numbers do.
    """
    return f"""
WITH {_STEP_S} AS step, toUnixTimestamp({bucket("$__fromTime", "step")}) AS first_s,
    toUInt32(intDiv(toUnixTimestamp($__toTime) - first_s, step) + 1) AS slots,
    (
        SELECT (arrayResize(groupArrayInsertAt(0.)(part, place), slots * {_LEVELS}, 0.), any(lowest_of_all),
            any(ratio_of_all), count())
        FROM (
            SELECT toUInt32(intDiv(toUnixTimestamp({bucket("event_time", "step")}) - first_s, step) * {_LEVELS} + level)
                    AS place,
                sumIf(if(${{mode:singlequote}} = 'count', 1., notional_usd), position = '{position}') AS part,
                any(lowest_log) AS lowest_of_all, any(ratio_log) AS ratio_of_all
            FROM ({_ON_LEVELS})
            GROUP BY place
        )
    ) AS seen,
    toUInt8(greatest(0, least(12, 5 - floor(seen.2 / log(10))))) AS digits,
    arrayMap(edge -> toDecimalString(exp(seen.2 + edge * seen.3), digits), range({_LEVELS + 1})) AS edges
SELECT toDateTime(first_s + intDiv(number, {_LEVELS}) * step, 'UTC') AS time,
    leftPad(edges[number % {_LEVELS} + 1], length(edges[{_LEVELS + 1}]), '0') AS price_from, seen.1[number + 1] AS Value
FROM numbers(if(seen.4 = 0, 0, toUInt64(slots * {_LEVELS})))
ORDER BY number
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
SELECT exp(any(lowest_log) + level * any(ratio_log)) AS price_from,
    exp(any(lowest_log) + (level + 1) * any(ratio_log)) AS price_to,
    sum(if(position = 'long', notional_usd, 0.)) AS longs, sum(if(position = 'short', notional_usd, 0.)) AS shorts,
    count() AS events
FROM ({_ON_LEVELS})
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
