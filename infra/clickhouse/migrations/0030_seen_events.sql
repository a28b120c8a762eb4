-- Events that collectors saw live: one row for each event, with all that saw it, in place of a row for each event and collector.
--
-- How much only one of several collectors saw is asked by exchange and over weeks. Rows are merged to one for each event before
-- anybody asks, so nothing is grouped by event, and the exchange comes first, so exchanges with one collector are not read.
-- The names are keys of a map, so a repeated insert changes nothing, and their order is always the same. See docs/decisions/0093-one-row-per-seen-event.md.
CREATE TABLE IF NOT EXISTS liquidations_data.seen_events
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.' CODEC(NONE),
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock of the exchange.' CODEC(Delta, ZSTD(1)),
    collectors SimpleAggregateFunction(maxMap, Map(String, UInt8)) COMMENT 'Collectors that saw it, each with 1.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (exchange, event_time, event_id)
COMMENT 'Who saw events that the exchange gave a time; read the view liquidations.sightings.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.seen_events_of_events TO liquidations_data.seen_events
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT event_id, exchange, event_time, map(splitByChar('/', toString(source.connection))[1], toUInt8(1)) AS collectors
FROM liquidations_data.events
WHERE match(source.connection, '^[^/]+/.+/[0-9]+-[0-9]+$')
COMMENT 'Keeps seen_events up to date with each insert into events.'

-- next statement
-- What was inserted before. The table is made again for the case that it is gone already and this file is applied again.
CREATE TABLE IF NOT EXISTS liquidations_data.sightings
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.',
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock of the exchange.',
    collector LowCardinality(String) COMMENT 'Collector that saw it.'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (event_time, exchange, event_id, collector)
COMMENT 'Who saw events that the exchange gave a time.'

-- next statement
INSERT INTO liquidations_data.seen_events (event_id, exchange, event_time, collectors)
SELECT event_id, exchange, event_time, map(toString(collector), toUInt8(1))
FROM liquidations_data.sightings

-- next statement
CREATE OR REPLACE VIEW liquidations.sightings
(
    event_id String COMMENT 'Hash of what identifies the event at the exchange, in hex: as in events.',
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    event_time DateTime64(3, 'UTC') COMMENT 'As in events.',
    collectors Array(String) COMMENT 'Collectors that saw it, sorted.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(seen.event_id)) AS event_id, exchange, event_time, arraySort(names) AS collectors
FROM
(
    SELECT event_id, exchange, event_time, mapKeys(collectors) AS names
    FROM liquidations_data.seen_events FINAL
    UNION ALL
    SELECT event_id, exchange, toDateTime64(min(received.event_time), 3, 'UTC') AS event_time, groupUniqArray(toString(collector)) AS names
    FROM liquidations_data.received_sightings AS received
    GROUP BY event_id, exchange
) AS seen
COMMENT 'Which collectors saw each event live.'

-- next statement
CREATE OR REPLACE VIEW liquidations.collectors_1m
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.',
    collectors Array(String) COMMENT 'Collectors that listened or saw something, sorted.',
    events UInt64 COMMENT 'Distinct liquidations that any of them saw.',
    seen_by Map(String, UInt64) COMMENT 'How many of them each collector saw.',
    only_by Map(String, UInt64) COMMENT 'How many of them each collector alone saw.',
    only_one UInt64 COMMENT 'How many of them only one collector saw.',
    only_one_share Nullable(Float64) COMMENT 'The same as a share of events, 0 to 1; NULL where there were not several collectors.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, start, arraySort(groupUniqArrayArray(names)) AS collectors, sum(seen) AS events,
    sumMap(if(seen > 0, mapFromArrays(names, arrayMap(name -> seen, names)), mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))))) AS seen_by,
    sumMap(if(seen > 0 AND length(names) = 1, mapFromArrays(names, arrayMap(name -> seen, names)), mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))))) AS only_by,
    sumIf(seen, length(names) = 1) AS only_one,
    if(length(collectors) > 1 AND events > 0, only_one / events, NULL) AS only_one_share
FROM
(
    SELECT exchange, start, arraySort(names) AS names, sum(number) AS seen
    FROM
    (
        SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(60000)) AS start, mapKeys(collectors) AS names, count() AS number
        FROM liquidations_data.seen_events FINAL
        GROUP BY exchange, start, names
        UNION ALL
        SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(60000)) AS start, names, count() AS number
        FROM
        (
            SELECT exchange, toDateTime64(min(received.event_time), 3, 'UTC') AS event_time, groupUniqArray(toString(collector)) AS names
            FROM liquidations_data.received_sightings AS received
            GROUP BY event_id, exchange
        )
        GROUP BY exchange, start, names
    )
    GROUP BY exchange, start, names
    UNION ALL
    SELECT exchange, toStartOfInterval(start, toIntervalMillisecond(60000)) AS start, groupUniqArray(toString(collector)) AS heard, toUInt64(0)
    FROM liquidations_data.heartbeats
    WHERE was_up = 1
    GROUP BY exchange, start
)
GROUP BY exchange, start
HAVING events > 0
COMMENT 'What several collectors of an exchange saw, by minute, and what only one of them saw.'

-- next statement
CREATE OR REPLACE VIEW liquidations.collectors_1h
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the hour.',
    collectors Array(String) COMMENT 'Collectors that listened or saw something, sorted.',
    events UInt64 COMMENT 'Distinct liquidations that any of them saw.',
    seen_by Map(String, UInt64) COMMENT 'How many of them each collector saw.',
    only_by Map(String, UInt64) COMMENT 'How many of them each collector alone saw.',
    only_one UInt64 COMMENT 'How many of them only one collector saw.',
    only_one_share Nullable(Float64) COMMENT 'The same as a share of events, 0 to 1; NULL where there were not several collectors.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, start, arraySort(groupUniqArrayArray(names)) AS collectors, sum(seen) AS events,
    sumMap(if(seen > 0, mapFromArrays(names, arrayMap(name -> seen, names)), mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))))) AS seen_by,
    sumMap(if(seen > 0 AND length(names) = 1, mapFromArrays(names, arrayMap(name -> seen, names)), mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))))) AS only_by,
    sumIf(seen, length(names) = 1) AS only_one,
    if(length(collectors) > 1 AND events > 0, only_one / events, NULL) AS only_one_share
FROM
(
    SELECT exchange, start, arraySort(names) AS names, sum(number) AS seen
    FROM
    (
        SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(3600000)) AS start, mapKeys(collectors) AS names, count() AS number
        FROM liquidations_data.seen_events FINAL
        GROUP BY exchange, start, names
        UNION ALL
        SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(3600000)) AS start, names, count() AS number
        FROM
        (
            SELECT exchange, toDateTime64(min(received.event_time), 3, 'UTC') AS event_time, groupUniqArray(toString(collector)) AS names
            FROM liquidations_data.received_sightings AS received
            GROUP BY event_id, exchange
        )
        GROUP BY exchange, start, names
    )
    GROUP BY exchange, start, names
    UNION ALL
    SELECT exchange, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS start, groupUniqArray(toString(collector)) AS heard, toUInt64(0)
    FROM liquidations_data.heartbeats
    WHERE was_up = 1
    GROUP BY exchange, start
)
GROUP BY exchange, start
HAVING events > 0
COMMENT 'What several collectors of an exchange saw, by hour, and what only one of them saw.'

-- next statement
DROP VIEW IF EXISTS liquidations_data.sightings_of_events

-- next statement
DROP TABLE IF EXISTS liquidations_data.sightings
