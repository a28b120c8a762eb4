"""Data quality: what the numbers rest on."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.boards.choices import OF_MANY
from pipeline.grafana.boards.shared import (
    QUALITY_UID,
    SHARE_STEPS,
    age_panel,
    covered_panel,
    strip_panel,
)
from pipeline.grafana.dashboard import Dashboard, Mark, Section
from pipeline.grafana.panel import Chart, Column, Number, Panel, Query, Rows, Step
from pipeline.grafana.sql import ASSET, BETWEEN, CONTRACTS, EXCHANGE, bucket
from pipeline.grafana.theme import BAD, GOOD, NEUTRAL, WORST

_NONE_IS_GOOD = (Step(None, GOOD), Step(1, BAD), Step(100, WORST))

_SILENT_NOW = f"""
SELECT count() AS `silent now` FROM silences WHERE began <= $__toTime_ms AND ended IS NULL AND {EXCHANGE}
"""

_LETTERS = f"$__timeFilter_ms(received_time) AND (exchange = '' OR {EXCHANGE})"
_REFUSED = f"SELECT count() AS refused FROM dead_letters WHERE {_LETTERS}"

_BY_FEED = f"""
SELECT cover.exchange AS exchange, cover.channel AS channel, covered, missed, frames, contracts
FROM (
    SELECT exchange, channel, sum(toFloat64(alive_ms)) / 60000 / minutes AS covered,
        (minutes * 60000 - sum(toFloat64(alive_ms))) / 1000 AS missed, sum(frames) AS frames,
        (SELECT greatest(1, dateDiff('minute', toStartOfMinute($__fromTime_ms), max(start)) + 1) FROM coverage
            WHERE $__timeFilter_ms(start)) AS minutes
    FROM coverage
    WHERE $__timeFilter_ms(start) AND {EXCHANGE}
    GROUP BY exchange, channel
) AS cover
LEFT JOIN channels ON cover.exchange = channels.exchange AND cover.channel = channels.channel
ORDER BY covered, exchange, channel
"""

# The words of each class are those of docs/tables.md.
_COMPLETENESS = f"""
SELECT exchange, completeness,
    multiIf(
        completeness = 'full', 'every liquidation is pushed',
        completeness = 'sampled', 'a part is pushed: sums are lower bounds',
        completeness = 'largest_per_second', 'only the largest of each contract and second: sums are lower bounds',
        completeness = 'inferred', 'read from something else than a feed of liquidations',
        'the exchange does not say: take sums as lower bounds') AS meaning,
    count() AS events, sum(notional_usd) AS usd, groupUniqArray(price_kind) AS prices,
    countIf(NOT position_proved) AS unproved, countIf(event_time_kind = 'received') AS `our clock`
FROM events
WHERE $__timeFilter_ms(event_time) AND {CONTRACTS}
GROUP BY exchange, completeness
ORDER BY exchange, completeness
"""

_SILENCES = f"""
SELECT began, found, ended, exchange, channel, dateDiff('second', began, found) AS `found after`,
    if(isNull(ended), NULL, dateDiff('second', began, ended)) AS lasted, expected, probability
FROM silences
WHERE began <= $__toTime_ms AND ifNull(ended, $__toTime_ms) >= $__fromTime_ms AND {EXCHANGE}
ORDER BY began DESC, exchange, channel
LIMIT 200
"""

# As numbers: quicker than dateDiff, and this is done for every event.
_DELAY_MS = "intDiv(toUnixTimestamp64Micro(received_time) - 1000 * toUnixTimestamp64Milli(event_time), 1000)"
_DELAY = f"""
SELECT {bucket("event_time")} AS time, exchange AS venue, quantile(0.95)({_DELAY_MS}) / 1000 AS Value
FROM events
WHERE $__timeFilter_ms(event_time) AND event_time_kind = 'exchange' AND {CONTRACTS}
GROUP BY time, venue
ORDER BY time, venue
"""

_DELAYS = f"""
SELECT exchange, events, spread[1] / 1000 AS p50, spread[2] / 1000 AS p95, spread[3] / 1000 AS p99,
    longest / 1000 AS worst
