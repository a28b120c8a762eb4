"""Symbol: one asset, or some of its contracts."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_ONE
from pipeline.grafana.boards.findings import CASCADE_MARK, REGIME, REGIMES, THRESHOLD
from pipeline.grafana.boards.shared import (
    LONG_AND_SHORT,
    SYMBOL_UID,
    age_panel,
    columns_panel,
    covered_panel,
    events_table,
    strip_panel,
)
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Candles, Chart, Number, Panel, Query, Series, Step, Strip
from pipeline.grafana.sql import (
    CHANNELS,
    CONTRACTS,
    FLOWS,
    LEAST_USD,
    LISTENED,
    NOT_COVERED,
    POSITION,
    STEP_S,
    bucket,
    grid,
)
from pipeline.grafana.theme import ANOMALY, NEUTRAL, PRICE, WORST
from pipeline.grafana.variable import Choice, Typed

_MARKS: Final = (
    Choice("anomalies", "Mark anomalies", (("off", "no"), ("on", "yes"))),
    Typed("threshold", "Deviations", "2.5"),
    Typed("period", "Bars before", "30"),
)

# A bar is marked if its sum is above mean plus `threshold` standard deviations (of the sample) of the `period` complete
# bars before it, in which a covered bar without events counts as 0 and one that is not covered is left out.
_PERIOD = "least(10000, greatest(2, toUInt32OrZero(${period:singlequote})))"
_ANOMALIES = f"""
SELECT slot AS time, total AS anomaly
FROM (
    SELECT slot, total,
        avg(total) OVER before AS mean_before, stddevSamp(total) OVER before AS sd_before,
            count() OVER before AS n_before
    FROM (
        SELECT slots.slot AS slot, ifNull(sums.total, 0.) AS total
        FROM ({grid()}) AS slots
        LEFT JOIN (SELECT {bucket("at")} AS slot, sum(longs_in + shorts_in) AS total FROM ({FLOWS})
            WHERE ${{anomalies:singlequote}} = 'on' GROUP BY slot) AS sums
            ON slots.slot = sums.slot
        LEFT JOIN ({LISTENED}) AS heard ON slots.slot = heard.slot
        WHERE ${{anomalies:singlequote}} = 'on' AND heard.channels > 0
            AND heard.alive >= heard.channels * {STEP_S} * 1000.
    )
    WINDOW before AS (ORDER BY slot ROWS BETWEEN {_PERIOD} PRECEDING AND 1 PRECEDING)
)
WHERE n_before = {_PERIOD} AND total > mean_before + toFloat64OrZero(${{threshold:singlequote}}) * sd_before
ORDER BY time
"""

_TOTALS = f"""
SELECT if({CHANNELS} = 0 AND count() = 0, NULL, sum(longs_in)) AS longs,
    if({CHANNELS} = 0 AND count() = 0, NULL, sum(shorts_in)) AS shorts
FROM ({FLOWS})
"""

# The contract with the most traded of those that were chosen; without candles there is no row.
_LEADER = f"""(
    SELECT exchange, symbol FROM candles WHERE $__timeFilter_ms(start) AND {CONTRACTS}
    GROUP BY exchange, symbol ORDER BY sum(volume_usd) DESC, exchange, symbol LIMIT 1)"""

_PRICE = f"""
SELECT {bucket("start")} AS time, argMin(open, start) AS open, max(high) AS high, min(low) AS low, argMax(close,
    start) AS close
FROM candles
WHERE $__timeFilter_ms(start) AND {CONTRACTS} AND (exchange, symbol) IN {_LEADER}
GROUP BY time
ORDER BY time
"""

_RATIO = f"""
SELECT traded.slot AS time, if(traded.usd = 0, NULL, ifNull(forced.usd, 0.) / traded.usd) AS `liquidated / traded`
FROM (
    SELECT {bucket("start")} AS slot, sum(volume_usd) AS usd
    FROM candles
    WHERE $__timeFilter_ms(start) AND {CONTRACTS}
    GROUP BY slot
) AS traded
LEFT JOIN (
    SELECT {bucket("start")} AS slot, sum(long_usd + short_usd) AS usd
    FROM bars_1m
    WHERE $__timeFilter_ms(start) AND {CONTRACTS} AND (exchange, symbol) IN
        (SELECT DISTINCT exchange, symbol FROM candles WHERE $__timeFilter_ms(start) AND {CONTRACTS})
    GROUP BY slot
) AS forced ON traded.slot = forced.slot
ORDER BY time
"""

# Sums of sixty minutes at the end of each minute; the first hour of the range is read from before it.
_ROLLING = f"""
SELECT slot AS time, if({CHANNELS} = 0, NULL, max(hour_usd)) AS `last hour`
FROM (
    SELECT {bucket("minute")} AS slot, minute,
        sum(usd) OVER (ORDER BY toUnixTimestamp(minute) RANGE BETWEEN 3599 PRECEDING AND CURRENT ROW) AS hour_usd
    FROM (
        SELECT minute, sum(part) AS usd
        FROM (
            SELECT toDateTime(start, 'UTC') AS minute, long_usd + short_usd AS part
            FROM bars_1m
            WHERE start >= $__fromTime_ms - toIntervalHour(1) AND start <= $__toTime_ms AND {CONTRACTS}
            UNION ALL
            SELECT slot, 0. FROM ({grid("60")})
        )
        GROUP BY minute
    )
)
WHERE minute >= $__fromTime
GROUP BY time
ORDER BY time
"""


def _readings(metric: str) -> str:
    """Return a query of one metric, one line for each contract."""
    return f"""
