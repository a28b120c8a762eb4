CREATE TABLE IF NOT EXISTS liquidations_data.dead_letters
(
    dead_letter_id FixedString(16) COMMENT 'Hash of stage and origin.' CODEC(NONE),
    stage LowCardinality(String) COMMENT 'Which part refused it: mapping, worker or sink.',
    reason LowCardinality(String) COMMENT 'Short word for the kind of refusal.',
    message String COMMENT 'What exactly was wrong.' CODEC(ZSTD(3)),
    exchange LowCardinality(String) COMMENT 'Exchange, or empty if unknown.',
    channel LowCardinality(String) COMMENT 'Channel of the frame, or topic of the record.',
    connection LowCardinality(String) COMMENT 'Connection of the frame, or partition of the record.',
    sequence Int64 COMMENT 'Sequence of the frame, or offset of the record.' CODEC(Delta, ZSTD(1)),
    `index` Int32 COMMENT 'Position within the frame, from 0.' CODEC(ZSTD(1)),
    received_time DateTime64(6, 'UTC') COMMENT 'When the frame was read, or when the broker appended the record.' CODEC(Delta, ZSTD(1)),
    payload String COMMENT 'The payload of the frame or the value of the record, byte for byte.' CODEC(ZSTD(3)),
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body; checked, not stored.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true: a block with anything else is refused.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_time)
ORDER BY (toDate(received_time), received_time, dead_letter_id)
COMMENT 'What could not be used, as inserted; read the view liquidations.dead_letters.'
