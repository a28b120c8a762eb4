-- Bars. Larger ones are exact sums of the minutes' micro-dollars, turned into numbers last.
--
-- toStartOfInterval in milliseconds keeps the type of start and lets a filter on it reach the primary key; the other ways to
-- write it lose one of the two.
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
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channel was alive, as known at this revision.',
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
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the channel was alive: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(300000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.shares, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(channel -> alive.shares[channel], seen.channels)) AS coverage
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
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(share)) AS shares
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span,
            avg(alive_ms) / 60000 AS share
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
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
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the channel was alive: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(3600000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.shares, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(channel -> alive.shares[channel], seen.channels)) AS coverage
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
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(share)) AS shares
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS span,
            avg(alive_ms) / 60000 AS share
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
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
    coverage Float64 COMMENT 'Share of the span, 0 to 1, in which the channel was alive: mean of the minutes known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.exchange AS exchange, sums.symbol AS symbol, sums.asset AS asset, sums.span AS start,
    sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.price_low AS price_low, sums.price_high AS price_high, sums.late_count AS late_count,
    CAST(sums.all_closed AND sums.span + toIntervalMillisecond(86400000) <= ifNull(
        (SELECT max(start) FROM liquidations_data.coverage) + toIntervalMinute(1), toDateTime64(0, 3, 'UTC')) AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.shares, channel), seen.channels)),
        sums.bar_coverage,
        arrayMax(channel -> alive.shares[channel], seen.channels)) AS coverage
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
    SELECT exchange, span, mapFromArrays(groupArray(channel), groupArray(share)) AS shares
    FROM
    (
        SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(86400000)) AS span,
            avg(alive_ms) / 60000 AS share
        FROM liquidations_data.coverage FINAL
        GROUP BY exchange, channel, span
    )
    GROUP BY exchange, span
) AS alive ON sums.exchange = alive.exchange AND sums.span = alive.span
COMMENT 'Liquidations by contract and day (UTC): exact sums of bars_1m.'
