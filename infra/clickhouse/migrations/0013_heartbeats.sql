-- What each collector said of each channel, by minute. Heartbeats come once per second, and may come twice: frames are kept
-- by the heartbeat's place in the minute, and the largest of a repeated one is the same one. So a repeated insert changes
-- nothing, and a minute is one row. See docs/decisions/0021-heartbeats-by-minute.md.
CREATE TABLE IF NOT EXISTS liquidations_data.heartbeats
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    collector LowCardinality(String) COMMENT 'Collector that speaks.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.' CODEC(Delta, ZSTD(1)),
    frames SimpleAggregateFunction(maxMap, Map(UInt16, UInt64)) COMMENT 'Frames since the heartbeat before, by the millisecond of the minute at which the heartbeat was said.' CODEC(ZSTD(1)),
    was_up SimpleAggregateFunction(max, UInt8) COMMENT 'Whether any heartbeat of the minute was up.',
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Latest heartbeat.',
    last_frame_time SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC'))) COMMENT 'When the last frame was read.',
    lowest_offset_ms SimpleAggregateFunction(min, Nullable(Int64)) COMMENT 'Least of the minute: milliseconds that the exchange is ahead of the collector.',
    highest_offset_ms SimpleAggregateFunction(max, Nullable(Int64)) COMMENT 'Most of the minute: milliseconds that the exchange is ahead of the collector.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(start)
ORDER BY (start, exchange, channel, collector)
COMMENT 'Heartbeats by minute, as inserted; read the view liquidations.heartbeats.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.heartbeats_in
(
    exchange String COMMENT 'Exchange, lower case.',
    channel String COMMENT 'Channel.',
    collector String COMMENT 'Collector that speaks.',
    time DateTime64(3, 'UTC') COMMENT 'Until when this holds.',
    state String COMMENT 'up or down.',
    frames Int64 COMMENT 'Frames since the heartbeat before.',
    last_frame_time Nullable(DateTime64(6, 'UTC')) COMMENT 'When the last frame was read.',
    clock_offset_ms Nullable(Int64) COMMENT 'Milliseconds that the exchange is ahead of the collector.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes heartbeats, those of one partition. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.heartbeats_from_in TO liquidations_data.heartbeats
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, collector, toStartOfInterval(time, toIntervalMillisecond(60000)) AS start,
    maxMap(map(toUInt16(toUnixTimestamp64Milli(time) % 60000), toUInt64(greatest(heartbeat.frames, 0)))) AS frames,
    max(toUInt8(state = 'up')) AS was_up, max(time) AS last_time, max(heartbeat.last_frame_time) AS last_frame_time,
    min(clock_offset_ms) AS lowest_offset_ms, max(clock_offset_ms) AS highest_offset_ms
FROM liquidations_data.heartbeats_in AS heartbeat
GROUP BY exchange, channel, collector, start
COMMENT 'Sums heartbeats up by minute.'

-- next statement
CREATE OR REPLACE VIEW liquidations.heartbeats
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    collector LowCardinality(String) COMMENT 'Collector that speaks.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.',
    frames UInt64 COMMENT 'Data messages that this collector read on the channel in the minute.',
    was_up Bool COMMENT 'Whether the channel was up at any heartbeat of the minute.',
    last_time DateTime64(3, 'UTC') COMMENT 'Latest heartbeat.',
    last_frame_time Nullable(DateTime64(6, 'UTC')) COMMENT 'When the last message was read.',
    clock_offset_ms Nullable(Int64) COMMENT 'The worst of the minute: milliseconds that the exchange''s clock is ahead of the collector''s, negative if behind. NULL: not measured.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, collector, start, arraySum(mapValues(maxMap(said.frames))) AS frames, CAST(max(said.was_up) AS Bool) AS was_up,
    CAST(max(said.last_time) AS DateTime64(3, 'UTC')) AS last_time, max(said.last_frame_time) AS last_frame_time,
    if(abs(min(lowest_offset_ms)) > abs(max(highest_offset_ms)), min(lowest_offset_ms), max(highest_offset_ms)) AS clock_offset_ms
FROM liquidations_data.heartbeats AS said
GROUP BY exchange, channel, collector, start
COMMENT 'What each collector said of each channel, by minute.'
