-- Which channels bring liquidations: coverage also has those that bring candles and metrics only.
CREATE OR REPLACE VIEW liquidations.channels
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel that brings liquidations.',
    contracts UInt64 COMMENT 'Contracts that were seen or subscribed on it.',
    first_time DateTime64(3, 'UTC') COMMENT 'Earliest event or subscription.',
    last_time DateTime64(3, 'UTC') COMMENT 'Latest event or subscription.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, uniqExact(symbol) AS contracts,
    toDateTime64(min(first_event), 3, 'UTC') AS first_time, toDateTime64(max(last_event), 3, 'UTC') AS last_time
FROM
(
    SELECT exchange, channel, symbol, min(first_time) AS first_event, max(last_time) AS last_event
    FROM liquidations_data.symbols
    GROUP BY exchange, channel, symbol
)
GROUP BY exchange, channel
COMMENT 'Channels that bring liquidations.'

-- next statement
-- A sum over bars of a feed that shows only a part is a lower bound, and whoever shows it must be able to say so.
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
    completeness LowCardinality(String) COMMENT 'The least complete feed among the events: full, sampled, largest_per_second, inferred, unknown.',
    revision UInt64 COMMENT 'Twice the number of events, plus one once closed.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start, long_micros / 1000000 AS long_usd, short_micros / 1000000 AS short_usd, long_count,
    short_count, largest_micros / 1000000 AS largest_usd, price_low, price_high, late_count, closed, coverage, completeness,
    revision
FROM liquidations_data.bars FINAL
COMMENT 'Liquidations by contract and minute, the latest revision. No row: no event, see bars_filled.'
