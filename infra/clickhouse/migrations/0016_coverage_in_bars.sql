-- Coverage of contracts in the bars. A contract is listened to as its channel is, except where contract_coverage says less, and
-- except before its first subscription on a channel that is subscribed contract by contract. A row of contract_coverage that says
-- more than the channel's is older than a silence that was found: the smaller one counts.
--
-- Larger bars take what was missed off the channel's sum, so that only the minutes that differ are joined.
CREATE OR REPLACE VIEW liquidations.bars_1m
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    price_low Float64 COMMENT 'Lowest price among the events.',
    price_high Float64 COMMENT 'Highest price among the events.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    closed Bool COMMENT 'Whether the minute is over; what comes later gives a correction.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the contract was listened to, as known at this revision.',
    revision UInt64 COMMENT 'Twice the number of events, plus one once closed.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start, long_micros / 1000000 AS long_usd, short_micros / 1000000 AS short_usd, long_count,
    short_count, largest_micros / 1000000 AS largest_usd, price_low, price_high, late_count, closed, coverage, revision
FROM liquidations_data.bars FINAL
COMMENT 'Liquidations by contract and minute, the latest revision. No row: no event, see bars_filled.'

-- next statement
CREATE OR REPLACE VIEW liquidations.bars_5m
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    price_low Float64 COMMENT 'Lowest price among the events.',
    price_high Float64 COMMENT 'Highest price among the events.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    closed Bool COMMENT 'Whether every minute of the span is over.',
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the contract was listened to: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(300000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(
            channel -> (alive.alive_ms[channel] - if(mapContains(missed.missed_ms, channel), missed.missed_ms[channel], 0))
                / alive.minutes[channel] / 60000,
            arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels))) AS coverage
FROM
(
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span,
        sum(long_micros) AS long_micros, sum(short_micros) AS short_micros,
        sum(long_count) AS long_count, sum(short_count) AS short_count, max(largest_micros) AS largest_micros,
        min(price_low) AS price_low, max(price_high) AS price_high, sum(late_count) AS late_count,
        min(closed) AS all_closed, avg(coverage) AS bar_coverage
    FROM liquidations_data.bars FINAL
    GROUP BY exchange, symbol, asset, span
) AS sums
LEFT JOIN
(
    SELECT exchange, symbol, groupUniqArray(channel) AS channels
    FROM liquidations_data.symbols
    GROUP BY exchange, symbol
) AS seen ON sums.exchange = seen.exchange AND sums.symbol = seen.symbol
LEFT JOIN
(
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(alive_sum)) AS alive_ms,
        mapFromArrays(groupArray(channel), groupArray(known)) AS minutes
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span,
            sum(toInt64(alive_ms)) AS alive_sum, count() AS known
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
LEFT JOIN
(
    SELECT exchange, symbol, span, mapFromArrays(groupArray(channel), groupArray(lost_ms)) AS missed_ms
    FROM
    (
        SELECT exchange, symbol, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(lost_ms) AS lost_ms
        FROM
        (
            SELECT exchange, symbol, channel, start, max(lost) AS lost_ms
            FROM
            (
                SELECT own.exchange AS exchange, own.symbol AS symbol, own.channel AS channel, own.start AS start,
                    toInt64(greatest(0, channels.alive_ms - own.alive_ms)) AS lost
                FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON own.exchange = channels.exchange AND own.channel = channels.channel AND own.start = channels.start
                UNION ALL
                SELECT contract.exchange, contract.symbol, contract.channel, channels.start, toInt64(channels.alive_ms)
                FROM
                (
                    SELECT exchange, symbol, channel, min(first_subscription) AS since
                    FROM liquidations_data.symbols
                    GROUP BY exchange, symbol, channel
                    HAVING isNotNull(since)
                ) AS contract
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON contract.exchange = channels.exchange AND contract.channel = channels.channel
                    AND toStartOfInterval(assumeNotNull(contract.since), toIntervalMillisecond(300000)) = toStartOfInterval(channels.start, toIntervalMillisecond(300000))
                WHERE channels.start + toIntervalMinute(1) <= contract.since
            )
            GROUP BY exchange, symbol, channel, start
        )
        GROUP BY exchange, symbol, channel, span
    )
    GROUP BY exchange, symbol, span
) AS missed ON sums.exchange = missed.exchange AND sums.symbol = missed.symbol AND sums.span = missed.span
COMMENT 'Liquidations by contract and five minutes: exact sums of bars_1m.'

