-- Coverage of single contracts, on channels that are subscribed contract by contract. The rows come with those of the
-- channels and go into a table of their own, so that `coverage` keeps one row per channel and minute. A contract has rows
-- only where its coverage differs from its channel's.
CREATE TABLE IF NOT EXISTS liquidations_data.contract_coverage
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.' CODEC(Delta, ZSTD(1)),
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which a collector was listening to this contract, 0 to 60000.' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'The highest stays.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, channel, symbol)
COMMENT 'How much of each minute a contract was listened to where its channel does not tell, as inserted; read the view liquidations.contract_coverage.'

-- next statement
ALTER TABLE liquidations_data.coverage_in
    ADD COLUMN IF NOT EXISTS symbol String DEFAULT '' COMMENT 'Contract, or empty: the channel.' AFTER revision

-- next statement
ALTER TABLE liquidations_data.coverage_from_in MODIFY QUERY SELECT
    exchange, channel, start, alive_ms, frames, revision
FROM liquidations_data.coverage_in
WHERE symbol = ''

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.contract_coverage_from_in TO liquidations_data.contract_coverage
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    exchange, channel, symbol, start, alive_ms, revision
FROM liquidations_data.coverage_in
WHERE symbol != ''
COMMENT 'Passes coverage of contracts on.'

-- next statement
CREATE OR REPLACE VIEW liquidations.contract_coverage
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.',
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which a collector was listening to this contract.',
    alive_share Float64 COMMENT 'The same as a share, 0 to 1.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, symbol, start, alive_ms, alive_ms / 60000 AS alive_share
FROM liquidations_data.contract_coverage FINAL
COMMENT 'How much of each minute a contract was listened to, where that differs from its channel. No row: as coverage says of the channel.'
