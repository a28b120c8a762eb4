-- What collectors said of single contracts, and the silences that were found.
CREATE TABLE IF NOT EXISTS liquidations_data.subscriptions
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    collector LowCardinality(String) COMMENT 'Collector that speaks.',
    time DateTime64(3, 'UTC') COMMENT 'Since when this holds.' CODEC(Delta, ZSTD(1)),
    state LowCardinality(String) COMMENT 'up: confirmed by the exchange. down: lost or given up.'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (exchange, channel, symbol, collector, time, state, asset)
COMMENT 'Subscriptions of single contracts, as inserted; read the view liquidations.subscriptions.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.subscriptions_in
(
    exchange String COMMENT 'Exchange, lower case.',
    channel String COMMENT 'Channel.',
    symbol String COMMENT 'Contract as the exchange writes it.',
    asset String COMMENT 'What is traded.',
    collector String COMMENT 'Collector that speaks.',
    time DateTime64(3, 'UTC') COMMENT 'Since when this holds.',
    state String COMMENT 'up: confirmed by the exchange. down: lost or given up.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes subscriptions: columns as in subscriptions. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.subscriptions_from_in TO liquidations_data.subscriptions
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, symbol, asset, collector, time, state
FROM liquidations_data.subscriptions_in
COMMENT 'Passes subscriptions on.'

-- next statement
-- A contract is known from its first subscription on, before it has had an event. On a channel that is subscribed contract by
-- contract it is not covered before.
ALTER TABLE liquidations_data.symbols
    ADD COLUMN IF NOT EXISTS first_subscription SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))
    COMMENT 'When the exchange first confirmed a subscription of this contract; NULL: never, or the channel is subscribed as a whole.'

-- next statement
ALTER TABLE liquidations_data.symbols
    COMMENT COLUMN first_time 'Earliest event or subscription.',
    COMMENT COLUMN last_time 'Latest event or subscription.',
    COMMENT COLUMN channel 'Channel that brings liquidations of it.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.symbols_of_subscriptions TO liquidations_data.symbols
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, channel, min(time) AS first_time, max(time) AS last_time,
    minIf(toNullable(time), state = 'up') AS first_subscription
FROM liquidations_data.subscriptions
GROUP BY exchange, symbol, asset, channel
COMMENT 'Keeps symbols up to date with each insert into subscriptions.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.silences
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    began DateTime64(3, 'UTC') COMMENT 'Last data before the silence.' CODEC(Delta, ZSTD(1)),
    found DateTime64(3, 'UTC') COMMENT 'When the silence was found.' CODEC(Delta, ZSTD(1)),
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'When data came again; NULL while it lasts.',
    expected Float64 COMMENT 'Data messages that were likely from began to found.',
    probability Float64 COMMENT 'How likely no message at all was, 0 to 1.',
    revision UInt64 COMMENT '1 when found, 2 when ended; the highest stays.'
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(began)
ORDER BY (began, exchange, channel)
COMMENT 'Silences, as inserted, all revisions; read the view liquidations.silences.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.silences_in
(
    exchange String COMMENT 'Exchange, lower case.',
    channel String COMMENT 'Channel.',
    began DateTime64(3, 'UTC') COMMENT 'Last data before the silence.',
    found DateTime64(3, 'UTC') COMMENT 'When the silence was found.',
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'When data came again; NULL while it lasts.',
    expected Float64 COMMENT 'Data messages that were likely from began to found.',
    probability Float64 COMMENT 'How likely no message at all was, 0 to 1.',
    revision UInt64 COMMENT '1 when found, 2 when ended; the highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes silences: columns as in silences. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.silences_from_in TO liquidations_data.silences
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, began, found, ended, expected, probability, revision
FROM liquidations_data.silences_in
COMMENT 'Passes silences on.'

-- next statement
CREATE OR REPLACE VIEW liquidations.subscriptions
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    collector LowCardinality(String) COMMENT 'Collector that subscribed.',
    time DateTime64(3, 'UTC') COMMENT 'Since when this holds.',
    state LowCardinality(String) COMMENT 'up: confirmed by the exchange. down: lost or given up.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, symbol, asset, collector, time, state
FROM liquidations_data.subscriptions FINAL
COMMENT 'Changes of the subscriptions of single contracts, on channels that are subscribed contract by contract.'

-- next statement
CREATE OR REPLACE VIEW liquidations.silences
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel that was connected and brought nothing.',
    began DateTime64(3, 'UTC') COMMENT 'Last data before the silence: since when the channel is not covered.',
    found DateTime64(3, 'UTC') COMMENT 'When the silence was found.',
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'When data came again; NULL while it lasts.',
    expected Float64 COMMENT 'Data messages that were likely from began to found, by the channel''s history and the other exchanges'' activity.',
    probability Float64 COMMENT 'How likely no message at all was, given that; 0 to 1.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, began, found, ended, expected, probability
FROM liquidations_data.silences FINAL
COMMENT 'Channels that were up by their collectors'' word and brought nothing although data were likely. ended IS NULL: silent now.'
