"""SQL and panels about anomalies and cascades that several dashboards have."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.dashboard import Mark
from pipeline.grafana.panel import Column, Rows, State, Step
from pipeline.grafana.sql import ASSET, BETWEEN, EXCHANGE, POSITION, bucket, grid
from pipeline.grafana.theme import ANOMALY, BAD, GOOD, NEUTRAL, WORST

ANOMALIES_UID: Final = "liquidations-anomalies"

# Of the market as a whole there is no asset, and of several exchanges together none.
CONCERNED: Final = f"(asset = '' OR {ASSET}) AND (exchange = '' OR {EXCHANGE}) AND (position = 'both' OR {POSITION})"

_AMOUNT: Final = (
    "multiIf(measure = 'usd', concat('$', formatReadableQuantity({0})), measure = 'share', "
    "concat(toString(round({0} * 100, 2)), ' %'), toString(round({0})))"
)
# What it is about, and why: value, bound, baseline, and what it rests on.
OF: Final = (
    "multiIf(scope = 'market', 'market', scope = 'channel', concat(exchange, ' ', symbol), symbol = '', asset, symbol)"
)
EXPLANATION: Final = f"""concat(
        replaceAll(kind, '_', ' '), ': ', {_AMOUNT.format("value")}, ' over ', {_AMOUNT.format("threshold")},
        if(isNull(baseline_mean), '', concat(', usual ', {_AMOUNT.format("assumeNotNull(baseline_mean)")},
            ' in ', toString(baseline_n), ' bars before')),
        ', coverage ', toString(round(coverage * 100)), ' %',
        if(completeness = 'full', '', ', lower bound'), if(degraded, ', degraded', ''))"""

LEVEL_STEPS: Final = (Step(None, NEUTRAL), Step(1, ANOMALY), Step(2, WORST))

OPEN_ANOMALIES: Final = f"""
SELECT started, kind, {OF} AS about, position, level, {EXPLANATION} AS explanation
FROM anomalies
WHERE $__timeFilter_ms(started) AND state = 'open' AND {CONCERNED}
ORDER BY level DESC, started DESC, about
LIMIT 100
"""

_CHOSEN_CASCADES: Final = f"$__timeFilter_ms(begin) AND {ASSET} AND {POSITION}"
# More would be a carpet: all of them are in the table of cascades.
_MOST_MARKS: Final = 30
CASCADE_MARK: Final = Mark(
    f"Cascades, the {_MOST_MARKS} largest",
    f"""
SELECT begin AS time, ifNull(`end`, least(now64(3), $__toTime_ms)) AS timeEnd,
    concat(asset, ' ', position, 's: $', formatReadableQuantity(long_usd + short_usd), ' in ',
        toString(long_count + short_count),
        ' liquidations', if(state = 'open', ', goes on', ''), if(degraded, ', degraded', '')) AS text, asset AS tags
FROM (
    SELECT * FROM cascades_between({BETWEEN}) WHERE {_CHOSEN_CASCADES}
    ORDER BY long_usd + short_usd DESC, begin, asset LIMIT {_MOST_MARKS}
)
ORDER BY time, text
""",
    ANOMALY,
)

CASCADES: Final = f"""
SELECT begin, asset, position, state, dateDiff('second', begin, ifNull(`end`, least(now64(3), $__toTime_ms))) AS lasted,
    long_usd + short_usd AS usd, long_count + short_count AS events, peak_usd_per_second AS `usd/s`, waves,
    exchanges, price_before, if(price_before = 0, NULL, price_extreme / price_before - 1) AS move,
    if(reference_before = 0, NULL, price_after_5m / reference_before - 1) AS `after 5 min`,
    if(reference_before = 0, NULL, price_after_60m / reference_before - 1) AS `after 1 h`, coverage, degraded
FROM cascades_between({BETWEEN})
WHERE {_CHOSEN_CASCADES}
ORDER BY begin DESC, asset, position
LIMIT 100
"""
CASCADE_ROWS: Final = Rows(
    (
        Column("begin", "time:YYYY-MM-DD HH:mm:ss", width=165),
        Column("lasted", "s", 0),
        Column("usd", "currencyUSD", 0),
        Column("usd/s", "currencyUSD", 0),
        Column("price_before", "locale"),
        *(Column(name, "percentunit", 2) for name in ("move", "after 5 min", "after 1 h")),
        Column("coverage", "percentunit", 0, steps=(Step(None, WORST), Step(0.9, BAD), Step(0.999, GOOD))),
    )
)

# The bound that the sum of the last hour has to pass next, while an incident lasts: each fire doubles it.
THRESHOLD: Final = f"""
SELECT slot AS time, nullIf(max(next_usd), 0.) AS threshold, max(reached) AS level
FROM (
    SELECT slots.slot AS slot, if(fire.started <= slots.slot AND ifNull(fire.ended, $__toTime_ms) > slots.slot,
            fire.next_usd, 0.) AS next_usd,
        if(next_usd > 0, toNullable(toFloat64(fire.level)), NULL) AS reached
    FROM ({grid()}) AS slots
    LEFT JOIN (
        SELECT 1 AS one, started, ended, level, details['next_threshold_usd'] AS next_usd FROM anomalies
        WHERE started >= $__fromTime_ms - toIntervalDay(1) AND started <= $__toTime_ms AND kind = 'rolling_threshold'
            AND scope = 'asset' AND {ASSET}
    ) AS fire ON fire.one = 1
)
GROUP BY time
ORDER BY time
"""

# A strip has numbers; what they are called is declared beside.
REGIMES: Final = (
    State(0, "not known", NEUTRAL),
    State(1, "ordinary", "#cbd5e1"),
    State(2, "quiet", "#5eead4"),
    State(3, "retail washout", "#0ea5e9"),
    State(4, "large positions", ANOMALY),
    State(5, "broad stress", WORST),
)
REGIME: Final = f"""
SELECT slot AS time, asset AS coin, max(kind) AS Value
FROM (
    SELECT {bucket("start")} AS slot, asset, multiIf(isNull(regime), 0, regime = 'broad_stress', 5,
        regime = 'large_positions', 4, regime = 'retail_washout', 3, regime = 'quiet', 2, 1) AS kind
    FROM regimes_between({BETWEEN})
    WHERE $__timeFilter_ms(start) AND {ASSET}
)
GROUP BY time, coin
ORDER BY time, coin
"""