FROM (
    SELECT exchange, count() AS events, quantiles(0.5, 0.95, 0.99)({_DELAY_MS}) AS spread,
        max({_DELAY_MS}) AS longest
    FROM events
    WHERE $__timeFilter_ms(event_time) AND event_time_kind = 'exchange' AND {CONTRACTS}
    GROUP BY exchange
)
ORDER BY p95 DESC, exchange
"""

_COUNTED = f"{ASSET} AND {EXCHANGE}"
_REPEATED = f"""
SELECT {bucket("start")} AS time, exchange AS venue, sum(duplicates) AS Value
FROM tallies
WHERE $__timeFilter_ms(start) AND {_COUNTED}
GROUP BY time, venue
ORDER BY time, venue
"""

_LATE = f"""
SELECT {bucket("start")} AS time, sum(late) AS `late, in a correction`, sum(too_late) AS `too late for a bar`
FROM tallies
WHERE $__timeFilter_ms(start) AND {_COUNTED}
GROUP BY time
ORDER BY time
"""

_REFUSED_BY_REASON = f"""
SELECT {bucket("received_time")} AS time, reason, count() AS Value
FROM dead_letters
WHERE {_LETTERS}
GROUP BY time, reason
ORDER BY time, reason
"""

_REFUSALS = f"""
SELECT max(received_time) AS latest, stage, exchange, reason, count() AS refused, anyLast(message) AS example
FROM dead_letters
WHERE {_LETTERS}
GROUP BY stage, exchange, reason
ORDER BY refused DESC, stage, exchange, reason
LIMIT 200
"""

_ONLY_ONE = f"""
SELECT toStartOfHour(start) AS time, exchange AS venue, only_one_share AS Value
FROM collectors_between({BETWEEN})
WHERE $__timeFilter_ms(start) AND only_one_share IS NOT NULL AND {EXCHANGE}
ORDER BY time, venue
"""

_COLLECTORS = f"""
SELECT exchange, collector, sum(saw) AS seen, sum(alone) AS `only by it`
FROM (
    SELECT exchange, arrayJoin(collectors) AS collector, seen_by[collector] AS saw, only_by[collector] AS alone
    FROM collectors_between({BETWEEN})
    WHERE $__timeFilter_ms(start) AND {EXCHANGE}
)
GROUP BY exchange, collector
ORDER BY exchange, collector
"""

_CLOCKS = f"""
SELECT {bucket("start")} AS time, concat(exchange, ' by ', collector) AS clock,
    argMax(clock_offset_ms, abs(clock_offset_ms)) / 1000 AS Value
FROM heartbeats
WHERE $__timeFilter_ms(start) AND clock_offset_ms IS NOT NULL AND {EXCHANGE}
GROUP BY time, clock
ORDER BY time, clock
"""

_SUBSCRIPTIONS = f"""
SELECT exchange, channel, collector, countIf(last_state = 'up') AS subscribed, countIf(last_state = 'down') AS lost,
    max(changed) AS latest
FROM (
    SELECT exchange, channel, collector, symbol, argMax(state, time) AS last_state, max(time) AS changed
    FROM subscriptions
    WHERE time <= $__toTime_ms AND {CONTRACTS}
    GROUP BY exchange, channel, collector, symbol
)
GROUP BY exchange, channel, collector
ORDER BY exchange, channel, collector
"""

_LOST = f"""
SELECT began AS time, ifNull(ended, $__toTime_ms) AS timeEnd, concat(exchange, ' ', channel, ' is silent') AS text,
    exchange AS tags