SELECT {bucket("time")} AS slot, concat(exchange, ' ', symbol) AS contract, argMax(value, time) AS Value
FROM metrics
WHERE metric = '{metric}' AND $__timeFilter_ms(time) AND {CONTRACTS}
GROUP BY slot, contract
ORDER BY slot, contract
"""


_EVENTS = f"""
SELECT event_time AS time, exchange, symbol, position, notional_usd AS usd, price, price_kind, completeness,
    position_proved
FROM events
WHERE $__timeFilter_ms(event_time) AND {CONTRACTS} AND {POSITION} AND notional_usd >= {LEAST_USD}
ORDER BY time DESC, usd DESC
LIMIT 200
"""

SYMBOL: Final = Dashboard(
    SYMBOL_UID,
    "Liquidations: symbol",
    "What happens to one asset: liquidations beside price, volume, open interest and funding?",
    (*OF_ONE, *_MARKS),
    (
        Section(
            100,
            "Liquidations",
            (
                age_panel(1, 6),
                covered_panel(2, 6),
                Panel(
                    3,
                    "Liquidated, $mode: ${bound}",
                    "How much was liquidated in the time range?",
                    Number(joined=True),
                    (Query(_TOTALS, "table"),),
                    unit="short",
                    width=12,
                    height=4,
                ),
                columns_panel(4, more=(Query(_ANOMALIES),)),
                strip_panel(5, height=5),
            ),
        ),
        Section(
            101,
            "Beside the market",
            (
                Panel(
                    6,
                    "Price",
                    "Where was the price? Of the chosen contract that is traded most.",
                    Candles(),
                    (Query(_PRICE),),
                    unit="locale",
                    width=24,
                    height=9,
                    empty="no candles of these contracts are collected",
                ),
                Panel(
                    7,
                    "Liquidated per traded value: ${bound}",
                    "What share of the traded value was forced? Of the contracts whose candles are collected, "
                    "all sizes "
                    "and both positions.",
                    Chart("area", (Series("liquidated / traded", ANOMALY),)),
                    (Query(_RATIO),),
                    unit="percentunit",
                    empty="no candles of these contracts are collected",
                ),
                Panel(
                    8,
                    "Liquidated in the last hour: ${bound}",
                    "Is the last hour's sum above the bound that it has to pass next, and how often has it passed one? "
                    "The bound doubles with each `level` that is reached, until the hour is calm again. The highest "
                    "sum of "
                    "each bucket, all sizes and both positions.",
                    Chart(
                        "line",
                        (
                            Series("last hour", PRICE),
                            Series("threshold", ANOMALY, "steps", dashed=True),
                            Series("level", WORST, "points", axis="right", unit="none"),
                            LONG_AND_SHORT[-1],
                        ),
                        steps=(Step(None, "transparent"), Step(1e6, NEUTRAL)),
                    ),
                    (Query(_ROLLING), Query(THRESHOLD), Query(NOT_COVERED)),
                    unit="currencyUSD",
                ),
                Panel(
                    50,
                    "Regime",
                    "What kind of time is it, by the asset's own week before: much or little money, many or few "
                    "events? "
                    "Not known: less than nine tenths were covered, or fewer than 50 bars are known.",
                    Strip(states=REGIMES),
                    (Query(REGIME),),
                    width=24,
                    height=4,
                    interval="5m",
                ),
                Panel(
                    9,
                    "Open interest",
                    "How much is open, and does it fall with the liquidations? In USD.",
                    Chart("line"),
                    (Query(_readings("open_interest_usd")),),
                    unit="currencyUSD",
                    empty="no open interest of these contracts is collected",
                ),
                Panel(
                    10,
                    "Funding",
                    "Who pays whom? Above 0 longs pay shorts; per funding interval of the contract.",
                    Chart("steps", steps=(Step(None, "transparent"), Step(0, NEUTRAL))),
                    (Query(_readings("funding_rate")),),
                    unit="percentunit",
                    empty="no funding of these contracts is collected",
                ),
                Panel(
                    11,
                    "Accounts that are long",
                    "How are the accounts placed? Share of accounts that hold longs.",
                    Chart("line"),
                    (Query(_readings("long_account_share")),),
                    unit="percentunit",
                    empty="no share of accounts of these contracts is collected",
                ),
            ),
        ),
        Section(
            102,
            "Events",
            (
                Panel(
                    12,
                    "Latest liquidations",
                    "Which single liquidations are these? The latest 200 of at least the chosen size. "
                    "`position_proved` "
                    "false: the exchange does not document its sign.",
                    events_table(),
                    (Query(_EVENTS, "table"),),
                    width=24,
                    height=10,
                ),
            ),
        ),
    ),
    (CASCADE_MARK,),
)
