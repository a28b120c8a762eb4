-- Who saw what in a time range, of exchanges that several collectors listened to: the rows of collectors_1h, sooner.
--
-- Rows of an event are put together by its id here, not by FINAL, which adds the maps of every row up. That is possible where the time
-- range is given: a filter outside would not get past the grouping.
CREATE OR REPLACE VIEW liquidations.collectors_between
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
    SELECT exchange, start, arraySort(found) AS names, count() AS seen
    FROM
    (
        SELECT any(event.exchange) AS exchange, any(toStartOfInterval(event_time, toIntervalMillisecond(3600000))) AS start,
            groupUniqArrayArray(mapKeys(collectors)) AS found
        FROM liquidations_data.seen_events AS event
        WHERE event_time >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64} + 3599999, 3600000) * 3600000)
            AND event_time < fromUnixTimestamp64Milli(intDiv({to_ms:Int64}, 3600000) * 3600000 + 3600000)
            AND event.exchange IN (
                SELECT exchange
                FROM liquidations_data.heartbeats
                WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
                GROUP BY exchange
                HAVING uniqExact(collector) > 1
            )
        GROUP BY event_id
        UNION ALL
        SELECT event.exchange AS exchange, toStartOfInterval(toDateTime64(min(event.event_time), 3, 'UTC'), toIntervalMillisecond(3600000)) AS start,
            groupUniqArray(toString(collector)) AS found
        FROM liquidations_data.received_sightings AS event
        WHERE event.exchange IN (
            SELECT exchange
            FROM liquidations_data.heartbeats
            WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
            GROUP BY exchange
            HAVING uniqExact(collector) > 1
        )
        GROUP BY event_id, exchange
        HAVING start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
    )
    GROUP BY exchange, start, names
    UNION ALL
    SELECT exchange, toStartOfInterval(heartbeats.start, toIntervalMillisecond(3600000)) AS start, groupUniqArray(toString(collector)) AS heard, toUInt64(0)
    FROM liquidations_data.heartbeats AS heartbeats
    WHERE was_up = 1 AND heartbeats.start >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64} + 3599999, 3600000) * 3600000)
        AND heartbeats.start < fromUnixTimestamp64Milli(intDiv({to_ms:Int64}, 3600000) * 3600000 + 3600000)
    GROUP BY exchange, start
)
GROUP BY exchange, start
HAVING events > 0
COMMENT 'The rows of collectors_1h that start from from_ms to to_ms, both included, of exchanges that several collectors spoke of in that time. Parameters are ms since 1970.'