FROM silences
WHERE began <= $__toTime_ms AND ifNull(ended, $__toTime_ms) >= $__fromTime_ms AND {EXCHANGE}
ORDER BY time
LIMIT 200
"""

QUALITY: Final = Dashboard(
    QUALITY_UID,
    "Liquidations: data quality",
    "How complete, how fast and how certain is what the other dashboards show?",
    OF_MANY,
    (
        Section(
            100,
            "At a glance",
            (
                age_panel(1, 6),
                covered_panel(2, 6),
                Panel(
                    3,
                    "Silent channels",
                    "How many channels are connected and bring nothing although data are likely?",
                    Number(_NONE_IS_GOOD, decimals=0),
                    (Query(_SILENT_NOW, "table"),),
                    width=6,
                    height=4,
                ),
                Panel(
                    4,
                    "Refused messages",
                    "How many messages could not be used? None of them is lost: they are in dead_letters.",
                    Number(_NONE_IS_GOOD, decimals=0),
                    (Query(_REFUSED, "table"),),
                    width=6,
                    height=4,
                ),
            ),
        ),
        Section(
            101,
            "Coverage",
            (
                strip_panel(5),
                Panel(
                    6,
                    "Coverage by feed",
                    "Which feed was listened to for what share of the time range, up to the last minute judged? Feeds "
                    "without contracts bring candles and metrics only.",
                    Rows(
                        (
                            Column("covered", "percentunit", 2, steps=SHARE_STEPS),
                            Column("missed", "s", 0),
                            Column("frames", "short", 0),
                        )
                    ),
                    (Query(_BY_FEED, "table"),),
                ),
                Panel(
                    7,
                    "Silences found",
                    "Which channels were connected and brought nothing? `expected`: messages that were likely "
                    "in that time; "
                    "`probability`: how likely it was to see none.",
                    Rows((Column("expected", "short", 1), Column("found after", "s"), Column("lasted", "s"))),
                    (Query(_SILENCES, "table"),),
                    empty="no silence was found",
                ),
                Panel(
                    8,
                    "Subscriptions of contracts",
                    "On channels that are subscribed contract by contract: how many hold, how many are lost, as "
                    "of the end "
                    "of the time range?",
                    Rows(),
                    (Query(_SUBSCRIPTIONS, "table"),),
                    width=24,
                    height=6,
                    empty="no channel is subscribed contract by contract",
                ),
            ),
        ),
        Section(
            102,
            "Completeness",
            (
                Panel(
                    9,
                    "What the feeds show",
                    "What share of its liquidations does each exchange show, at what kind of price? `unproved`: events "
                    "whose position rests on an undocumented sign. `our clock`: the exchange says no time.",
                    Rows((Column("usd", "currencyUSD", 0), Column("meaning", width=430))),
                    (Query(_COMPLETENESS, "table"),),
                    width=24,
                    height=8,
                ),
            ),
        ),
        Section(
            103,
            "Delay and order",
            (
                Panel(
                    10,
                    "Delay from event to collector, 95th percentile",
                    "How long after it happened did we read it, by exchange? By the exchange's clock and ours.",
                    Chart("line", logarithmic=True),
                    (Query(_DELAY),),
                    unit="s",
                    interval="5m",
                ),
                Panel(
                    11,
                    "Delay by exchange",
                    "How are the delays spread?",
                    Rows(tuple(Column(name, "s", 3) for name in ("p50", "p95", "p99", "worst"))),
                    (Query(_DELAYS, "table"),),
                ),
                Panel(
                    12,
                    "Duplicates",
                    "How many repetitions were recognised? Second collectors and reconnections bring them; they "
                    "are counted "
                    "once.",
                    Chart("columns", stacked=True),
                    (Query(_REPEATED),),
                    unit="short",
                    width=8,
                    empty="none came twice",
                ),
                Panel(
                    13,
                    "Late events",
                    "How many events came after their minute was closed? Late ones corrected their bar; what "
                    "came too late is "
                    "in events, but in no bar.",
                    Chart("columns", stacked=True),
                    (Query(_LATE),),
                    unit="short",
                    width=8,
                    empty="none was late",
                ),
                Panel(
                    14,
                    "Clocks",
                    "How far are the exchanges' clocks from ours? The worst of each bucket.",
                    Chart("line", steps=(Step(None, "transparent"), Step(0, NEUTRAL))),
                    (Query(_CLOCKS),),
                    unit="s",
                    width=8,
                    empty="no exchange told its time",
                ),
            ),
        ),
        Section(
            104,
            "Refused",
            (
                Panel(
                    15,
                    "Refused messages by reason",
                    "When was what refused?",
                    Chart("columns", stacked=True),
                    (Query(_REFUSED_BY_REASON),),
                    unit="short",
                    empty="all messages could be used",
                ),
                Panel(
                    16,
                    "Reasons",
                    "What was refused and why? `example` is one of the messages; `liquidations dead-letters` "
                    "has them all.",
                    Rows((Column("latest", "time:YYYY-MM-DD HH:mm:ss", width=165), Column("example", width=400))),
                    (Query(_REFUSALS, "table"),),
                    empty="all messages could be used",
                ),
            ),
        ),
        Section(
            105,
            "Several collectors",
            (
                Panel(
                    17,
                    "Seen by one collector only",
                    "Where several collectors listen to one exchange: what share of the events did only one of "
                    "them see? "
                    "No line: one collector.",
                    Chart("line"),
                    (Query(_ONLY_ONE),),
                    unit="percentunit",
                    interval="1h",
                    empty="each exchange has one collector",
                ),
                Panel(
                    18,
                    "Collectors",
                    "Who saw how many events, and how many that nobody else saw?",
                    Rows(),
                    (Query(_COLLECTORS, "table"),),
                    empty="each exchange has one collector",
                ),
            ),
        ),
    ),
    (Mark("Silences", _LOST, BAD),),
)
