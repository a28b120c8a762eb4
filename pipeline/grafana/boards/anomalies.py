"""Anomalies and cascades: what the rules found, why, and how soon."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import KINDS, LEAST_LEVEL, OF_MANY, ONE_ANOMALY
from pipeline.grafana.boards.findings import (
    ANOMALIES_UID,
    CASCADE_MARK,
    CASCADE_ROWS,
    CASCADES,
    CONCERNED,
    EXPLANATION,
    LEVEL_STEPS,
    OF,
)
from pipeline.grafana.boards.shared import LONG_AND_SHORT, age_panel, covered_panel, events_table, strip_panel
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Chart, Column, Number, Panel, Query, Rows, Step
from pipeline.grafana.sql import ASSET, LEAST_USD, POSITION, bucket
from pipeline.grafana.sql import SYMBOL as CONTRACT
from pipeline.grafana.theme import BAD, GOOD

_KIND = "$__conditionalAll(kind IN (${kind:singlequote}), $kind)"
_FOUND = f"""$__timeFilter_ms(started) AND {_KIND} AND level >= toInt32OrZero(${{level:singlequote}}) AND {CONCERNED}
    AND (scope != 'instrument' OR {CONTRACT}) AND (measure != 'usd' OR value >= {LEAST_USD})"""

_NUMBERS = f"""
SELECT if(count() = 0, NULL, countIf(state = 'open')) AS `open`, if(count() = 0, NULL, count()) AS found,
    if(count() = 0, NULL, countIf(degraded)) AS degraded
FROM anomalies
WHERE {_FOUND}
"""

_TABLE = f"""
SELECT started, kind, {OF} AS about, position, level, {EXPLANATION} AS explanation, value, threshold, state, updated,
    anomaly_id AS anomaly
FROM anomalies
WHERE {_FOUND}
ORDER BY started DESC, level DESC, about
LIMIT 500
"""

# The anomaly that was clicked, else the gravest of the time range: id, asset, since when and until when its events are
# looked for, and their ids. Read once; without an anomaly nothing is looked for.
_ONE = f"""(SELECT (any(anomaly_id), any(asset), any(started) - toIntervalHour(2), any(updated), any(contributors))
    FROM (
        SELECT anomaly_id, asset, started, updated, contributors
        FROM anomalies
        WHERE {_FOUND} AND notEmpty(contributors)
        ORDER BY anomaly_id = ${{anomaly:singlequote}} DESC, level DESC, value / threshold DESC, anomaly_id
        LIMIT 1))"""
_CONTRIBUTORS = f"""
SELECT event_time AS time, exchange, asset, symbol, position, notional_usd AS usd, price, price_kind, completeness,
    {_ONE}.1 AS anomaly
FROM events
WHERE event_time >= {_ONE}.3 AND event_time <= {_ONE}.4 AND ({_ONE}.2 = '' OR asset = {_ONE}.2)
    AND has({_ONE}.5, event_id)
ORDER BY usd DESC, time
"""

# What a cascade forced, at its begin; what the other position lost meanwhile is not in it.
_IN_CASCADES = f"""
SELECT {bucket("started")} AS time, sumIf(part, position = 'long') AS longs, sumIf(part, position = 'short') AS shorts
FROM (
    SELECT started, position, if(${{mode:singlequote}} = 'count', details['events'], value) AS part
    FROM anomalies
    WHERE $__timeFilter_ms(started) AND kind = 'cascade' AND {ASSET} AND {POSITION}
)
GROUP BY time
ORDER BY time
"""

_FIRED = f"""
SELECT kind, level, count() AS fired, countIf(state = 'open') AS `open now`, uniqExact(asset, symbol) AS about,
    countIf(degraded) / count() AS `degraded`, max(started) AS latest
FROM anomalies
WHERE {_FOUND}
GROUP BY kind, level
ORDER BY kind, level
"""

_OVER_TIME = f"""
SELECT {bucket("started")} AS time, kind AS rule, count() AS Value
FROM anomalies
WHERE {_FOUND}
GROUP BY time, rule
ORDER BY time, rule
"""

_TOLD = f"$__timeFilter_ms(started) AND {_KIND}"
_DELAYS = f"""
SELECT kind, count() AS anomalies, quantileExact(0.5)(delay_ms) / 1000 AS p50,
    quantileExact(0.95)(delay_ms) / 1000 AS p95,
    max(delay_ms) / 1000 AS worst
