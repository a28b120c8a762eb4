-- Views of cascades and regimes that are given a time range, and the same views without one on top of them.
--
-- A filter on begin or start reaches only one side of the joins in these views: the candles of all cascades, and all bars of an asset,
-- would be read for one day of them. Here the range stands where it is needed. See
-- docs/decisions/0092-views-of-a-time-range.md.
CREATE OR REPLACE VIEW liquidations.cascades_between
(
    cascade_id String COMMENT 'Id of its anomaly, in hex: anomalies.anomaly_id.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    position LowCardinality(String) COMMENT 'Position that was closed by force: long or short.',
    state LowCardinality(String) COMMENT 'open while the forced flow goes on, closed once it has subsided.',
    begin DateTime64(3, 'UTC') COMMENT 'Its first liquidation, as known when it opened.',
    peak DateTime64(3, 'UTC') COMMENT 'Start of the second with the most USD.',
    `end` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the forced flow had subsided; NULL while it goes on.',
    waves Int32 COMMENT 'How often the rate rose again after it had fallen under half of the height before, the first rise included.',
    long_usd Float64 COMMENT 'Liquidated longs from begin to end, in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts from begin to end, in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    peak_usd_per_second Float64 COMMENT 'USD of the position in the second of the peak.',
    exchanges Array(LowCardinality(String)) COMMENT 'Exchanges in the order of their first liquidation in it.',
    price_before Float64 COMMENT 'Price of its first liquidation.',
    price_extreme Float64 COMMENT 'Lowest price among its liquidations for longs, highest for shorts.',
    reference_exchange Nullable(String) COMMENT 'Exchange of the contract whose candles are taken: the most traded USD in the hour before. NULL: no candles.',
    reference_symbol Nullable(String) COMMENT 'That contract, as the exchange writes it.',
    reference_before Nullable(Float64) COMMENT 'Its last closing price before the minute of begin.',
    reference_extreme Nullable(Float64) COMMENT 'Its lowest price in the minutes from begin to end for longs, highest for shorts.',
    price_after_1m Nullable(Float64) COMMENT 'Its closing price of the minute that holds the moment one minute after the end. NULL: no candle, or not ended.',
    price_after_5m Nullable(Float64) COMMENT 'The same for five minutes after the end.',
    price_after_15m Nullable(Float64) COMMENT 'The same for 15 minutes after the end.',
    price_after_60m Nullable(Float64) COMMENT 'The same for 60 minutes after the end.',
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which the asset''s feeds were listened to.',
    completeness LowCardinality(String) COMMENT 'The least complete feed among its liquidations.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or the count of a feed that shows a part only.',
    rules_hash LowCardinality(String) COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'Rises with every change; the highest stays.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(found.cascade_id)) AS cascade_id, found.asset AS asset, found.position AS position, found.state AS state,
    found.begin AS begin, found.peak AS peak, found.`end` AS `end`, found.waves AS waves,
    found.long_micros / 1000000 AS long_usd, found.short_micros / 1000000 AS short_usd,
    found.long_count AS long_count, found.short_count AS short_count,
    found.peak_second_micros / 1000000 AS peak_usd_per_second, found.exchanges AS exchanges,
    found.price_before AS price_before, found.price_extreme AS price_extreme,
    reference.chosen.1 AS reference_exchange, reference.chosen.2 AS reference_symbol,
    reference.chosen.3 AS reference_before,
    if(found.position = 'long', reference.chosen.4, reference.chosen.5) AS reference_extreme,
    reference.chosen.6 AS price_after_1m, reference.chosen.7 AS price_after_5m, reference.chosen.8 AS price_after_15m,
    reference.chosen.9 AS price_after_60m,
    found.coverage AS coverage, found.completeness AS completeness, found.degraded AS degraded,
    found.rules_hash AS rules_hash, found.revision AS revision
FROM
(
    SELECT *
    FROM liquidations_data.cascades FINAL
    WHERE begin >= fromUnixTimestamp64Milli({from_ms:Int64}) AND begin <= fromUnixTimestamp64Milli({to_ms:Int64})
) AS found
LEFT JOIN
(
    SELECT cascade_id, asset,
        argMax(
            tuple(toNullable(toString(exchange)), toNullable(toString(symbol)), before, lowest, highest, after_1m, after_5m, after_15m, after_60m),
            tuple(traded, exchange, symbol)) AS chosen
    FROM
    (
        SELECT needed.cascade_id AS cascade_id, needed.asset AS asset, candle.exchange AS exchange, candle.symbol AS symbol,
            sumIf(candle.volume_micros, needed.kind = 'before') AS traded,
            argMaxOrNullIf(candle.close, candle.start, needed.kind = 'before') AS before,
            minOrNullIf(candle.low, needed.kind = 'during') AS lowest,
            maxOrNullIf(candle.high, needed.kind = 'during') AS highest,
            anyOrNullIf(candle.close, needed.kind = '1m') AS after_1m,
            anyOrNullIf(candle.close, needed.kind = '5m') AS after_5m,
            anyOrNullIf(candle.close, needed.kind = '15m') AS after_15m,
            anyOrNullIf(candle.close, needed.kind = '60m') AS after_60m
        FROM
        (
            SELECT cascade_id, asset, need.1 AS kind, need.2 AS minute
            FROM
            (
                SELECT cascade_id, asset, toStartOfMinute(begin) AS first_minute, toStartOfMinute(assumeNotNull(`end`)) AS last_minute,
                    isNotNull(`end`) AS has_ended
                FROM liquidations_data.cascades FINAL
                WHERE begin >= fromUnixTimestamp64Milli({from_ms:Int64}) AND begin <= fromUnixTimestamp64Milli({to_ms:Int64})
            )
            ARRAY JOIN arrayConcat(
                arrayMap(back -> tuple('before', first_minute - toIntervalMinute(back)), range(1, 61)),
                if(has_ended, arrayMap(on -> tuple('during', first_minute + toIntervalMinute(on)), range(0, toUInt16(least(1440, dateDiff('minute', first_minute, last_minute) + 1)))), []),
                if(has_ended, arrayMap(on -> tuple(concat(toString(on), 'm'), last_minute + toIntervalMinute(on)), [1, 5, 15, 60]), [])) AS need
        ) AS needed
        INNER JOIN
        (
            SELECT exchange, symbol, asset, toDateTime(start, 'UTC') AS minute, start, low, high, close, volume_micros
            FROM liquidations_data.candles FINAL
            WHERE closed AND (toDate(start), asset) IN
            (
                SELECT arrayJoin([toDate(begin - toIntervalHour(1)), toDate(begin), toDate(ifNull(`end`, begin)), toDate(ifNull(`end`, begin) + toIntervalHour(1))]), asset
                FROM liquidations_data.cascades
                WHERE begin >= fromUnixTimestamp64Milli({from_ms:Int64}) AND begin <= fromUnixTimestamp64Milli({to_ms:Int64})
            )
        ) AS candle ON needed.asset = candle.asset AND needed.minute = candle.minute
        GROUP BY cascade_id, asset, exchange, symbol
        HAVING traded > 0
    )
    GROUP BY cascade_id, asset
) AS reference ON found.asset = reference.asset AND found.cascade_id = reference.cascade_id
COMMENT 'The cascades that begin from from_ms to to_ms, both included: as the view cascades, and candles are read for these only. Parameters are ms since 1970.'

-- next statement
CREATE OR REPLACE VIEW liquidations.cascades
(
    cascade_id String COMMENT 'Id of its anomaly, in hex: anomalies.anomaly_id.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    position LowCardinality(String) COMMENT 'Position that was closed by force: long or short.',
    state LowCardinality(String) COMMENT 'open while the forced flow goes on, closed once it has subsided.',
    begin DateTime64(3, 'UTC') COMMENT 'Its first liquidation, as known when it opened.',
    peak DateTime64(3, 'UTC') COMMENT 'Start of the second with the most USD.',
    `end` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the forced flow had subsided; NULL while it goes on.',
    waves Int32 COMMENT 'How often the rate rose again after it had fallen under half of the height before, the first rise included.',
    long_usd Float64 COMMENT 'Liquidated longs from begin to end, in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts from begin to end, in USD.',
    long_count Int64 COMMENT 'Number of liquidated longs.',
    short_count Int64 COMMENT 'Number of liquidated shorts.',
    peak_usd_per_second Float64 COMMENT 'USD of the position in the second of the peak.',
    exchanges Array(LowCardinality(String)) COMMENT 'Exchanges in the order of their first liquidation in it.',
    price_before Float64 COMMENT 'Price of its first liquidation.',
    price_extreme Float64 COMMENT 'Lowest price among its liquidations for longs, highest for shorts.',
    reference_exchange Nullable(String) COMMENT 'Exchange of the contract whose candles are taken: the most traded USD in the hour before. NULL: no candles.',
    reference_symbol Nullable(String) COMMENT 'That contract, as the exchange writes it.',
    reference_before Nullable(Float64) COMMENT 'Its last closing price before the minute of begin.',
    reference_extreme Nullable(Float64) COMMENT 'Its lowest price in the minutes from begin to end for longs, highest for shorts.',
    price_after_1m Nullable(Float64) COMMENT 'Its closing price of the minute that holds the moment one minute after the end. NULL: no candle, or not ended.',
    price_after_5m Nullable(Float64) COMMENT 'The same for five minutes after the end.',
    price_after_15m Nullable(Float64) COMMENT 'The same for 15 minutes after the end.',
    price_after_60m Nullable(Float64) COMMENT 'The same for 60 minutes after the end.',
    coverage Float64 COMMENT 'Share of its time, 0 to 1, in which the asset''s feeds were listened to.',
    completeness LowCardinality(String) COMMENT 'The least complete feed among its liquidations.',
    degraded Bool COMMENT 'Whether it rests on less than the rule asks for: too little coverage, or the count of a feed that shows a part only.',
    rules_hash LowCardinality(String) COMMENT 'Hash of the rules that were in force: 16 hexadecimal digits.',
    revision UInt64 COMMENT 'Rises with every change; the highest stays.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT *
FROM liquidations.cascades_between(from_ms = 0, to_ms = 4102444800000)
COMMENT 'Runs of liquidations of one position of one asset, across exchanges, that are large for the asset, and the price afterwards.'

-- next statement
CREATE OR REPLACE VIEW liquidations.regimes_between
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
AS SELECT asset, bar.1 AS start, bar.2 / 1000000 AS usd, bar.3 AS count, bar.4 AS coverage,
    if(bars < 50, NULL, bound_micros[1] / 1000000) AS low_usd, if(bars < 50, NULL, bound_micros[2] / 1000000) AS high_usd,
    if(bars < 50, NULL, bound_events[1]) AS low_count, if(bars < 50, NULL, bound_events[2]) AS high_count,
    bars AS history_bars,
    CAST(multiIf(
        isNull(bar.4) OR bar.4 < 0.9 OR bars < 50, NULL,
        bar.2 > bound_micros[2] AND bar.3 > bound_events[2], 'broad_stress',
        bar.2 > bound_micros[2] AND bar.3 < bound_events[1], 'large_positions',
        bar.2 < bound_micros[1] AND bar.3 > bound_events[2], 'retail_washout',
        bar.2 < bound_micros[1] AND bar.3 < bound_events[1], 'quiet',
        'ordinary') AS LowCardinality(Nullable(String))) AS regime
FROM
(
    SELECT asset, day, groupArrayIf(tuple(span, micros, events, share), ahead = 0) AS own,
        quantilesExactIf(0.25, 0.9)(micros, ahead > 0 AND share >= 0.9) AS bound_micros,
        quantilesExactIf(0.25, 0.9)(events, ahead > 0 AND share >= 0.9) AS bound_events,
        countIf(ahead > 0 AND share >= 0.9) AS bars
    FROM
    (
        SELECT asset, span, sum(micros) AS micros, sum(events) AS events, avgOrNull(part) AS share
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
            FROM (SELECT DISTINCT asset, exchange, channel FROM liquidations_data.symbols) AS seen
            INNER JOIN
            (
                SELECT exchange, channel, toStartOfInterval(start, toIntervalMillisecond(300000)) AS span, sum(alive_ms) / 300000 AS part
                FROM liquidations_data.coverage FINAL
                WHERE start >= fromUnixTimestamp64Milli(intDiv({from_ms:Int64}, 86400000) * 86400000 - 604800000)
                    AND start < fromUnixTimestamp64Milli(intDiv({to_ms:Int64}, 300000) * 300000 + 300000)
                GROUP BY exchange, channel, span
            ) AS alive ON seen.exchange = alive.exchange AND seen.channel = alive.channel
        )
        GROUP BY asset, span
    )
    ARRAY JOIN range(0, 8) AS ahead
    WHERE toDate(span) + ahead <= toDate(fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
        AND toDate(span) + ahead >= toDate(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
    GROUP BY asset, toDate(span) + ahead AS day
)
ARRAY JOIN own AS bar
WHERE bar.1 >= fromUnixTimestamp64Milli({from_ms:Int64}) AND bar.1 <= fromUnixTimestamp64Milli({to_ms:Int64})
COMMENT 'The regimes of bars that start from from_ms to to_ms, both included: as the view regimes, and of the days before only seven are read. Parameters are ms since 1970.'

-- next statement
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
AS SELECT *
FROM liquidations.regimes_between(from_ms = 0, to_ms = 4102444800000)
COMMENT 'Bars of five minutes by asset, with the regime that they are of. Always filter by asset or start.'

-- next statement
-- Symbols are kept by minimum and maximum, so they need not be grouped twice. Panels ask this with every query on coverage.
CREATE OR REPLACE VIEW liquidations.channels
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel that brings liquidations.',
    contracts UInt64 COMMENT 'Contracts that were seen or subscribed on it.',
    first_time DateTime64(3, 'UTC') COMMENT 'Earliest event or subscription.',
    last_time DateTime64(3, 'UTC') COMMENT 'Latest event or subscription.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, uniqExact(symbol) AS contracts,
    toDateTime64(min(seen.first_time), 3, 'UTC') AS first_time, toDateTime64(max(seen.last_time), 3, 'UTC') AS last_time
FROM liquidations_data.symbols AS seen
GROUP BY exchange, channel
COMMENT 'Channels that bring liquidations.'
