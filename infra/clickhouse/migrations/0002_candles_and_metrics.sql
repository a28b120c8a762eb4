-- Candles and metrics are readings of a thing that the exchange may read again: the last word stays. Of a candle that
-- is one that the exchange called closed, else the last received; ties go by content, not by the order of inserts.
CREATE TABLE IF NOT EXISTS liquidations_data.candles
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.' CODEC(Delta, ZSTD(1)),
    open Float64 COMMENT 'First price.' CODEC(ZSTD(1)),
    high Float64 COMMENT 'Highest price.' CODEC(ZSTD(1)),
    low Float64 COMMENT 'Lowest price.' CODEC(ZSTD(1)),
    close Float64 COMMENT 'Last price.' CODEC(ZSTD(1)),
    volume Float64 COMMENT 'Traded base units.' CODEC(ZSTD(1)),
    volume_micros Int64 COMMENT 'Traded value in USD x 1e-6.' CODEC(ZSTD(1)),
    taker_buy_micros Nullable(Int64) COMMENT 'Part of it that buyers took, in USD x 1e-6.' CODEC(ZSTD(1)),
    trades Nullable(Int64) COMMENT 'Number of trades.' CODEC(ZSTD(1)),
    closed Bool COMMENT 'Whether the exchange says that the minute is over.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.' CODEC(Delta, ZSTD(1)),
    precedence UInt128 MATERIALIZED bitOr(
        bitShiftLeft(bitOr(bitShiftLeft(toUInt128(closed), 63), toUInt128(toUnixTimestamp64Micro(received_time))), 64),
        toUInt128(sipHash64(open, high, low, close, volume, volume_micros, ifNull(taker_buy_micros, -1), ifNull(trades, -1))))
        COMMENT 'The reading with the highest one stays: closed before open, then the last received.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(start)
ORDER BY (toDate(start), asset, start, exchange, symbol)
COMMENT 'Minute candles as inserted; read the view liquidations.candles.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.candles_in
(
    exchange String COMMENT 'Exchange, lower case.',
    symbol String COMMENT 'Contract as the exchange writes it.',
    instrument String COMMENT 'Canonical contract name.',
    asset String COMMENT 'What is traded.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.',
    open Float64 COMMENT 'First price.',
    high Float64 COMMENT 'Highest price.',
    low Float64 COMMENT 'Lowest price.',
    close Float64 COMMENT 'Last price.',
    volume Float64 COMMENT 'Traded base units.',
    volume_micros Int64 COMMENT 'Traded value in USD x 1e-6.',
    taker_buy_micros Nullable(Int64) COMMENT 'Part of it that buyers took, in USD x 1e-6.',
    trades Nullable(Int64) COMMENT 'Number of trades.',
    closed Bool COMMENT 'Whether the exchange says that the minute is over.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes candles: columns as in candles. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.candles_from_in TO liquidations_data.candles
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, symbol, instrument, asset, start, open, high, low, close, volume, volume_micros, taker_buy_micros,
    trades, closed, received_time
FROM liquidations_data.candles_in
COMMENT 'Passes candles on.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.metrics
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    metric LowCardinality(String) COMMENT 'What is measured.',
    value Float64 COMMENT 'The reading: base units, USD, price, rate per funding interval, or share 0 to 1.' CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') COMMENT 'When the exchange took the reading.' CODEC(Delta, ZSTD(1)),
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.' CODEC(Delta, ZSTD(1)),
    precedence UInt128 MATERIALIZED bitOr(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_time)), 64),
        toUInt128(sipHash64(value))) COMMENT 'The reading with the highest one stays: the last received.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), asset, metric, time, exchange, symbol)
COMMENT 'Readings as inserted; read the view liquidations.metrics.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.metrics_in
(
    exchange String COMMENT 'Exchange, lower case.',
    symbol String COMMENT 'Contract as the exchange writes it.',
    instrument String COMMENT 'Canonical contract name.',
    asset String COMMENT 'What is traded.',
    metric String COMMENT 'What is measured.',
    value Float64 COMMENT 'The reading: base units, USD, price, rate per funding interval, or share 0 to 1.',
    time DateTime64(3, 'UTC') COMMENT 'When the exchange took the reading.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes metrics: columns as in metrics. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.metrics_from_in TO liquidations_data.metrics
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, symbol, instrument, asset, metric, value, time, received_time
FROM liquidations_data.metrics_in
COMMENT 'Passes metrics on.'
