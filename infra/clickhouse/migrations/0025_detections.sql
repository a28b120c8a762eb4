-- When each anomaly was first told. `anomalies` keeps the last revision, so the first one is kept here, by a minimum: the order of
-- inserts does not matter, and a repeated one changes nothing.
CREATE TABLE IF NOT EXISTS liquidations_data.detections
(
    anomaly_id FixedString(16) COMMENT 'As in anomalies.',
    kind LowCardinality(String) COMMENT 'Rule: surge, rolling_threshold, cascade, quiet, ratio, silent_channel.',
    started DateTime64(3, 'UTC') COMMENT 'Begin, in event time.' CODEC(Delta, ZSTD(1)),
    found SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'Event time up to which the first revision knew.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(started)
ORDER BY (toDate(started), started, kind, anomaly_id)
COMMENT 'When anomalies were first told; read the view liquidations.detections.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.detections_of_anomalies TO liquidations_data.detections
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT anomaly_id, kind, started, min(updated) AS found
FROM liquidations_data.anomalies
GROUP BY anomaly_id, kind, started
COMMENT 'Keeps detections up to date with each insert into anomalies.'

-- next statement
-- What was inserted before.
INSERT INTO liquidations_data.detections (anomaly_id, kind, started, found)
SELECT anomaly_id, kind, started, min(updated)
FROM liquidations_data.anomalies
GROUP BY anomaly_id, kind, started

-- next statement
CREATE OR REPLACE VIEW liquidations.detections
(
    anomaly_id String COMMENT 'As in anomalies.',
    kind LowCardinality(String) COMMENT 'Rule: surge, rolling_threshold, cascade, quiet, ratio, silent_channel.',
    started DateTime64(3, 'UTC') COMMENT 'Begin, in event time.',
    found DateTime64(3, 'UTC') COMMENT 'Event time that was known when it was first told.',
    delay_ms Int64 COMMENT 'Milliseconds from begin to then. Of a surge the begin is that of its bar.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(told.anomaly_id)) AS anomaly_id, kind, started, CAST(min(told.found) AS DateTime64(3, 'UTC')) AS found,
    dateDiff('millisecond', started, min(told.found)) AS delay_ms
FROM liquidations_data.detections AS told
GROUP BY told.anomaly_id, kind, started
COMMENT 'When each anomaly was first told.'
