-- Cascades: one row per run of liquidations that is large for its asset, the highest revision. Sorted by day, so that a span is
-- quick; every key column is the same in all revisions.
CREATE TABLE IF NOT EXISTS liquidations_data.cascades
(
    cascade_id FixedString(16) COMMENT 'Id of its anomaly: hash of asset, position, begin and rules.',
    asset LowCardinality(String) COMMENT 'What is traded.',
    position LowCardinality(String) COMMENT 'Position that was closed by force: long or short.',
    state LowCardinality(String) COMMENT 'open while the forced flow goes on, closed once it has subsided.',
    begin DateTime64(3, 'UTC') COMMENT 'Its first liquidation, as known when it opened.' CODEC(Delta, ZSTD(1)),
    peak DateTime64(3, 'UTC') COMMENT 'Start of the second with the most USD.' CODEC(Delta, ZSTD(1)),
    `end` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the forced flow had subsided; null while it goes on.' CODEC(ZSTD(1)),
    waves Int32 COMMENT 'How often the rate rose again after it had fallen under half of the height before, the first rise included.' CODEC(ZSTD(1)),
    long_micros Int64 COMMENT 'Liquidated longs from begin to end, in USD x 1e-6.' CODEC(ZSTD(1)),
    short_micros Int64 COMMENT 'Liquidated shorts from begin to end, in USD x 1e-6.' CODEC(ZSTD(1)),
    long_count Int64 COMMENT 'Number of liquidated longs.' CODEC(ZSTD(1)),
    short_count Int64 COMMENT 'Number of liquidated shorts.' CODEC(ZSTD(1)),
    peak_second_micros Int64 COMMENT 'USD x 1e-6 of the position in the second of the peak.' CODEC(ZSTD(1)),
    exchanges Array(LowCardinality(String)) COMMENT 'Exchanges in the order of their first liquidation in it.' CODEC(ZSTD(1)),
    price_before Float64 COMMENT 'Price of its first liquidation.' CODEC(ZSTD(1)),
    price_extreme Float64 COMMENT 'Lowest price among its liquidations for longs, highest for shorts.' CODEC(ZSTD(1)),
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which the asset''s feeds were listened to.' CODEC(ZSTD(1)),
    completeness LowCardinality(String) COMMENT 'The least complete feed among its liquidations.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or the count of a feed that shows a part only.',
    rules_hash LowCardinality(String) COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'Rises with every change; the highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(begin)
ORDER BY (toDate(begin), asset, begin, cascade_id)
COMMENT 'Cascades as inserted, all revisions; read the view liquidations.cascades.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.cascades_in
(
    cascade_id FixedString(16) COMMENT 'Id of its anomaly: hash of asset, position, begin and rules.',
    asset String COMMENT 'What is traded.',
    position String COMMENT 'Position that was closed by force: long or short.',
    state String COMMENT 'open while the forced flow goes on, closed once it has subsided.',
    begin DateTime64(3, 'UTC') COMMENT 'Its first liquidation, as known when it opened.',
    peak DateTime64(3, 'UTC') COMMENT 'Start of the second with the most USD.',
    `end` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the forced flow had subsided; null while it goes on.',
    waves Int32 COMMENT 'How often the rate rose again after it had fallen under half of the height before, the first rise included.',
    long_micros Int64 COMMENT 'Liquidated longs from begin to end, in USD x 1e-6.',
    short_micros Int64 COMMENT 'Liquidated shorts from begin to end, in USD x 1e-6.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    peak_second_micros Int64 COMMENT 'USD x 1e-6 of the position in the second of the peak.',
    exchanges Array(String) COMMENT 'Exchanges in the order of their first liquidation in it.',
    price_before Float64 COMMENT 'Price of its first liquidation.',
    price_extreme Float64 COMMENT 'Lowest price among its liquidations for longs, highest for shorts.',
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which the asset''s feeds were listened to.',
    completeness String COMMENT 'The least complete feed among its liquidations.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or the count of a feed that shows a part only.',
    rules_hash String COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'Rises with every change; the highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes cascades: columns as in cascades. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.cascades_from_in TO liquidations_data.cascades
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    cascade_id, asset, position, state, begin, peak, `end`, waves, long_micros, short_micros, long_count, short_count,
    peak_second_micros, exchanges, price_before, price_extreme, coverage, completeness, degraded, rules_hash, revision
FROM liquidations_data.cascades_in
COMMENT 'Passes cascades on.'
