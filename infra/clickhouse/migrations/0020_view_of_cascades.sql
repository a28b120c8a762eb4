-- Prices after the end are those of one contract, the reference: of the contracts of the asset with closed candles, the one with the
-- most traded USD in the sixty minutes before the minute of begin; ties go by name. Whatever is compared with them must come
-- from the same contract, hence reference_before and reference_extreme. Liquidations have prices of other kinds.
--
-- Candles are read of the days and assets that have a cascade, by primary key, and joined by the minutes that a cascade needs. An
-- open cascade needs those before its begin only.
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
FROM (SELECT * FROM liquidations_data.cascades FINAL) AS found
LEFT JOIN
(
    SELECT cascade_id,
        argMax(
            tuple(toNullable(toString(exchange)), toNullable(toString(symbol)), before, lowest, highest, after_1m, after_5m, after_15m, after_60m),
            tuple(traded, exchange, symbol)) AS chosen
    FROM
    (
        SELECT needed.cascade_id AS cascade_id, candle.exchange AS exchange, candle.symbol AS symbol,
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
            )
        ) AS candle ON needed.asset = candle.asset AND needed.minute = candle.minute
        GROUP BY cascade_id, exchange, symbol
        HAVING traded > 0
    )
    GROUP BY cascade_id
) AS reference ON found.cascade_id = reference.cascade_id
COMMENT 'Runs of liquidations of one position of one asset, across exchanges, that are large for the asset, and the price afterwards.'
