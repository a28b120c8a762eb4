"""Pipeline: whether rows arrive, how many and how soon."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_MANY
from pipeline.grafana.boards.shared import AGE_STEPS, PIPELINE_UID, age_panel, strip_panel
from pipeline.grafana.dashboard import Dashboard, Section
from pipeline.grafana.panel import Chart, Column, Number, Panel, Query, Rows, Series, Step
from pipeline.grafana.sql import EXCHANGE, STEP_S, bucket
from pipeline.grafana.theme import BAD, GOOD, NEUTRAL, WORST

_NOW = "least(now(), $__toTime)"


_KINDS = {
    "heartbeats": "a collector spoke",
    "events": "a liquidation was read",
    "coverage": "a minute was closed by the worker",
    "bars_1m": "a bar began",
    "candles": "a candle was read",
    "metrics": "a metric was read",
}
# Of a long time range the last week is enough. What has no row is shown, too: nothing of it came.
_AGES = f"""
SELECT transform(name, {list(_KINDS)}, {list(_KINDS.values())}, name) AS what, max(latest) AS newest,
    if(isNull(newest), NULL, greatest(0, dateDiff('second', assumeNotNull(newest), {_NOW}))) AS age
FROM (
    SELECT kind AS name, newest AS latest
    FROM newest_between(from_ms = toUnixTimestamp64Milli(greatest($__fromTime_ms, $__toTime_ms - toIntervalDay(7))),
        to_ms = toUnixTimestamp64Milli($__toTime_ms))
    UNION ALL
    SELECT arrayJoin({list(_KINDS)}), NULL
)
GROUP BY name
ORDER BY age, what
"""

# Behind what the collectors have said, which goes by the same log and the same sink: the rest is the worker's delay.
_WORKER = """
SELECT if(said = 0 OR closed = 0, NULL, greatest(0, said - closed)) AS behind
FROM (
    SELECT (SELECT toUnixTimestamp(max(last_time)) FROM heartbeats WHERE $__timeFilter_ms(start)) AS said,
        (SELECT if(count() = 0, 0, toUnixTimestamp(max(start)) + 60) FROM coverage
            WHERE $__timeFilter_ms(start)) AS closed
)
"""

_COLLECTORS = f"""
SELECT uniqExact(collector) AS collectors
FROM heartbeats
WHERE $__timeFilter_ms(start) AND start >= {_NOW} - toIntervalMinute(4) AND was_up
    AND last_time >= {_NOW} - toIntervalMinute(2) AND {EXCHANGE}
"""

_SINK_REFUSALS = (
    "SELECT count() AS refused FROM dead_letters WHERE stage IN ('sink', 'worker') AND $__timeFilter_ms(received_time)"
)

_EVENTS = f"""
SELECT {bucket("start")} AS time, exchange AS venue, sum(events) / {STEP_S} AS Value
FROM tallies
WHERE $__timeFilter_ms(start) AND {EXCHANGE}
GROUP BY time, venue
ORDER BY time, venue
"""

_FRAMES = f"""
SELECT {bucket("start")} AS time, concat(exchange, ' ', channel) AS feed, sum(frames) / {STEP_S} AS Value
FROM coverage
WHERE $__timeFilter_ms(start) AND {EXCHANGE}
GROUP BY time, feed
ORDER BY time, feed
"""

# A connection's name says when it was opened: each new one is a reconnection or a restart.
_CONNECTIONS = f"""
SELECT {bucket("opened")} AS time, feed, count() AS Value
FROM (
    SELECT concat(exchange, ' ', listened) AS feed, min(event_time) AS opened
    FROM (SELECT exchange, source.channel AS listened, source.connection AS connected, event_time FROM events
        WHERE $__timeFilter_ms(event_time) AND {EXCHANGE})
    GROUP BY exchange, listened, connected
)
GROUP BY time, feed
ORDER BY time, feed
"""

# Messages are counted for the last hour only: heartbeats keep them by the second, and this asks who hears what now.
_BY_COLLECTOR = f"""
SELECT said.collector AS collector, said.exchange AS exchange, said.channel AS channel, heard,
    greatest(0, dateDiff('second', heard, {_NOW})) AS age, messages AS `messages, last hour`, up, down AS `minutes down`
