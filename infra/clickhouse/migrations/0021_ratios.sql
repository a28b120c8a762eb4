-- Liquidated beside traded volume, of the same contract and bar.
--
-- Both are put under each other and summed up, rather than joined, so that a filter on start reaches both primary keys.
CREATE OR REPLACE VIEW liquidations.ratios_1m
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs (forced sales) in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts (forced purchases) in USD.',
    volume_usd Nullable(Float64) COMMENT 'Traded value in USD. NULL unless every minute has a closed candle.',
    long_ratio Nullable(Float64) COMMENT 'Liquidated longs as a share of the traded value. NULL where that is unknown or 0.',
    short_ratio Nullable(Float64) COMMENT 'Liquidated shorts as a share of the traded value. NULL where that is unknown or 0.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start,
    sum(liquidated_long) / 1000000 AS long_usd,
    sum(liquidated_short) / 1000000 AS short_usd,
    if(sum(candle) = 1, sum(traded) / 1000000, NULL) AS volume_usd,
    if(sum(candle) = 1 AND sum(traded) > 0, sum(liquidated_long) / sum(traded), NULL) AS long_ratio,
    if(sum(candle) = 1 AND sum(traded) > 0, sum(liquidated_short) / sum(traded), NULL) AS short_ratio
FROM
(
    SELECT exchange, symbol, asset, start AS start, long_micros AS liquidated_long, short_micros AS liquidated_short, 0 AS traded, 0 AS candle, 1 AS bar
    FROM liquidations_data.bars FINAL
    UNION ALL
    SELECT exchange, symbol, asset, start, 0, 0, volume_micros, 1, 0
    FROM liquidations_data.candles FINAL
    WHERE closed
)
GROUP BY exchange, symbol, asset, start
HAVING max(bar) = 1
COMMENT 'Liquidated beside traded USD by contract and minute. No row: no liquidation.'

-- next statement
CREATE OR REPLACE VIEW liquidations.ratios_5m
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs (forced sales) in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts (forced purchases) in USD.',
    volume_usd Nullable(Float64) COMMENT 'Traded value in USD. NULL unless every minute has a closed candle.',
    long_ratio Nullable(Float64) COMMENT 'Liquidated longs as a share of the traded value. NULL where that is unknown or 0.',
    short_ratio Nullable(Float64) COMMENT 'Liquidated shorts as a share of the traded value. NULL where that is unknown or 0.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start,
    sum(liquidated_long) / 1000000 AS long_usd,
    sum(liquidated_short) / 1000000 AS short_usd,
    if(sum(candle) = 5, sum(traded) / 1000000, NULL) AS volume_usd,
    if(sum(candle) = 5 AND sum(traded) > 0, sum(liquidated_long) / sum(traded), NULL) AS long_ratio,
    if(sum(candle) = 5 AND sum(traded) > 0, sum(liquidated_short) / sum(traded), NULL) AS short_ratio
FROM
(
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(300000)) AS start, long_micros AS liquidated_long, short_micros AS liquidated_short, 0 AS traded, 0 AS candle, 1 AS bar
    FROM liquidations_data.bars FINAL
    UNION ALL
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(300000)), 0, 0, volume_micros, 1, 0
    FROM liquidations_data.candles FINAL
    WHERE closed
)
GROUP BY exchange, symbol, asset, start
HAVING max(bar) = 1
COMMENT 'Liquidated beside traded USD by contract and five minutes. No row: no liquidation.'

-- next statement
CREATE OR REPLACE VIEW liquidations.ratios_1h
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the span, included; the end is excluded.',
    long_usd Float64 COMMENT 'Liquidated longs (forced sales) in USD.',
    short_usd Float64 COMMENT 'Liquidated shorts (forced purchases) in USD.',
    volume_usd Nullable(Float64) COMMENT 'Traded value in USD. NULL unless every minute has a closed candle.',
    long_ratio Nullable(Float64) COMMENT 'Liquidated longs as a share of the traded value. NULL where that is unknown or 0.',
    short_ratio Nullable(Float64) COMMENT 'Liquidated shorts as a share of the traded value. NULL where that is unknown or 0.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, start,
    sum(liquidated_long) / 1000000 AS long_usd,
    sum(liquidated_short) / 1000000 AS short_usd,
    if(sum(candle) = 60, sum(traded) / 1000000, NULL) AS volume_usd,
    if(sum(candle) = 60 AND sum(traded) > 0, sum(liquidated_long) / sum(traded), NULL) AS long_ratio,
    if(sum(candle) = 60 AND sum(traded) > 0, sum(liquidated_short) / sum(traded), NULL) AS short_ratio
FROM
(
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(3600000)) AS start, long_micros AS liquidated_long, short_micros AS liquidated_short, 0 AS traded, 0 AS candle, 1 AS bar
    FROM liquidations_data.bars FINAL
    UNION ALL
    SELECT exchange, symbol, asset, toStartOfInterval(start, toIntervalMillisecond(3600000)), 0, 0, volume_micros, 1, 0
    FROM liquidations_data.candles FINAL
    WHERE closed
)
GROUP BY exchange, symbol, asset, start
HAVING max(bar) = 1
COMMENT 'Liquidated beside traded USD by contract and hour. No row: no liquidation.'
