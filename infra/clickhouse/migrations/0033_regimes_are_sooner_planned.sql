-- regimes_between as before, with less to plan, which is half of what a short time range costs.
--
-- The kind of a bar stands in a table of nine, by how many of its two bounds USD and number are above. The upper bound is never under the
-- lower one, so above none is at most the lower one, and above both is above the upper one.
CREATE OR REPLACE VIEW liquidations.regimes_between
(
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the five minutes, included; the end is excluded.',
    usd Float64 COMMENT 'Liquidated USD, longs and shorts, over all exchanges.',
    count Int64 COMMENT 'Number of liquidations.',
    coverage Nullable(Float64) COMMENT 'Share of the bar, 0 to 1, in which the asset''s channels were listened to: mean of those on which it was seen up to that day. NULL: nobody listened to any.',
    low_usd Nullable(Float64) COMMENT 'USD of at most this are low: the 25th percentile of the seven days before.',
    high_usd Nullable(Float64) COMMENT 'USD above this is high: the 90th percentile.',
    low_count Nullable(Int64) COMMENT 'A number of liquidations of at most this is low.',
    high_count Nullable(Int64) COMMENT 'A number of liquidations above this is high.',
    history_bars UInt64 COMMENT 'Covered bars of the seven days before. Under 50 there are no bounds.',
    regime LowCardinality(Nullable(String)) COMMENT 'broad_stress (much USD, many events), large_positions (much, few), retail_washout (little, many), quiet (little, few) or ordinary. NULL: coverage under 0.9, or no bounds.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT asset, start, micros / 1000000 AS usd, events AS count, share AS coverage,
    if(bars < 50, NULL, bound_micros[1] / 1000000) AS low_usd, if(bars < 50, NULL, bound_micros[2] / 1000000) AS high_usd,
    if(bars < 50, NULL, bound_events[1]) AS low_count, if(bars < 50, NULL, bound_events[2]) AS high_count,
    bars AS history_bars,
    CAST(if(bars < 50 OR ifNull(share, 0) < 0.9, NULL,
        ['quiet', 'ordinary', 'retail_washout', 'ordinary', 'ordinary', 'ordinary', 'large_positions', 'ordinary', 'broad_stress'][
            1 + 3 * arrayCount(bound -> micros > bound, bound_micros) + arrayCount(bound -> events > bound, bound_events)])
        AS LowCardinality(Nullable(String))) AS regime
FROM
(
    SELECT asset, groupArrayIf(span, ahead = 0) AS starts, groupArrayIf(micros, ahead = 0) AS own_micros,
        groupArrayIf(events, ahead = 0) AS own_events,
        -- As tuples, because groupArray leaves NULL out.
        arrayMap(one -> one.1, groupArrayIf(tuple(share), ahead = 0)) AS own_share,
        quantilesExactIf(0.25, 0.9)(micros, ahead > 0 AND share >= 0.9) AS bound_micros,
        quantilesExactIf(0.25, 0.9)(events, ahead > 0 AND share >= 0.9) AS bound_events,
        countIf(ahead > 0 AND share >= 0.9) AS bars
    FROM
    (
        SELECT asset, span, sum(micros) AS micros, sum(events) AS events,
            sumOrNull(part) / max(length(arrayFilter(first_day -> first_day <= toDate(span), first_days))) AS share
        FROM
        (
            SELECT asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(long_micros + short_micros) AS micros,
                sum(long_count + short_count) AS events, NULL AS part
            FROM liquidations_data.bars FINAL
            WHERE start >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64}, 86400000) * 86400000 - 604800000)
                AND start < fromUnixTimestamp64Milli(intDiv({to_ms:Int64}, 300000) * 300000 + 300000)
            GROUP BY asset, span
            UNION ALL
            SELECT seen.asset, alive.span, 0, 0, alive.part
            FROM
            (
                SELECT asset, exchange, channel, toDate(min(first_time)) AS first_day
                FROM liquidations_data.symbols
                GROUP BY asset, exchange, channel
            ) AS seen
            INNER JOIN
            (
                SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(alive_ms) / 300000 AS part
                FROM liquidations_data.coverage FINAL
                WHERE start >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64}, 86400000) * 86400000 - 604800000)
                    AND start < fromUnixTimestamp64Milli(intDiv({to_ms:Int64}, 300000) * 300000 + 300000)
                GROUP BY exchange, channel, span
            ) AS alive ON seen.exchange = alive.exchange AND seen.channel = alive.channel
            WHERE seen.first_day <= toDate(alive.span)
        ) AS counted
        LEFT JOIN
        (
            SELECT asset, groupArray(first_day) AS first_days
            FROM (SELECT asset, toDate(min(first_time)) AS first_day FROM liquidations_data.symbols GROUP BY asset, exchange, channel)
            GROUP BY asset
        ) AS feeds ON counted.asset = feeds.asset
        GROUP BY asset, span
    )
    ARRAY JOIN range(0, 8) AS ahead
    WHERE toDate(span) + ahead <= toDate(fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
        AND toDate(span) + ahead >= toDate(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
    GROUP BY asset, toDate(span) + ahead
)
ARRAY JOIN starts AS start, own_micros AS micros, own_events AS events, own_share AS share
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start <= fromUnixTimestamp64Milli({to_ms:Int64})
COMMENT 'The regimes of bars that start from from_ms to to_ms, both included: as the view regimes, and of the days before only seven are read. Parameters are ms since 1970.'
