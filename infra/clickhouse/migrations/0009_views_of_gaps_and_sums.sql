-- Every contract in every minute between the first and the last one of which the coverage of any channel is known: the bar,
-- 0 if there is none and the channel was alive all the minute, NULL if it was not. A contract was seen on channels (table
-- symbols), and coverage is known by channel; of several channels the best one counts. Grouping a union, not joining,
-- lets a filter on time or contract reach all three tables. Filter by time: every minute of every contract is much.
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
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channel was alive.'
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
    SELECT seen.exchange, seen.symbol, seen.asset, alive.start, 0, 0, 0, 0, 0, NULL, NULL, 0, 1, 0., 0, max(alive.alive_ms) / 60000
    FROM (SELECT exchange, channel, start, alive_ms FROM liquidations_data.coverage FINAL) AS alive
    INNER JOIN (SELECT DISTINCT exchange, symbol, asset, channel FROM liquidations_data.symbols) AS seen
        ON alive.exchange = seen.exchange AND alive.channel = seen.channel
    GROUP BY seen.exchange, seen.symbol, seen.asset, alive.start
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

-- next statement
CREATE OR REPLACE VIEW liquidations.assets
(
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    exchanges UInt64 COMMENT 'Exchanges with events.',
    symbols UInt64 COMMENT 'Contracts with events.',
    closed Bool COMMENT 'Whether the minute is over.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channels were alive: mean of the channels known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.asset AS asset, sums.start AS start, sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.late_count AS late_count,
    sums.exchanges AS exchanges, sums.symbols AS symbols, CAST(sums.all_closed AS Bool) AS closed,
    if(empty(arrayFilter(channel -> mapContains(alive.shares, channel), seen.channels)),
        sums.bar_coverage,
        arrayAvg(channel -> alive.shares[channel], arrayFilter(channel -> mapContains(alive.shares, channel), seen.channels))) AS coverage
FROM
(
    SELECT asset, start, sum(long_micros) AS long_micros, sum(short_micros) AS short_micros, sum(long_count) AS long_count,
        sum(short_count) AS short_count, max(largest_micros) AS largest_micros, sum(late_count) AS late_count,
        min(closed) AS all_closed, avg(coverage) AS bar_coverage,
        uniqExact(exchange) AS exchanges, count() AS symbols
    FROM liquidations_data.bars FINAL
    GROUP BY asset, start
) AS sums
LEFT JOIN
(
    SELECT asset, groupUniqArray(concat(exchange, ' ', channel)) AS channels
    FROM liquidations_data.symbols
    GROUP BY asset
) AS seen ON sums.asset = seen.asset
LEFT JOIN
(
    SELECT start, mapFromArrays(groupArray(concat(exchange, ' ', channel)), groupArray(alive_ms / 60000)) AS shares
    FROM liquidations_data.coverage FINAL
    GROUP BY start
) AS alive ON sums.start = alive.start
COMMENT 'Liquidations by asset and minute, over all exchanges.'

-- next statement
CREATE OR REPLACE VIEW liquidations.market
(
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    late_count Int64 COMMENT 'Events that came after their minute was closed.',
    exchanges UInt64 COMMENT 'Exchanges with events.',
    symbols UInt64 COMMENT 'Contracts with events.',
    assets UInt64 COMMENT 'Assets with events.',
    closed Bool COMMENT 'Whether the minute is over.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channels were alive: mean of the channels known.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT sums.start AS start, sums.long_micros / 1000000 AS long_usd, sums.short_micros / 1000000 AS short_usd,
    sums.long_count AS long_count, sums.short_count AS short_count, sums.largest_micros / 1000000 AS largest_usd,
    sums.late_count AS late_count,
    sums.exchanges AS exchanges, sums.symbols AS symbols, sums.assets AS assets, CAST(sums.all_closed AS Bool) AS closed,
    ifNull(alive.share, sums.bar_coverage) AS coverage
FROM
(
    SELECT start, sum(long_micros) AS long_micros, sum(short_micros) AS short_micros, sum(long_count) AS long_count,
        sum(short_count) AS short_count, max(largest_micros) AS largest_micros, sum(late_count) AS late_count,
        min(closed) AS all_closed, avg(coverage) AS bar_coverage,
        uniqExact(exchange) AS exchanges, count() AS symbols, uniqExact(asset) AS assets
    FROM liquidations_data.bars FINAL
    GROUP BY start
) AS sums
LEFT JOIN
(
    SELECT start, toNullable(avg(alive_ms) / 60000) AS share
    FROM liquidations_data.coverage FINAL
    GROUP BY start
) AS alive ON sums.start = alive.start
COMMENT 'Liquidations by minute, over all assets and exchanges.'