-- next statement
CREATE OR REPLACE VIEW liquidations.bars_1h
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    price_low Float64 COMMENT 'Lowest price among the events.',
    price_high Float64 COMMENT 'Highest price among the events.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    closed Bool COMMENT 'Whether every minute of the span is over.',
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the contract was listened to: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(3600000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(
            channel -> (alive.alive_ms[channel] - if(mapContains(missed.missed_ms, channel), missed.missed_ms[channel], 0))
                / alive.minutes[channel] / 60000,
            arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels))) AS coverage
FROM
(
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span,
        sum(long_micros) AS long_micros, sum(short_micros) AS short_micros,
        sum(long_count) AS long_count, sum(short_count) AS short_count, max(largest_micros) AS largest_micros,
        min(price_low) AS price_low, max(price_high) AS price_high, sum(late_count) AS late_count,
        min(closed) AS all_closed, avg(coverage) AS bar_coverage
    FROM liquidations_data.bars FINAL
    GROUP BY exchange, symbol, asset, span
) AS sums
LEFT JOIN
(
    SELECT exchange, symbol, groupUniqArray(channel) AS channels
    FROM liquidations_data.symbols
    GROUP BY exchange, symbol
) AS seen ON sums.exchange = seen.exchange AND sums.symbol = seen.symbol
LEFT JOIN
(
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(alive_sum)) AS alive_ms,
        mapFromArrays(groupArray(channel), groupArray(known)) AS minutes
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span,
            sum(toInt64(alive_ms)) AS alive_sum, count() AS known
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
LEFT JOIN
(
    SELECT exchange, symbol, span, mapFromArrays(groupArray(channel), groupArray(lost_ms)) AS missed_ms
    FROM
    (
        SELECT exchange, symbol, channel, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span, sum(lost_ms) AS lost_ms
        FROM
        (
            SELECT exchange, symbol, channel, start, max(lost) AS lost_ms
            FROM
            (
                SELECT own.exchange AS exchange, own.symbol AS symbol, own.channel AS channel, own.start AS start,
                    toInt64(greatest(0, channels.alive_ms - own.alive_ms)) AS lost
                FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON own.exchange = channels.exchange AND own.channel = channels.channel AND own.start = channels.start
                UNION ALL
                SELECT contract.exchange, contract.symbol, contract.channel, channels.start, toInt64(channels.alive_ms)
                FROM
                (
                    SELECT exchange, symbol, channel, min(first_subscription) AS since
                    FROM liquidations_data.symbols
                    GROUP BY exchange, symbol, channel
                    HAVING isNotNull(since)
                ) AS contract
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON contract.exchange = channels.exchange AND contract.channel = channels.channel
                    AND toStartOfInterval(assumeNotNull(contract.since), toIntervalMillisecond(3600000)) = toStartOfInterval(channels.start, toIntervalMillisecond(3600000))
                WHERE channels.start + toIntervalMinute(1) <= contract.since
            )
            GROUP BY exchange, symbol, channel, start
        )
        GROUP BY exchange, symbol, channel, span
    )
    GROUP BY exchange, symbol, span
) AS missed ON sums.exchange = missed.exchange AND sums.symbol = missed.symbol AND sums.span = missed.span
COMMENT 'Liquidations by contract and hour: exact sums of bars_1m.'

-- next statement
CREATE OR REPLACE VIEW liquidations.bars_1d
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    price_low Float64 COMMENT 'Lowest price among the events.',
    price_high Float64 COMMENT 'Highest price among the events.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    closed Bool COMMENT 'Whether every minute of the span is over.',
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the contract was listened to: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(86400000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(
            channel -> (alive.alive_ms[channel] - if(mapContains(missed.missed_ms, channel), missed.missed_ms[channel], 0))
                / alive.minutes[channel] / 60000,
            arrayFilter(channel -> mapContains(alive.minutes, channel), seen.channels))) AS coverage
