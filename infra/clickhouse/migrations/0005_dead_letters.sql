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
    payload String COMMENT 'The payload of the frame or the value of the record, byte for byte.' CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_time)
ORDER BY (toDate(received_time), received_time, dead_letter_id)
COMMENT 'What could not be used, as inserted; read the view liquidations.dead_letters.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.dead_letters_in
(
    dead_letter_id FixedString(16) COMMENT 'Hash of stage and origin.',
    stage String COMMENT 'Which part refused it: mapping, worker or sink.',
    reason String COMMENT 'Short word for the kind of refusal.',
    message String COMMENT 'What exactly was wrong.',
    exchange String COMMENT 'Exchange, or empty if unknown.',
    channel String COMMENT 'Channel of the frame, or topic of the record.',
    connection String COMMENT 'Connection of the frame, or partition of the record.',
    sequence Int64 COMMENT 'Sequence of the frame, or offset of the record.',
    `index` Int32 COMMENT 'Position within the frame, from 0.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the frame was read, or when the broker appended the record.',
    payload String COMMENT 'The payload of the frame or the value of the record, byte for byte.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes dead_letters: columns as in dead_letters. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.dead_letters_from_in TO liquidations_data.dead_letters
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    dead_letter_id, stage, reason, message, exchange, channel, connection, sequence, `index`, received_time,
    payload
FROM liquidations_data.dead_letters_in
COMMENT 'Passes dead_letters on.'