FROM detections
WHERE {_TOLD}
GROUP BY kind
ORDER BY kind
"""

_TIME = "time:YYYY-MM-DD HH:mm:ss"

ANOMALIES: Final = Dashboard(
    ANOMALIES_UID,
    "Liquidations: anomalies and cascades",
    "What did the rules find, why, and how soon?",
    (*OF_MANY, KINDS, LEAST_LEVEL, ONE_ANOMALY),
    (
        Section(
            100,
            "At a glance",
            (
                age_panel(1, 6),
                covered_panel(2, 6),
                Panel(
                    3,
                    "Anomalies",
                    "How many are open, how many were found, and how many of them rest on less than their rule asks "
                    "for?",
                    Number((Step(None, GOOD), Step(1, BAD)), decimals=0, joined=True),
                    (Query(_NUMBERS, "table"),),
                    width=12,
                    height=4,
                ),
            ),
        ),
        Section(
            101,
            "Found",
            (
                Panel(
                    4,
                    "Anomalies and why",
                    "What was found, and why? The value that was judged, its bound, what was usual before, and the "
                    "coverage of what it rests on. A click on `anomaly` shows its events below.",
                    Rows(
                        (
                            Column("started", _TIME, width=165),
                            Column("level", steps=LEVEL_STEPS),
                            Column("explanation", width=560),
                            Column("value", "short"),
                            Column("threshold", "short"),
                            Column("updated", _TIME, width=165),
                            Column("anomaly", link=ANOMALIES_UID, passes="anomaly"),
                        )
                    ),
                    (Query(_TABLE, "table"),),
                    width=24,
                    height=12,
                    empty="no rule fired",
                ),
                Panel(
                    5,
                    "Contributing events",
                    "Which are the largest liquidations in one anomaly, at most ten? The one that was clicked "
                    "above, else "
                    "the gravest of the time range.",
                    events_table(),
                    (Query(_CONTRIBUTORS, "table"),),
                    width=24,
                    height=9,
                    empty="no rule fired that names events",
                ),
            ),
        ),
        Section(
            102,
            "Cascades",
            (
                Panel(
                    6,
                    "Cascades",
                    "Which runs of forced orders were large for their asset, and what did the price do? `move`: "
                    "from the "
                    "first liquidation to the extreme one; afterwards of a traded price, against that before the "
                    "cascade.",
                    CASCADE_ROWS,
                    (Query(CASCADES, "table"),),
                    width=24,
                    height=10,
                    empty="no cascade",
                ),
                Panel(
                    11,
                    "Liquidated in cascades, $mode: ${bound}",
                    "How much of the forced flow came in runs that fed themselves, and when did they begin?",
                    Chart("columns", LONG_AND_SHORT[:2], stacked=True),
                    (Query(_IN_CASCADES),),
                    unit="short",
                    width=24,
                    empty="no cascade",
                ),
            ),
        ),
        Section(
            103,
            "The rules",
            (
                Panel(
                    7,
                    "How often each rule fired",
                    "Which rules fire, and how often on incomplete data? Rules that fire all the time are not read.",
                    Rows(
                        (
                            Column("degraded", "percentunit", 0),
                            Column("level", steps=LEVEL_STEPS),
                            Column("latest", _TIME, width=165),
                        )
                    ),
                    (Query(_FIRED, "table"),),
                    empty="no rule fired",
                ),
                Panel(
                    8,
                    "Delay of detection",
                    "How long after its begin was an anomaly told, in event time? Of a surge the begin is that of "
                    "its bar.",
                    Rows(tuple(Column(name, "s", 1) for name in ("p50", "p95", "worst"))),
                    (Query(_DELAYS, "table"),),
                    empty="no rule fired",
                ),
                Panel(
                    9,
                    "Anomalies over time",
                    "When did which rule fire?",
                    Chart("columns", stacked=True),
                    (Query(_OVER_TIME),),
                    unit="short",
                    width=24,
                    empty="no rule fired",
                ),
                strip_panel(10),
            ),
        ),
    ),
    (CASCADE_MARK,),
)