FROM (
    SELECT collector, exchange, channel, max(last_time) AS heard, argMax(was_up, start) AS up,
        countIf(NOT was_up) AS down
    FROM heartbeats
    WHERE $__timeFilter_ms(start) AND {EXCHANGE}
    GROUP BY collector, exchange, channel
) AS said
LEFT JOIN (
    SELECT collector, exchange, channel, sum(frames) AS messages
    FROM heartbeats
    WHERE $__timeFilter_ms(start) AND start > $__toTime_ms - toIntervalHour(1) AND {EXCHANGE}
    GROUP BY collector, exchange, channel
) AS lately ON said.collector = lately.collector AND said.exchange = lately.exchange AND said.channel = lately.channel
ORDER BY age DESC, collector, exchange, channel
LIMIT 500
"""

# By contract and connection first: there are few of both beside events.
_STORED = f"""
SELECT exchange, sum(number) AS events, min(earliest) AS first, max(newest) AS latest, uniqExact(symbol) AS contracts,
    uniqExact(connected) AS connections
FROM (
    SELECT exchange, symbol, connected, count() AS number, min(event_time) AS earliest, max(event_time) AS newest
    FROM (SELECT exchange, symbol, source.connection AS connected, event_time FROM events
        WHERE $__timeFilter_ms(event_time) AND {EXCHANGE})
    GROUP BY exchange, symbol, connected
)
GROUP BY exchange
ORDER BY events DESC, exchange
"""

# The worst minute of each bucket: percentiles of minutes cannot be added up.
_ARRIVALS = f"""
SELECT {bucket("start")} AS time, avgWeighted(p50_ms, events) / 1000 AS median, max(p95_ms) / 1000 AS p95,
    max(most_ms) / 1000 AS longest
FROM arrivals
WHERE $__timeFilter_ms(start)
GROUP BY time
ORDER BY time
"""

_MARKET_BEHIND = f"""
SELECT {bucket("start")} AS time, max(most_delay_ms) / 1000 AS `behind, at most`, argMax(delay_ms, start) / 1000 AS
    `behind, at the end`, max(waiting) AS `pulses waiting`
FROM market_delay
WHERE $__timeFilter_ms(start)
GROUP BY time
ORDER BY time
"""

# Tables are divided by months, so this is of all months that the time range touches.
_MONTHS = "(month IS NULL OR (month <= $__toTime AND addMonths(assumeNotNull(month), 1) > $__fromTime))"
_LIQUIDATIONS = f"(SELECT sum(rows) FROM storage WHERE table IN ('events', 'received_events') AND {_MONTHS})"
_STORAGE = f"""
SELECT if(table = '', 'all tables', table) AS what, sum(bytes) / {_LIQUIDATIONS} * 1e6 AS `per million`,
    sum(bytes) AS size, sum(rows) AS stored, sum(bytes_uncompressed) / sum(bytes) AS compression
