-- A silence that is found later lowers the coverage of minutes that have bars already. Those bars are not said again, so
-- bars_filled takes the smaller of what the bar says and what is known of its channel by now.
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
    if(max(has_bar) = 1, if(max(is_known) = 1, least(max(bar_coverage), max(share)), max(bar_coverage)), max(share)) AS coverage
FROM
(
    SELECT exchange, symbol, asset, start, long_micros, short_micros, long_count AS bar_long_count,
        short_count AS bar_short_count, largest_micros, toNullable(price_low) AS bar_price_low,
        toNullable(price_high) AS bar_price_high, late_count AS bar_late_count, toUInt8(closed) AS is_closed,
        coverage AS bar_coverage, 1 AS has_bar, 0. AS share, 0 AS is_known
    FROM liquidations_data.bars FINAL
    UNION ALL
    SELECT exchange, symbol, asset, start, 0, 0, 0, 0, 0, NULL, NULL, 0, 1, 0., 0, max(channel_ms) / 60000, 1
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
    SELECT seen.exchange, seen.symbol, seen.asset, minutes.start, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0., 0, 0., 0
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
