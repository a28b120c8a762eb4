"""Pieces of SQL that panels share.

Names of views stand without their database: the data source's default database is `liquidations`. An alias is never
the name of a column that a WHERE reads: ClickHouse would put the alias there.
"""

from __future__ import annotations

from typing import Final

# What a user chose of assets, exchanges and contracts, for views with these columns.
ASSET: Final = "$__conditionalAll(asset IN (${asset:singlequote}), $asset)"
EXCHANGE: Final = "$__conditionalAll(exchange IN (${exchange:singlequote}), $exchange)"
SYMBOL: Final = "$__conditionalAll(symbol IN (${symbol:singlequote}), $symbol)"
CONTRACTS: Final = f"{ASSET} AND {EXCHANGE} AND {SYMBOL}"
POSITION: Final = "$__conditionalAll(position IN (${position:singlequote}), $position)"
LEAST_USD: Final = "toFloat64OrZero(${min_value:singlequote})"

# The arguments of a view that is given a time range.
BETWEEN: Final = "from_ms = toUnixTimestamp64Milli($__fromTime_ms), to_ms = toUnixTimestamp64Milli($__toTime_ms)"

_LONGS: Final = "$__conditionalAll('long' IN (${position:singlequote}), $position)"
_SHORTS: Final = "$__conditionalAll('short' IN (${position:singlequote}), $position)"

# The length of a bucket in seconds: the one that was chosen, else what suits the width of the panel.
_CHOSEN_S: Final = "toUInt32OrZero(${interval:singlequote})"
STEP_S: Final = f"greatest(60, if({_CHOSEN_S} = 0, $__interval_s, {_CHOSEN_S}))"


def bucket(column: str, step_s: str = STEP_S) -> str:
    """Return the start of the bucket in which a time lies; buckets are aligned in UTC."""
    return f"toStartOfInterval(toDateTime({column}, 'UTC'), toIntervalSecond({step_s}))"


def grid(step_s: str = STEP_S) -> str:
    """Return a query of the starts of all buckets of the time range, as the column `slot`."""
    first = bucket("$__fromTime", step_s)
    return (
        f"SELECT {first} + toIntervalSecond(number * {step_s}) AS slot\n"
        f"FROM numbers(toUInt64(intDiv(greatest(0, dateDiff('second', {first}, $__toTime)), {step_s}) + 1))"
    )


# Liquidations as (at, venue, coin, longs_in, shorts_in in the chosen mode, is_closed): of minute bars, or of events
# where small ones are left out. The half that is not needed reads nothing, because its condition is false at once.
FLOWS: Final = f"""
    SELECT start AS at, exchange AS venue, asset AS coin,
        if({_LONGS}, if(${{mode:singlequote}} = 'count', toFloat64(long_count), long_usd), 0.) AS longs_in,
        if({_SHORTS}, if(${{mode:singlequote}} = 'count', toFloat64(short_count), short_usd), 0.) AS shorts_in,
        closed AS is_closed
    FROM bars_1m
    WHERE $__timeFilter_ms(start) AND {LEAST_USD} <= 0 AND {CONTRACTS}
    UNION ALL
    SELECT event_time, exchange, asset,
        if(position = 'long', if(${{mode:singlequote}} = 'count', 1., notional_usd), 0.),
        if(position = 'short', if(${{mode:singlequote}} = 'count', 1., notional_usd), 0.),
        true
    FROM events
    WHERE $__timeFilter_ms(event_time) AND {LEAST_USD} > 0 AND notional_usd >= {LEAST_USD} AND {POSITION}
        AND {CONTRACTS}
"""

# Coverage of the channels that bring liquidations, of the chosen exchanges.
_COVERAGE: Final = f"""
    FROM coverage
    WHERE $__timeFilter_ms(start) AND {EXCHANGE} AND (exchange, channel) IN (SELECT exchange, channel FROM channels)
"""

# Milliseconds in which channels listened, by bucket, and how many channels there are in the whole time range.
LISTENED: Final = f"""SELECT slot, alive, uniqExactMerge(feeds) OVER () AS channels
    FROM (SELECT {bucket("start")} AS slot, sum(toFloat64(alive_ms)) AS alive,
        uniqExactState(exchange, channel) AS feeds {_COVERAGE} GROUP BY slot)"""
CHANNELS: Final = f"(SELECT uniqExact(exchange, channel) {_COVERAGE})"

# The share of a bucket in which nobody listened, over all channels; 1 where there is no channel.
NOT_COVERED: Final = f"""
SELECT slot AS time,
    if(known = 0, 1., greatest(0., 1 - listened / (known * {STEP_S} * 1000.))) AS `not covered`
FROM (
    SELECT slot, sum(alive) AS listened, max(max(channels)) OVER () AS known
    FROM (
        SELECT slot, alive, channels FROM ({LISTENED})
        UNION ALL
        SELECT slot, 0., 0 FROM ({grid()})
    )
    GROUP BY slot
)
ORDER BY time
"""

# Longs and shorts by bucket. A bucket is incomplete while it is open, and where somebody did not listen.
COLUMNS: Final = f"""
SELECT slot AS time,
    if(complete, longs_sum, NULL) AS longs,
    if(complete, shorts_sum, NULL) AS shorts,
    if(complete, NULL, longs_sum) AS `longs, incomplete`,
    if(complete, NULL, shorts_sum) AS `shorts, incomplete`
FROM (
    SELECT sums.slot AS slot, longs_sum, shorts_sum,
        all_closed AND heard.channels > 0 AND heard.alive >= heard.channels * {STEP_S} * 1000. AS complete
    FROM (
        SELECT {bucket("at")} AS slot, sum(longs_in) AS longs_sum, sum(shorts_in) AS shorts_sum,
            min(is_closed) AS all_closed
        FROM ({FLOWS})
        GROUP BY slot
    ) AS sums
    LEFT JOIN ({LISTENED}) AS heard ON sums.slot = heard.slot
)
ORDER BY time
"""

# Of each channel that brings liquidations, the share of each bucket in which it was listened to.
CHANNEL_STRIP: Final = f"""
SELECT slot AS time, feed, least(1., sum(listened) / ({STEP_S} * 1000.)) AS Value
FROM (
    SELECT {bucket("start")} AS slot, concat(exchange, ' ', channel) AS feed,
        toFloat64(alive_ms) AS listened {_COVERAGE}
    UNION ALL
    SELECT slot, feed, 0.
    FROM ({grid()}) AS slots
    CROSS JOIN (SELECT DISTINCT concat(exchange, ' ', channel) AS feed {_COVERAGE}) AS feeds
)
GROUP BY time, feed
ORDER BY time, feed
"""

# The share of the time range in which channels listened, up to the last minute that is judged.
COVERED: Final = f"""
SELECT if(count() = 0, NULL, sum(toFloat64(alive_ms)) / uniqExact(exchange, channel) / 60000
    / greatest(1, dateDiff('minute', toStartOfMinute($__fromTime_ms), max(start)) + 1)) AS covered
{_COVERAGE}
"""

# How long ago the last minute ended that the pipeline has judged.
AGE: Final = """
SELECT if(count() = 0, NULL, greatest(0, dateDiff('second', max(start) + toIntervalMinute(1), least(now(),
    $__toTime)))) AS age
FROM coverage
WHERE $__timeFilter_ms(start)
"""
