"""Market: all assets and exchanges together."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_MANY
from pipeline.grafana.boards.findings import CASCADE_MARK, LEVEL_STEPS, OPEN_ANOMALIES
from pipeline.grafana.boards.shared import (
    MARKET_UID,
    SYMBOL_UID,
    age_panel,
    columns_panel,
    covered_panel,
    events_table,
    strip_panel,
)
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Chart, Column, Heat, Number, Panel, Query, Rows, Series
from pipeline.grafana.sql import CHANNELS, CONTRACTS, FLOWS, LEAST_USD, POSITION, bucket, grid

_HOUR = "greatest(3600, $__interval_s)"
_MOST_ASSETS = 25

_TOTALS = f"""
SELECT if({CHANNELS} = 0 AND count() = 0, NULL, sum(longs_in)) AS longs,
    if({CHANNELS} = 0 AND count() = 0, NULL, sum(shorts_in)) AS shorts
FROM ({FLOWS})
"""

_BALANCE = f"""
SELECT slot AS time, if(longs_sum + shorts_sum = 0, NULL, longs_sum / (longs_sum + shorts_sum)) AS `share of longs`
FROM (SELECT {bucket("at")} AS slot, sum(longs_in) AS longs_sum, sum(shorts_in) AS shorts_sum
    FROM ({FLOWS}) GROUP BY slot)
ORDER BY time
"""

_BY_EXCHANGE = f"""
SELECT {bucket("at")} AS time, venue, sum(longs_in + shorts_in) AS Value
FROM ({FLOWS})
GROUP BY time, venue
ORDER BY time, venue
"""

_MEAN_SIZE = f"""
SELECT {bucket("start")} AS time, if(sum(long_count) = 0, NULL, sum(long_usd) / sum(long_count)) AS longs,
    if(sum(short_count) = 0, NULL, sum(short_usd) / sum(short_count)) AS shorts
FROM bars_1m
WHERE $__timeFilter_ms(start) AND {CONTRACTS}
GROUP BY time
ORDER BY time
"""

# An asset's buckets are kept together until the largest are known, so that bars are read once. Then come empty ones.
_ASSETS_BY_HOUR = f"""
SELECT cell.1 AS time, coin, sum(cell.2) AS Value
FROM (
    SELECT coin, arrayJoin(arrayConcat(cells, (SELECT groupArray((slot, 0.)) FROM ({grid(_HOUR)})))) AS cell
    FROM (
        SELECT coin, groupArray((slot, part)) AS cells, sum(part) AS whole
        FROM (SELECT {bucket("at", _HOUR)} AS slot, coin, sum(longs_in + shorts_in) AS part FROM ({FLOWS})
            GROUP BY slot, coin)
        GROUP BY coin
        ORDER BY whole DESC, coin
        LIMIT {_MOST_ASSETS}
    )
)
GROUP BY time, coin
ORDER BY time, coin
"""

_LARGEST_EVENTS = f"""
SELECT event_time AS time, exchange, asset, symbol, position, notional_usd AS usd, price, price_kind, completeness
FROM events
WHERE $__timeFilter_ms(event_time) AND {CONTRACTS} AND {POSITION} AND notional_usd >= {LEAST_USD}
ORDER BY usd DESC, time
LIMIT 100
"""

_MOVERS = f"""
SELECT asset, sum(present) AS usd, sum(past) AS before, if(before = 0, NULL, usd / before - 1) AS change,
    if(usd = 0, NULL, sum(present_longs) / usd) AS long_share, sum(present_count) AS events,
        max(present_largest) AS largest
