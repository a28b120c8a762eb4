-- What kind of bar it is, by the asset's own quantiles: the default rule of the worker's regimes.
--
-- The bounds of a day come from the covered bars of the seven whole days before it, so they are found once per asset and day and not
-- once per bar, here as in the worker.
CREATE OR REPLACE VIEW liquidations.regimes
(
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the five minutes, included; the end is excluded.',
    usd Float64 COMMENT 'Liquidated USD, longs and shorts, over all exchanges.',
    count Int64 COMMENT 'Number of liquidations.',
    coverage Nullable(Float64) COMMENT 'Share of the bar, 0 to 1, in which the asset''s channels were listened to: mean of the channels known. NULL: none is.',
    low_usd Nullable(Float64) COMMENT 'USD under this is low: the 25th percentile of the seven days before.',
    high_usd Nullable(Float64) COMMENT 'USD above this is high: the 90th percentile.',
    low_count Nullable(Int64) COMMENT 'A number of liquidations under this is low.',
    high_count Nullable(Int64) COMMENT 'A number of liquidations above this is high.',
    history_bars UInt64 COMMENT 'Covered bars of the seven days before. Under 50 there are no bounds.',
    regime LowCardinality(Nullable(String)) COMMENT 'broad_stress (much USD, many events), large_positions (much, few), retail_washout (little, many), quiet (little, few) or ordinary. NULL: coverage under 0.9, or no bounds.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT bars.asset AS asset, bars.start AS start, bars.micros / 1000000 AS usd, bars.events AS count, bars.coverage AS coverage,
    if(bounds.bars < 50, NULL, bounds.micros[1] / 1000000) AS low_usd, if(bounds.bars < 50, NULL, bounds.micros[2] / 1000000) AS high_usd,
    if(bounds.bars < 50, NULL, bounds.events[1]) AS low_count, if(bounds.bars < 50, NULL, bounds.events[2]) AS high_count,
    bounds.bars AS history_bars,
    CAST(multiIf(
        isNull(bars.coverage) OR bars.coverage < 0.9 OR bounds.bars < 50, NULL,
        bars.micros > bounds.micros[2] AND bars.events > bounds.events[2], 'broad_stress',
        bars.micros > bounds.micros[2] AND bars.events < bounds.events[1], 'large_positions',
        bars.micros < bounds.micros[1] AND bars.events > bounds.events[2], 'retail_washout',
        bars.micros < bounds.micros[1] AND bars.events < bounds.events[1], 'quiet',
        'ordinary') AS LowCardinality(Nullable(String))) AS regime
FROM
(
    SELECT asset, span AS start, sum(micros) AS micros, sum(events) AS events, avgOrNull(share) AS coverage
    FROM
    (
        SELECT asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(long_micros + short_micros) AS micros,
            sum(long_count + short_count) AS events, NULL AS share
        FROM liquidations_data.bars FINAL
        GROUP BY asset, span
        UNION ALL
        SELECT seen.asset, alive.span, 0, 0, alive.share
        FROM (SELECT DISTINCT asset, exchange, channel FROM liquidations_data.symbols) AS seen
        INNER JOIN
        (
            SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(alive_ms) / 300000 AS share
            FROM liquidations_data.coverage FINAL
            GROUP BY exchange, channel, span
        ) AS alive ON seen.exchange = alive.exchange AND seen.channel = alive.channel
    )
    GROUP BY asset, span
) AS bars
LEFT JOIN
(
    SELECT asset, day, quantilesExact(0.25, 0.9)(micros) AS micros, quantilesExact(0.25, 0.9)(events) AS events, count() AS bars
    FROM
    (
        SELECT asset, micros, events, arrayJoin(arrayMap(ahead -> toDate(start) + ahead, range(1, 8))) AS day
        FROM
        (
            SELECT asset, span AS start, sum(micros) AS micros, sum(events) AS events, avgOrNull(share) AS coverage
            FROM
            (
                SELECT asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(long_micros + short_micros) AS micros,
                    sum(long_count + short_count) AS events, NULL AS share
                FROM liquidations_data.bars FINAL
                GROUP BY asset, span
                UNION ALL
                SELECT seen.asset, alive.span, 0, 0, alive.share
                FROM (SELECT DISTINCT asset, exchange, channel FROM liquidations_data.symbols) AS seen
                INNER JOIN
                (
                    SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(alive_ms) / 300000 AS share
                    FROM liquidations_data.coverage FINAL
                    GROUP BY exchange, channel, span
                ) AS alive ON seen.exchange = alive.exchange AND seen.channel = alive.channel
            )
            GROUP BY asset, span
        )
        WHERE coverage >= 0.9
    )
    GROUP BY asset, day
) AS bounds ON bars.asset = bounds.asset AND toDate(bars.start) = bounds.day
COMMENT 'Bars of five minutes by asset, with the regime that they are of. Always filter by asset or start.'
