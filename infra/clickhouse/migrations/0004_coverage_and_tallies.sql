CREATE TABLE IF NOT EXISTS liquidations_data.coverage
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.' CODEC(Delta, ZSTD(1)),
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which at least one collector was listening, 0 to 60000.' CODEC(ZSTD(1)),
    frames Int64 COMMENT 'Frames read in the minute, by all collectors.' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'The highest stays.' CODEC(ZSTD(1)),
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body; checked, not stored.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true: a block with anything else is refused.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, channel)
COMMENT 'How much of each minute each channel was alive, as inserted; read the view liquidations.coverage.'

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
    revision UInt64 COMMENT 'Sum of events and duplicates; the highest stays.' CODEC(ZSTD(1)),
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body; checked, not stored.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true: a block with anything else is refused.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, asset)
COMMENT 'What the worker counted, as inserted, all revisions; read the view liquidations.tallies.'