FROM
(
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(86400000)) AS span,
        sum(long_micros) AS long_micros, sum(short_micros) AS short_micros,
        sum(long_count) AS long_count, sum(short_count) AS short_count, max(largest_micros) AS largest_micros,
        min(price_low) AS price_low, max(price_high) AS price_high, sum(late_count) AS late_count,
        min(closed) AS all_closed, avg(coverage) AS bar_coverage
    FROM liquidations_data.bars FINAL
    GROUP BY exchange, symbol, asset, span
) AS sums
LEFT JOIN
(
    SELECT exchange, symbol, groupUniqArray(channel) AS channels
    FROM liquidations_data.symbols
    GROUP BY exchange, symbol
) AS seen ON sums.exchange = seen.exchange AND sums.symbol = seen.symbol
LEFT JOIN
(
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(alive_sum)) AS alive_ms,
        mapFromArrays(groupArray(channel), groupArray(known)) AS minutes
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(86400000)) AS span,
            sum(toInt64(alive_ms)) AS alive_sum, count() AS known
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
LEFT JOIN
(
    SELECT exchange, symbol, span, mapFromArrays(groupArray(channel), groupArray(lost_ms)) AS missed_ms
    FROM
    (
        SELECT exchange, symbol, channel, toStartOfInterval(start, toIntervalMillisecond(86400000)) AS span, sum(lost_ms) AS lost_ms
        FROM
        (
            SELECT exchange, symbol, channel, start, max(lost) AS lost_ms
            FROM
            (
                SELECT own.exchange AS exchange, own.symbol AS symbol, own.channel AS channel, own.start AS start,
                    toInt64(greatest(0, channels.alive_ms - own.alive_ms)) AS lost
                FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON own.exchange = channels.exchange AND own.channel = channels.channel AND own.start = channels.start
                UNION ALL
                SELECT contract.exchange, contract.symbol, contract.channel, channels.start, toInt64(channels.alive_ms)
                FROM
                (
                    SELECT exchange, symbol, channel, min(first_subscription) AS since
                    FROM liquidations_data.symbols
                    GROUP BY exchange, symbol, channel
                    HAVING isNotNull(since)
                ) AS contract
                INNER JOIN (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS channels
                    ON contract.exchange = channels.exchange AND contract.channel = channels.channel
                    AND toStartOfInterval(assumeNotNull(contract.since), toIntervalMillisecond(86400000)) = toStartOfInterval(channels.start, toIntervalMillisecond(86400000))
                WHERE channels.start + toIntervalMinute(1) <= contract.since
            )
            GROUP BY exchange, symbol, channel, start
        )
        GROUP BY exchange, symbol, channel, span
    )
    GROUP BY exchange, symbol, span
) AS missed ON sums.exchange = missed.exchange AND sums.symbol = missed.symbol AND sums.span = missed.span
COMMENT 'Liquidations by contract and day (UTC): exact sums of bars_1m.'

-- next statement
CREATE OR REPLACE VIEW liquidations.bars_filled
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.',
    long_usd Nullable(Float64) COMMENT 'Liquidated longs in USD. 0 if none, NULL if not known.',
    short_usd Nullable(Float64) COMMENT 'Liquidated shorts in USD. 0 if none, NULL if not known.',
    long_count Nullable(Int64) COMMENT 'Number of liquidated longs. 0 if none, NULL if not known.',
    short_count Nullable(Int64) COMMENT 'Number of liquidated shorts. 0 if none, NULL if not known.',
    largest_usd Nullable(Float64) COMMENT 'Largest single liquidation in USD. 0 if none, NULL if not known.',
    price_low Nullable(Float64) COMMENT 'Lowest price among the events; NULL without events.',
    price_high Nullable(Float64) COMMENT 'Highest price among the events; NULL without events.',
    late_count Nullable(Int64) COMMENT 'Events that came after their minute was closed. 0 if none, NULL if not known.',
    closed Bool COMMENT 'Whether the minute is over.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the contract was listened to.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start,
    if(max(has_bar) = 1 OR max(share) = 1, sum(long_micros) / 1000000, NULL) AS long_usd,
    if(max(has_bar) = 1 OR max(share) = 1, sum(short_micros) / 1000000, NULL) AS short_usd,
    if(max(has_bar) = 1 OR max(share) = 1, sum(bar_long_count), NULL) AS long_count,
    if(max(has_bar) = 1 OR max(share) = 1, sum(bar_short_count), NULL) AS short_count,
    if(max(has_bar) = 1 OR max(share) = 1, max(largest_micros) / 1000000, NULL) AS largest_usd,
    max(bar_price_low) AS price_low,
    max(bar_price_high) AS price_high,
    if(max(has_bar) = 1 OR max(share) = 1, sum(bar_late_count), NULL) AS late_count,
    CAST(max(is_closed) AS Bool) AS closed,
    if(max(has_bar) = 1, max(bar_coverage), max(share)) AS coverage
FROM
(
    SELECT exchange, symbol, asset, start, long_micros, short_micros, long_count AS bar_long_count,
        short_count AS bar_short_count, largest_micros, toNullable(price_low) AS bar_price_low,
        toNullable(price_high) AS bar_price_high, late_count AS bar_late_count, toUInt8(closed) AS is_closed,
        coverage AS bar_coverage, 1 AS has_bar, 0. AS share
    FROM liquidations_data.bars FINAL
    UNION ALL
    SELECT exchange, symbol, asset, start, 0, 0, 0, 0, 0, NULL, NULL, 0, 1, 0., 0, max(channel_ms) / 60000
    FROM
    (
        SELECT exchange, symbol, asset, channel, start, min(known_ms) AS channel_ms
        FROM
        (
            SELECT seen.exchange AS exchange, seen.symbol AS symbol, seen.asset AS asset, seen.channel AS channel, alive.start AS start,
                if(alive.start + toIntervalMinute(1) <= seen.since, 0, alive.alive_ms) AS known_ms
            FROM (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS alive
            INNER JOIN
            (
                SELECT exchange, symbol, asset, channel,
                    if(isNull(min(first_subscription)) AND (exchange, channel) IN (SELECT exchange, channel FROM liquidations_data.symbols WHERE isNotNull(first_subscription)),
                        toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), ifNull(min(first_subscription), toDateTime64(0, 3, 'UTC'))) AS since
                FROM liquidations_data.symbols
                GROUP BY exchange, symbol, asset, channel
            ) AS seen ON alive.exchange = seen.exchange AND alive.channel = seen.channel
            UNION ALL
            SELECT seen.exchange, seen.symbol, seen.asset, seen.channel, own.start, own.alive_ms
            FROM (SELECT exchange, channel, symbol, start, alive_ms FROM liquidations_data.contract_coverage FINAL) AS own
            INNER JOIN (SELECT DISTINCT exchange, symbol, asset, channel FROM liquidations_data.symbols) AS seen
                ON own.exchange = seen.exchange AND own.channel = seen.channel AND own.symbol = seen.symbol
        )
        GROUP BY exchange, symbol, asset, channel, start
    )
    GROUP BY exchange, symbol, asset, start
    UNION ALL
    SELECT seen.exchange, seen.symbol, seen.asset, minutes.start, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0., 0, 0.
    FROM
    (
        SELECT assumeNotNull((SELECT min(start) FROM liquidations_data.coverage)) + toIntervalMinute(number) AS start
        FROM numbers(assumeNotNull((
            SELECT toUInt64(if(count() = 0, 0, dateDiff('minute', min(start), max(start)) + 1)) FROM liquidations_data.coverage)))
    ) AS minutes
    CROSS JOIN (SELECT DISTINCT exchange, symbol, asset FROM liquidations_data.symbols) AS seen
)
GROUP BY exchange, symbol, asset, start
COMMENT 'bars_1m with its gaps filled: 0 where covered, NULL where not. Always filter by start.'