FROM storage
WHERE {_MONTHS} AND {_LIQUIDATIONS} > 0
GROUP BY table WITH ROLLUP
ORDER BY size DESC, what
"""

_TIME = "time:YYYY-MM-DD HH:mm:ss"
_ZERO_IS_GOOD = (Step(None, GOOD), Step(1, BAD))

PIPELINE: Final = Dashboard(
    PIPELINE_UID,
    "Liquidations: pipeline",
    "Do rows arrive, how many and how soon?",
    OF_MANY,
    (
        Section(
            100,
            "Now",
            (
                age_panel(1, 6),
                Panel(
                    2,
                    "Worker behind the collectors",
                    "How far is the last closed minute behind the last heartbeat? Both come by the same log and "
                    "sink, so "
                    "this is the worker's delay, and about a minute when all is well.",
                    Number(AGE_STEPS, decimals=0),
                    (Query(_WORKER, "table"),),
                    unit="s",
                    width=6,
                    height=4,
                ),
                Panel(
                    3,
                    "Collectors",
                    "How many collectors have been heard in the last two minutes?",
                    Number((Step(None, BAD), Step(1, GOOD)), decimals=0),
                    (Query(_COLLECTORS, "table"),),
                    width=6,
                    height=4,
                ),
                Panel(
                    4,
                    "Refused by worker or sink",
                    "How many records could they not use? They come from our own log, so each is a fault of ours or a "
                    "broken topic.",
                    Number(_ZERO_IS_GOOD, decimals=0),
                    (Query(_SINK_REFUSALS, "table"),),
                    width=6,
                    height=4,
                ),
                Panel(
                    5,
                    "Newest row of each kind",
                    "Where does it stop? Of the last week at most. Heartbeats pass collector, log and sink; a "
                    "closed minute passes the "
                    "worker, too.",
                    Rows((Column("newest", _TIME, width=165), Column("age", "s", 0, steps=AGE_STEPS))),
                    (Query(_AGES, "table"),),
                    width=12,
                    height=8,
                ),
                Panel(
                    6,
                    "Collectors and their channels",
                    "Which collector hears which channel?",
                    Rows((Column("heard", _TIME, width=165), Column("age", "s", 0, steps=AGE_STEPS))),
                    (Query(_BY_COLLECTOR, "table"),),
                    width=12,
                    height=8,
                ),
            ),
        ),
        Section(
            101,
            "Throughput",
            (
                Panel(
                    7,
                    "Liquidations per second",
                    "How many distinct liquidations did the worker fold? By the minute of its clock in which it "
                    "read them.",
                    Chart("columns", stacked=True),
                    (Query(_EVENTS),),
                    unit="ops",
                ),
                Panel(
                    8,
                    "Messages per second",
                    "How many messages did the collectors read, by channel?",
                    Chart("line"),
                    (Query(_FRAMES),),
                    unit="ops",
                ),
                Panel(
                    9,
                    "New connections",
                    "How often was a connection made that brought events? Each is a reconnection or a restart "
                    "of a collector.",
                    Chart("columns", stacked=True),
                    (Query(_CONNECTIONS),),
                    unit="short",
                ),
                Panel(
                    10,
                    "Stored",
                    "What is in the tables for this time range?",
                    Rows((Column("first", _TIME, width=165), Column("latest", _TIME, width=165))),
                    (Query(_STORED, "table"),),
                ),
                strip_panel(11, height=6),
            ),
        ),
        Section(
            102,
            "Delay and room",
            (
                Panel(
                    12,
                    "From socket to row",
                    "How long does it take from the collector's socket until a liquidation is in its table? By the "
                    "time of the insert; `p95` is that of the worst minute. Recordings are left out.",
                    Chart("line", (Series("median", GOOD), Series("p95", BAD), Series("longest", WORST, "points"))),
                    (Query(_ARRIVALS),),
                    unit="s",
                    empty="what was inserted then was received more than a day before, or nothing was",
                ),
                Panel(
                    13,
                    "Whole market behind",
                    "How far are the rules of the whole market behind the partition that is furthest ahead, and how "
                    "many pulses wait for the slowest one? In a replay partitions are read one after the other.",
                    Chart(
                        "steps",
                        (
                            Series("behind, at most", BAD),
                            Series("behind, at the end", GOOD),
                            Series("pulses waiting", NEUTRAL, "points", axis="right", unit="short"),
                        ),
                    ),
                    (Query(_MARKET_BEHIND),),
                    unit="s",
                    empty="no rule of the whole market was at work",
                ),
                Panel(
                    14,
                    "Bytes per million liquidations",
                    "How much room do the tables take for each million liquidations? As of now, of all months that the "
                    "time range touches; `stored` counts revisions that are not merged away yet.",
                    Rows(
                        (
                            Column("per million", "decbytes", 1),
                            Column("size", "decbytes", 1),
                            Column("stored", "short", 0),
                            Column("compression", "none", 1),
                        )
                    ),
                    (Query(_STORAGE, "table"),),
                    width=24,
                    height=9,
                    empty="no liquidation is stored",
                ),
            ),
        ),
    ),
)
