-- How much only one of several collectors saw. A collector that listened and saw nothing counts as one of them.
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
    sumMap(seen_by_each) AS seen_by, sumMap(seen_by_one) AS only_by, sum(one) AS only_one,
    if(length(collectors) > 1 AND events > 0, only_one / events, NULL) AS only_one_share
FROM
(
    SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(60000)) AS start, collectors AS names, toUInt64(1) AS seen,
        mapFromArrays(collectors, arrayMap(name -> toUInt64(1), collectors)) AS seen_by_each,
        if(length(collectors) = 1, seen_by_each, mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64)))) AS seen_by_one,
        toUInt64(length(collectors) = 1) AS one
    FROM liquidations.sightings
    UNION ALL
    SELECT exchange, toStartOfInterval(start, toIntervalMillisecond(60000)) AS start, groupUniqArray(collector) AS names, toUInt64(0) AS seen,
        mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))) AS seen_by_each, seen_by_each AS seen_by_one, toUInt64(0) AS one
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
    sumMap(seen_by_each) AS seen_by, sumMap(seen_by_one) AS only_by, sum(one) AS only_one,
    if(length(collectors) > 1 AND events > 0, only_one / events, NULL) AS only_one_share
FROM
(
    SELECT exchange, toStartOfInterval(event_time, toIntervalMillisecond(3600000)) AS start, collectors AS names, toUInt64(1) AS seen,
        mapFromArrays(collectors, arrayMap(name -> toUInt64(1), collectors)) AS seen_by_each,
        if(length(collectors) = 1, seen_by_each, mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64)))) AS seen_by_one,
        toUInt64(length(collectors) = 1) AS one
    FROM liquidations.sightings
    UNION ALL
    SELECT exchange, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS start, groupUniqArray(collector) AS names, toUInt64(0) AS seen,
        mapFromArrays(CAST([] AS Array(String)), CAST([] AS Array(UInt64))) AS seen_by_each, seen_by_each AS seen_by_one, toUInt64(0) AS one
    FROM liquidations_data.heartbeats
    WHERE was_up = 1
    GROUP BY exchange, start
)
GROUP BY exchange, start
HAVING events > 0
COMMENT 'What several collectors of an exchange saw, by hour, and what only one of them saw.'