FROM (
    SELECT asset, long_usd + short_usd AS present, long_usd AS present_longs, long_count + short_count AS present_count,
        largest_usd AS present_largest, 0. AS past
    FROM bars_1m
    WHERE $__timeFilter_ms(start) AND {CONTRACTS}
    UNION ALL
    SELECT asset, 0., 0., 0, 0., long_usd + short_usd
    FROM bars_1m
    WHERE start < $__fromTime_ms AND start >= toDateTime64($__fromTime, 3) - toIntervalSecond(dateDiff('second',
        $__fromTime, $__toTime))
        AND {CONTRACTS}
)
GROUP BY asset
ORDER BY usd DESC, asset
LIMIT 50
"""

MARKET: Final = Dashboard(
    MARKET_UID,
    "Liquidations: market",
    "How much is being liquidated in the whole market, of what and where?",
    OF_MANY,
    (
        Section(
            100,
            "Now",
            (
                age_panel(1),
                covered_panel(2),
                Panel(
                    3,
                    "Liquidated, $mode: ${bound}",
                    "How much was liquidated in the time range?",
                    Number(joined=True),
                    (Query(_TOTALS, "table"),),
                    unit="short",
                    width=8,
                    height=4,
                ),
                Panel(
                    4,
                    "Share of longs",
                    "Which side is hit? 1: longs only, 0: shorts only. No point: nothing was liquidated.",
                    Chart("points", (Series("share of longs", "long", "points"),)),
                    (Query(_BALANCE),),
                    unit="percentunit",
                    width=8,
                    height=4,
                ),
            ),
        ),
        Section(
            101,
            "Over time",
            (
                columns_panel(5),
                Panel(
                    50,
                    "Open anomalies",
                    "What is going on now that the rules find unusual, and why?",
                    Rows(
                        (
                            Column("started", "time:YYYY-MM-DD HH:mm:ss", width=165),
                            Column("level", steps=LEVEL_STEPS),
                            Column("explanation", width=640),
                        )
                    ),
                    (Query(OPEN_ANOMALIES, "table"),),
                    width=24,
                    height=7,
                    empty="nothing unusual goes on",
                ),
                strip_panel(6),
            ),
        ),
        Section(
            102,
            "Where",
            (
                Panel(
                    7,
                    f"The {_MOST_ASSETS} largest assets by hour, $mode: ${{bound}}",
                    "When was which asset hit? The assets with the largest sums of the time range. An empty cell: no "
                    "liquidation that anybody saw.",
                    Heat(axis_unit="none"),
                    (Query(_ASSETS_BY_HOUR),),
                    unit="short",
                    width=14,
                    height=12,
                    interval="1h",
                ),
                Panel(
                    8,
                    "By exchange, $mode: ${bound}",
                    "Which exchange's liquidations are these? Exchanges that show only a part look smaller than "
                    "they are: "
                    "see Data quality.",
                    Chart("columns", stacked=True),
                    (Query(_BY_EXCHANGE),),
                    unit="short",
                    width=10,
                    height=12,
                ),
            ),
        ),
        Section(
            103,
            "What",
            (
                Panel(
                    9,
                    "Assets and their change: ${bound}",
                    "Which assets were hit most, and how much more than in as long a time before? Of all sizes "
                    "and both "
                    "positions.",
                    Rows(
                        (
                            Column("asset", link=SYMBOL_UID, passes="asset"),
                            Column("usd", "currencyUSD", 0),
                            Column("before", "currencyUSD", 0),
                            Column("change", "percentunit", 0),
                            Column("long_share", "percentunit", 0, gauge=(0, 1)),
                            Column("largest", "currencyUSD", 0),
                        )
                    ),
                    (Query(_MOVERS, "table"),),
                    width=12,
                    height=12,
                ),
                Panel(
                    10,
                    "Largest liquidations",
                    "Which single liquidations were the largest? `price_kind` says what kind of price the "
                    "exchange shows.",
                    events_table(),
                    (Query(_LARGEST_EVENTS, "table"),),
                    width=12,
                    height=12,
                ),
                Panel(
                    11,
                    "Mean size of a liquidation",
                    "Are few large positions hit, or many small ones? Of all sizes. A feed that shows only the largest "
                    "or the latest of a second makes the mean too large or uncertain: compare exchanges one by one.",
                    Chart("points", (Series("longs", "long"), Series("shorts", "short")), logarithmic=True),
                    (Query(_MEAN_SIZE),),
                    unit="currencyUSD",
                    width=24,
                    height=7,
                    empty="nothing was liquidated",
                ),
            ),
        ),
    ),
    (CASCADE_MARK,),
)
