-- Which contracts were seen on which channel. Coverage is known by channel, bars by contract; this joins the two. It is
-- kept by minimum and maximum, so a repeated insert changes nothing.
CREATE TABLE IF NOT EXISTS liquidations_data.symbols
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    channel LowCardinality(String) COMMENT 'Channel that brought liquidations of it.',
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'Earliest event.',
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Latest event.'
)
ENGINE = AggregatingMergeTree
ORDER BY (exchange, symbol, asset, channel)
COMMENT 'Contracts and the channels that bring their liquidations.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.symbols_of_events TO liquidations_data.symbols
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, source.channel AS channel, min(event_time) AS first_time, max(event_time) AS last_time
FROM liquidations_data.events
GROUP BY exchange, symbol, asset, channel
COMMENT 'Keeps symbols up to date with each insert into events.'
