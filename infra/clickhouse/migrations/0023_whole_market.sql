-- How far the rules of the whole market are behind the partitions of events: a measurement of the running pipeline, not a function of
-- the event log, so a replay has other rows.
CREATE TABLE IF NOT EXISTS liquidations_data.market_delays
(
    start DateTime64(3, 'UTC') COMMENT 'Minute of newest.' CODEC(Delta, ZSTD(1)),
    newest DateTime64(3, 'UTC') COMMENT 'Watermark of the partition that is furthest ahead.' CODEC(Delta, ZSTD(1)),
    watermark Nullable(DateTime64(3, 'UTC')) COMMENT 'How far the market rules are; null before every partition has spoken.' CODEC(ZSTD(1)),
    most_ms Int64 COMMENT 'Largest difference between the two within the minute.' CODEC(ZSTD(1)),
    held_by Int32 COMMENT 'Partition that is furthest behind.' CODEC(ZSTD(1)),
    waiting Int32 COMMENT 'Pulses that wait for it.' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'Counts what was said of the minute; the highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY start
COMMENT 'Delay of the market rules, all revisions; read the view liquidations.market_delay.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.market_delays_in
(
    start DateTime64(3, 'UTC') COMMENT 'Minute of newest.',
    newest DateTime64(3, 'UTC') COMMENT 'Watermark of the partition that is furthest ahead.',
    watermark Nullable(DateTime64(3, 'UTC')) COMMENT 'How far the market rules are; null before every partition has spoken.',
    most_ms Int64 COMMENT 'Largest difference between the two within the minute.',
    held_by Int32 COMMENT 'Partition that is furthest behind.',
    waiting Int32 COMMENT 'Pulses that wait for it.',
    revision UInt64 COMMENT 'Counts what was said of the minute; the highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes market_delays: columns as in market_delays. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.market_delays_from_in TO liquidations_data.market_delays
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    start, newest, watermark, most_ms, held_by, waiting, revision
FROM liquidations_data.market_delays_in
COMMENT 'Passes delays of the market rules on.'

-- next statement
CREATE OR REPLACE VIEW liquidations.market_delay
(
    start DateTime64(3, 'UTC') COMMENT 'Minute of newest.',
    newest DateTime64(3, 'UTC') COMMENT 'Watermark of the partition of events that is furthest ahead.',
    watermark Nullable(DateTime64(3, 'UTC')) COMMENT 'How far the rules of the whole market are; null before every partition has spoken.',
    delay_ms Nullable(Int64) COMMENT 'Difference between the two as last said in the minute.',
    most_delay_ms Int64 COMMENT 'Largest difference within the minute.',
    held_by Int32 COMMENT 'Partition that is furthest behind.',
    waiting Int32 COMMENT 'Pulses that wait for it.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT start, newest, watermark, dateDiff('millisecond', watermark, newest) AS delay_ms, most_ms AS most_delay_ms, held_by, waiting
FROM liquidations_data.market_delays FINAL
COMMENT 'How far the rules of the whole market are behind, by minute. No row: no market rule was at work.'

-- next statement
CREATE OR REPLACE VIEW liquidations.market_1s
(
    start DateTime64(3, 'UTC') COMMENT 'Start of the second of event time, included.',
    long_usd Float64 COMMENT 'Liquidated longs in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts in USD.',
    long_count UInt64 COMMENT 'Number of liquidated longs.',
    short_count UInt64 COMMENT 'Number of liquidated shorts.',
    largest_usd Float64 COMMENT 'Largest single liquidation in USD.',
    exchanges UInt64 COMMENT 'Exchanges with events.',
    assets UInt64 COMMENT 'Assets with events.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT toStartOfSecond(event_time) AS start, sumIf(notional_micros, position = 'long') / 1000000 AS long_usd,
    sumIf(notional_micros, position = 'short') / 1000000 AS short_usd, countIf(position = 'long') AS long_count,
    countIf(position = 'short') AS short_count, max(notional_micros) / 1000000 AS largest_usd,
    uniqExact(exchange) AS exchanges, uniqExact(asset) AS assets
FROM liquidations_data.events FINAL
GROUP BY start
COMMENT 'Liquidations by second, over all assets and exchanges. No row: no event in that second, or nobody who listened.'
