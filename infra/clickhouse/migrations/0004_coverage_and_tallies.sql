CREATE TABLE IF NOT EXISTS liquidations_data.coverage
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.' CODEC(Delta, ZSTD(1)),
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which at least one collector was listening, 0 to 60000.' CODEC(ZSTD(1)),
    frames Int64 COMMENT 'Frames read in the minute, by all collectors.' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'The highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, channel)
COMMENT 'How much of each minute each channel was alive, as inserted; read the view liquidations.coverage.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.coverage_in
(
    exchange String COMMENT 'Exchange, lower case.',
    channel String COMMENT 'Channel.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.',
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which at least one collector was listening, 0 to 60000.',
    frames Int64 COMMENT 'Frames read in the minute, by all collectors.',
    revision UInt64 COMMENT 'The highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes coverage: columns as in coverage. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.coverage_from_in TO liquidations_data.coverage
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, channel, start, alive_ms, frames, revision
FROM liquidations_data.coverage_in
COMMENT 'Passes coverage on.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.tallies
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    asset LowCardinality(String) COMMENT 'Asset.',
    start DateTime64(3, 'UTC') COMMENT 'Minute of the watermark in which the records were read.' CODEC(Delta, ZSTD(1)),
    events Int64 COMMENT 'Distinct liquidations read, late and too late ones included.' CODEC(ZSTD(1)),
    duplicates Int64 COMMENT 'Repetitions of liquidations already read.' CODEC(ZSTD(1)),
    late Int64 COMMENT 'Events folded into a bar after it was closed.' CODEC(ZSTD(1)),
    too_late Int64 COMMENT 'Events that came after the time for corrections of their bar: in events, in no bar.' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'Sum of events and duplicates; the highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, asset)
COMMENT 'What the worker counted, as inserted, all revisions; read the view liquidations.tallies.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.tallies_in
(
    exchange String COMMENT 'Exchange, lower case.',
    asset String COMMENT 'Asset.',
    start DateTime64(3, 'UTC') COMMENT 'Minute of the watermark in which the records were read.',
    events Int64 COMMENT 'Distinct liquidations read, late and too late ones included.',
    duplicates Int64 COMMENT 'Repetitions of liquidations already read.',
    late Int64 COMMENT 'Events folded into a bar after it was closed.',
    too_late Int64 COMMENT 'Events that came after the time for corrections of their bar: in events, in no bar.',
    revision UInt64 COMMENT 'Sum of events and duplicates; the highest stays.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes tallies: columns as in tallies. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.tallies_from_in TO liquidations_data.tallies
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, asset, start, events, duplicates, late, too_late, revision
FROM liquidations_data.tallies_in
COMMENT 'Passes tallies on.'
