-- The newest row of each kind, which tells where a pipeline stands still.
--
-- Tables are asked without FINAL: a row that another one replaces was read or written, too, and times in keys are the same in both. So
-- nothing is merged, and each table is named once. See docs/decisions/0092-views-of-a-time-range.md.
CREATE OR REPLACE VIEW liquidations.newest_between
(
    kind String COMMENT 'View that shows such rows: heartbeats, events, coverage, bars_1m, candles or metrics. No row: it has none.',
    newest DateTime64(3, 'UTC') COMMENT 'Latest of all rows, repetitions included: heartbeats by last_time, coverage by the end of the minute, bars_1m by start, the others by received_time.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT 'heartbeats' AS kind, CAST(max(last_time) AS DateTime64(3, 'UTC')) AS newest
FROM liquidations_data.heartbeats
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
HAVING count() > 0
UNION ALL
SELECT 'events' AS kind, toDateTime64(max(latest), 3, 'UTC') AS newest
FROM
(
    SELECT max(received_time) AS latest, count() AS rows
    FROM liquidations_data.events
    WHERE event_time >= fromUnixTimestamp64Milli({from_ms:Int64}) AND event_time <= fromUnixTimestamp64Milli({to_ms:Int64})
    UNION ALL
    SELECT max(received_time) AS latest, count() AS rows
    FROM liquidations_data.received_events
    WHERE event_time >= fromUnixTimestamp64Milli({from_ms:Int64}) AND event_time <= fromUnixTimestamp64Milli({to_ms:Int64})
)
HAVING sum(rows) > 0
UNION ALL
SELECT 'coverage' AS kind, max(start) + toIntervalMinute(1) AS newest
FROM liquidations_data.coverage
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
HAVING count() > 0
UNION ALL
SELECT 'bars_1m' AS kind, max(start) AS newest
FROM liquidations_data.bars
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
HAVING count() > 0
UNION ALL
SELECT 'candles' AS kind, toDateTime64(max(received_time), 3, 'UTC') AS newest
FROM liquidations_data.candles
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
HAVING count() > 0
UNION ALL
SELECT 'metrics' AS kind, toDateTime64(max(received_time), 3, 'UTC') AS newest
FROM liquidations_data.metrics
WHERE time >= fromUnixTimestamp64Milli({from_ms:Int64}) AND time <= fromUnixTimestamp64Milli({to_ms:Int64})
HAVING count() > 0
COMMENT 'The newest row of each kind among those whose time (event_time, start or time) is from from_ms to to_ms, both included. Parameters are ms since 1970.'
