-- One row per contract and minute: the highest revision. The content of a key and revision is always the same, so the
-- order of inserts does not matter. Sorted by day and asset, so that one asset over a year is quick; the index on start makes a
-- few hours of all assets quick, too.
CREATE TABLE IF NOT EXISTS liquidations_data.bars
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included; the end is excluded.' CODEC(Delta, ZSTD(1)),
    long_micros Int64 COMMENT 'Liquidated longs in USD x 1e-6.' CODEC(ZSTD(1)),
    short_micros Int64 COMMENT 'Liquidated shorts in USD x 1e-6.' CODEC(ZSTD(1)),
    long_count Int64 COMMENT 'Number of liquidated longs.' CODEC(ZSTD(1)),
    short_count Int64 COMMENT 'Number of liquidated shorts.' CODEC(ZSTD(1)),
    largest_micros Int64 COMMENT 'Largest single liquidation in USD x 1e-6.' CODEC(ZSTD(1)),
    price_low Float64 COMMENT 'Lowest price among the events.' CODEC(ZSTD(1)),
    price_high Float64 COMMENT 'Highest price among the events.' CODEC(ZSTD(1)),
    late_count Int64 COMMENT 'Events that came after the bar was closed.' CODEC(ZSTD(1)),
    closed Bool COMMENT 'Whether the watermark has passed the end by the lateness.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channel was known to be alive.' CODEC(ZSTD(1)),
    completeness LowCardinality(String) COMMENT 'The least complete feed among the events.',
    revision UInt64 COMMENT 'Twice the number of events, plus one once closed; the highest stays.' CODEC(ZSTD(1)),
    INDEX starts start TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (toDate(start), asset, start, exchange, symbol)
COMMENT 'Minute bars as inserted, all revisions; read the views liquidations.bars_1m and its larger siblings.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.bars_in
(
    exchange String COMMENT 'Exchange, lower case.',
    symbol String COMMENT 'Contract as the exchange writes it.',
    instrument String COMMENT 'Canonical contract name.',
    asset String COMMENT 'What is traded.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included; the end is excluded.',
    long_micros Int64 COMMENT 'Liquidated longs in USD x 1e-6.',
    short_micros Int64 COMMENT 'Liquidated shorts in USD x 1e-6.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    largest_micros Int64 COMMENT 'Largest single liquidation in USD x 1e-6.',
    price_low Float64 COMMENT 'Lowest price among the events.',
    price_high Float64 COMMENT 'Highest price among the events.',
    late_count Int64 COMMENT 'Events that came after the bar was closed.',
    closed Bool COMMENT 'Whether the watermark has passed the end by the lateness.',
    coverage Float64 COMMENT 'Share of the minute, 0 to 1, in which the channel was known to be alive.',
    completeness String COMMENT 'The least complete feed among the events.',
    revision UInt64 COMMENT 'Twice the number of events, plus one once closed; the highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes bars: columns as in bars. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.bars_from_in TO liquidations_data.bars
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, symbol, instrument, asset, start, long_micros, short_micros, long_count, short_count,
    largest_micros, price_low, price_high, late_count, closed, coverage, completeness, revision
FROM liquidations_data.bars_in
COMMENT 'Passes bars on.'
