-- How soon liquidations become rows, and how much room the tables take: measurements of the running pipeline, not functions of the
-- event log, so another run has other numbers.
--
-- What is read long after it was received is a recording, not a delay, and is left out.
CREATE TABLE IF NOT EXISTS liquidations_data.arrivals
(
    start DateTime64(3, 'UTC') COMMENT 'Minute in which rows were inserted, by the clock of ClickHouse.' CODEC(Delta, ZSTD(1)),
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'Liquidations inserted; one that comes again counts again.',
    most_ms SimpleAggregateFunction(max, Int64) COMMENT 'Longest time from the collector to the row.',
    delays_ms AggregateFunction(quantilesTDigest(0.5, 0.95), Int64) COMMENT 'Times from the collector to the row.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(start)
ORDER BY start
COMMENT 'Times from collector to row, as inserted; read the view liquidations.arrivals.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.arrivals_of_events TO liquidations_data.arrivals
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT toStartOfInterval(now64(3, 'UTC'), toIntervalMillisecond(60000)) AS start, count() AS events, max(delay_ms) AS most_ms,
    quantilesTDigestState(0.5, 0.95)(delay_ms) AS delays_ms
FROM (SELECT greatest(0, dateDiff('millisecond', received_time, now64(6, 'UTC'))) AS delay_ms FROM liquidations_data.events_in)
WHERE delay_ms < 86400000
GROUP BY start
COMMENT 'Measures the time from collector to row with each insert into events.'

-- next statement
CREATE OR REPLACE VIEW liquidations.arrivals
(
    start DateTime64(3, 'UTC') COMMENT 'Minute in which rows were inserted, by the clock of ClickHouse.',
    events UInt64 COMMENT 'Liquidations inserted, at most a day after they were received; one that comes again counts again.',
    p50_ms Float32 COMMENT 'Median time from the collector to the row.',
    p95_ms Float32 COMMENT '95th percentile of it.',
    most_ms Int64 COMMENT 'The longest.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT start, sum(arrived.events) AS events, quantilesTDigestMerge(0.5, 0.95)(delays_ms)[1] AS p50_ms,
    quantilesTDigestMerge(0.5, 0.95)(delays_ms)[2] AS p95_ms, CAST(max(arrived.most_ms) AS Int64) AS most_ms
FROM liquidations_data.arrivals AS arrived
GROUP BY start
COMMENT 'How soon liquidations become rows, by minute. No row: none came in that minute, or only recordings.'

-- next statement
CREATE OR REPLACE VIEW liquidations.storage
(
    table String COMMENT 'Table behind the views.',
    month Nullable(Date) COMMENT 'First day of the month whose rows these are; NULL: the table is not divided by months.',
    rows UInt64 COMMENT 'Rows as stored, with revisions and repetitions that are not merged away yet.',
    bytes UInt64 COMMENT 'Room on disk.',
    bytes_uncompressed UInt64 COMMENT 'Room without compression.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT parts.table AS table, if(match(partition, '^[0-9]{6}$'), YYYYMMDDToDate(toUInt32OrZero(partition) * 100 + 1), NULL) AS month,
    sum(parts.rows) AS rows, sum(bytes_on_disk) AS bytes, sum(data_uncompressed_bytes) AS bytes_uncompressed
FROM system.parts AS parts
WHERE database = 'liquidations_data' AND parts.table != 'migrations' AND active
GROUP BY table, month
COMMENT 'How much room each table takes, by the month of its rows, as of now.'
