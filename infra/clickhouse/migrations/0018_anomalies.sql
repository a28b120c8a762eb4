-- What detection rules found: one row per anomaly, the highest revision. Sorted by day, so that a span is quick; every key column is
-- the same in all revisions.
CREATE TABLE IF NOT EXISTS liquidations_data.anomalies
(
    anomaly_id FixedString(16) COMMENT 'Hash of kind, scope, asset, exchange, symbol, position, measure, interval, begin and rules.',
    kind LowCardinality(String) COMMENT 'Rule: surge, rolling_threshold, cascade, quiet, ratio, silent_channel.',
    scope LowCardinality(String) COMMENT 'What it is about: instrument, asset, market or channel.',
    asset LowCardinality(String) COMMENT 'Asset; empty for market and channel.',
    exchange LowCardinality(String) COMMENT 'Exchange; empty for asset and market.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it, or the name of the channel; empty for asset and market.',
    position LowCardinality(String) COMMENT 'Closed positions that count: long, short or both.',
    measure LowCardinality(String) COMMENT 'What value and threshold are: usd, count or share.',
    interval_ms Int64 COMMENT 'Length of the bar in milliseconds; 0 where there is none.' CODEC(ZSTD(1)),
    state LowCardinality(String) COMMENT 'open until it has ended, then closed.',
    level Int32 COMMENT 'How far it has gone: 0 notice, 1 warning, 2 critical, 3 and above page a person.' CODEC(ZSTD(1)),
    value Float64 COMMENT 'Value that was judged, in the unit of measure.' CODEC(ZSTD(1)),
    threshold Float64 COMMENT 'Bound that the value has passed.' CODEC(ZSTD(1)),
    baseline_mean Nullable(Float64) COMMENT 'Mean of the baseline; null where the rule has none.' CODEC(ZSTD(1)),
    baseline_sd Nullable(Float64) COMMENT 'Sample standard deviation of the baseline; null where the rule has none.' CODEC(ZSTD(1)),
    baseline_n Int32 COMMENT 'Number of values in the baseline.' CODEC(ZSTD(1)),
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which its feeds were listened to.' CODEC(ZSTD(1)),
    completeness LowCardinality(String) COMMENT 'The least complete feed that it rests on.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or counts of a feed that shows a part only.',
    started DateTime64(3, 'UTC') COMMENT 'Begin, in event time.' CODEC(Delta, ZSTD(1)),
    updated DateTime64(3, 'UTC') COMMENT 'Event time up to which this revision knows.' CODEC(Delta, ZSTD(1)),
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'End, in event time; null while it is open.' CODEC(ZSTD(1)),
    details Map(String, Float64) COMMENT 'Further numbers by name, as the rule documents them.' CODEC(ZSTD(1)),
    contributors Array(FixedString(16)) COMMENT 'Ids of the largest events in it, at most ten, largest first.' CODEC(ZSTD(1)),
    rules_hash LowCardinality(String) COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'The highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(started)
ORDER BY (toDate(started), asset, started, anomaly_id)
COMMENT 'Anomalies as inserted, all revisions; read the view liquidations.anomalies.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.anomalies_in
(
    anomaly_id FixedString(16) COMMENT 'Hash of kind, scope, asset, exchange, symbol, position, measure, interval, begin and rules.',
    kind String COMMENT 'Rule: surge, rolling_threshold, cascade, quiet, ratio, silent_channel.',
    scope String COMMENT 'What it is about: instrument, asset, market or channel.',
    asset String COMMENT 'Asset; empty for market and channel.',
    exchange String COMMENT 'Exchange; empty for asset and market.',
    symbol String COMMENT 'Contract as the exchange writes it, or the name of the channel; empty for asset and market.',
    position String COMMENT 'Closed positions that count: long, short or both.',
    measure String COMMENT 'What value and threshold are: usd, count or share.',
    interval_ms Int64 COMMENT 'Length of the bar in milliseconds; 0 where there is none.',
    state String COMMENT 'open until it has ended, then closed.',
    level Int32 COMMENT 'How far it has gone: 0 notice, 1 warning, 2 critical, 3 and above page a person.',
    value Float64 COMMENT 'Value that was judged, in the unit of measure.',
    threshold Float64 COMMENT 'Bound that the value has passed.',
    baseline_mean Nullable(Float64) COMMENT 'Mean of the baseline; null where the rule has none.',
    baseline_sd Nullable(Float64) COMMENT 'Sample standard deviation of the baseline; null where the rule has none.',
    baseline_n Int32 COMMENT 'Number of values in the baseline.',
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which its feeds were listened to.',
    completeness String COMMENT 'The least complete feed that it rests on.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or counts of a feed that shows a part only.',
    started DateTime64(3, 'UTC') COMMENT 'Begin, in event time.',
    updated DateTime64(3, 'UTC') COMMENT 'Event time up to which this revision knows.',
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'End, in event time; null while it is open.',
    details Map(String, Float64) COMMENT 'Further numbers by name, as the rule documents them.',
    contributors Array(FixedString(16)) COMMENT 'Ids of the largest events in it, at most ten, largest first.',
    rules_hash String COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'The highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes anomalies: columns as in anomalies. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.anomalies_from_in TO liquidations_data.anomalies
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    anomaly_id, kind, scope, asset, exchange, symbol, position, measure, interval_ms, state, level, value, threshold,
    baseline_mean, baseline_sd, baseline_n, coverage, completeness, degraded, started, updated, ended, details,
    contributors, rules_hash, revision
FROM liquidations_data.anomalies_in
COMMENT 'Passes anomalies on.'

-- next statement
CREATE OR REPLACE VIEW liquidations.anomalies
(
    anomaly_id String COMMENT 'Hash of what it is about, its begin and the rules, in hex; the same however often it is found.',
    kind LowCardinality(String) COMMENT 'Rule: surge, rolling_threshold, cascade, quiet, ratio, silent_channel.',
    scope LowCardinality(String) COMMENT 'What it is about: instrument, asset, market or channel.',
    asset LowCardinality(String) COMMENT 'Asset; empty for market and channel.',
    exchange LowCardinality(String) COMMENT 'Exchange; empty for asset and market.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it, or the name of the channel; empty for asset and market.',
    position LowCardinality(String) COMMENT 'Closed positions that count: long, short or both.',
    measure LowCardinality(String) COMMENT 'What value and threshold are: usd, count or share.',
    interval_ms Int64 COMMENT 'Length of the bar in milliseconds; 0 where there is none.',
    state LowCardinality(String) COMMENT 'open until it has ended, then closed.',
    level Int32 COMMENT 'How far it has gone: 0 notice, 1 warning, 2 critical, 3 and above page a person.',
    value Float64 COMMENT 'Value that was judged, in the unit of measure.',
    threshold Float64 COMMENT 'Bound that the value has passed.',
    baseline_mean Nullable(Float64) COMMENT 'Mean of the baseline; null where the rule has none.',
    baseline_sd Nullable(Float64) COMMENT 'Sample standard deviation of the baseline; null where the rule has none.',
    baseline_n Int32 COMMENT 'Number of values in the baseline.',
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which its feeds were listened to.',
    completeness LowCardinality(String) COMMENT 'The least complete feed that it rests on.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or counts of a feed that shows a part only.',
    started DateTime64(3, 'UTC') COMMENT 'Begin, in event time.',
    updated DateTime64(3, 'UTC') COMMENT 'Event time up to which this revision knows.',
    ended Nullable(DateTime64(3, 'UTC')) COMMENT 'End, in event time; null while it is open.',
    details Map(String, Float64) COMMENT 'Further numbers by name, as the rule documents them.',
    contributors Array(String) COMMENT 'Ids of the largest events in it, in hex as in events, at most ten, largest first.',
    rules_hash LowCardinality(String) COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'The highest stays.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    lower(hex(anomaly_id)) AS anomaly_id, kind, scope, asset, exchange, symbol, position, measure, interval_ms, state,
    level, value, threshold, baseline_mean, baseline_sd, baseline_n, coverage, completeness, degraded, started,
    updated, ended, details, arrayMap(id -> lower(hex(id)), contributors) AS contributors, rules_hash, revision
FROM liquidations_data.anomalies FINAL
COMMENT 'What detection rules found, the latest revision. A row opens, is updated, and closes.'
