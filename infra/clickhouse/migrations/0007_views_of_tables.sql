-- Views of single tables: the valid row of each key only, money as numbers.
CREATE DATABASE IF NOT EXISTS liquidations COMMENT 'What users read: views of the valid rows.'

-- next statement
CREATE OR REPLACE VIEW liquidations.events
(
    event_id String COMMENT 'Hash of what identifies the event at the exchange, in hex.',
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name: BTC-USDT-PERP.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    quote LowCardinality(String) COMMENT 'What the price is in.',
    margin LowCardinality(String) COMMENT 'linear, inverse or quanto.',
    position LowCardinality(String) COMMENT 'Position that was closed by force: long or short.',
    price Float64 COMMENT 'Quote units per base unit, of the kind in price_kind.',
    price_kind LowCardinality(String) COMMENT 'average_fill, fill, bankruptcy, order, mark or unknown.',
    order_price Nullable(Float64) COMMENT 'Limit price of the forced order, where the feed sends it beside the fill.',
    quantity Float64 COMMENT 'Size in base units.',
    notional_usd Float64 COMMENT 'Value in USD.',
    notional_micros Int64 COMMENT 'Value in USD x 1e-6; sums of it are exact.',
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock in event_time_kind.',
    event_time_kind LowCardinality(String) COMMENT 'Whose clock event_time is: exchange or received.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the first collector read it.',
    completeness LowCardinality(String) COMMENT 'Share of the liquidations that the feed shows: full, sampled, largest_per_second, inferred, unknown.',
    source Tuple(channel LowCardinality(String), connection LowCardinality(String), sequence Int64, `index` Int32) COMMENT 'The frame that it was read from, and its position in it.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(event_id)) AS event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros / 1000000 AS notional_usd, notional_micros, event_time, event_time_kind, received_time,
    completeness, source
FROM liquidations_data.events FINAL
COMMENT 'Liquidations, each once.'

-- next statement
CREATE OR REPLACE VIEW liquidations.candles
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name: BTC-USDT-PERP.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute, included.',
    open Float64 COMMENT 'First price.',
    high Float64 COMMENT 'Highest price.',
    low Float64 COMMENT 'Lowest price.',
    close Float64 COMMENT 'Last price.',
    volume Float64 COMMENT 'Traded base units.',
    volume_usd Float64 COMMENT 'Traded value in USD.',
    taker_buy_usd Nullable(Float64) COMMENT 'Part of it that buyers took, in USD.',
    trades Nullable(Int64) COMMENT 'Number of trades.',
    closed Bool COMMENT 'Whether the exchange says that the minute is over.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, instrument, asset, start, open, high, low, close, volume, volume_micros / 1000000 AS volume_usd,
    taker_buy_micros / 1000000 AS taker_buy_usd, trades, closed, received_time
FROM liquidations_data.candles FINAL
COMMENT 'Minute candles, the last word of the exchange.'

-- next statement
CREATE OR REPLACE VIEW liquidations.metrics
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name: BTC-USDT-PERP.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    metric LowCardinality(String) COMMENT 'open_interest_base, open_interest_usd, mark_price, index_price, funding_rate, long_account_share or short_account_share.',
    value Float64 COMMENT 'The reading: base units, USD, price, rate per funding interval, or share 0 to 1.',
    time DateTime64(3, 'UTC') COMMENT 'When the exchange took the reading.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read it.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, instrument, asset, metric, value, time, received_time
FROM liquidations_data.metrics FINAL
COMMENT 'Readings of open interest, prices, funding and account shares.'

-- next statement
CREATE OR REPLACE VIEW liquidations.coverage
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    channel LowCardinality(String) COMMENT 'Channel.',
    start DateTime64(3, 'UTC') COMMENT 'Start of the minute.',
    alive_ms Int32 COMMENT 'Milliseconds of the minute in which at least one collector was listening.',
    alive_share Float64 COMMENT 'The same as a share, 0 to 1.',
    frames Int64 COMMENT 'Frames read in the minute, by all collectors.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, channel, start, alive_ms, alive_ms / 60000 AS alive_share, frames
FROM liquidations_data.coverage FINAL
COMMENT 'How much of each minute each channel was alive. No row: nobody listened.'

-- next statement
CREATE OR REPLACE VIEW liquidations.tallies
(
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    start DateTime64(3, 'UTC') COMMENT 'Minute of the watermark in which the records were read.',
    events Int64 COMMENT 'Distinct liquidations read, late and too late ones included.',
    duplicates Int64 COMMENT 'Repetitions of liquidations already read.',
    late Int64 COMMENT 'Events folded into a bar after it was closed.',
    too_late Int64 COMMENT 'Events that came after the time for corrections of their bar: in events, in no bar.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, asset, start, events, duplicates, late, too_late
FROM liquidations_data.tallies FINAL
COMMENT 'What the worker counted by exchange, asset and minute of its own clock, the watermark.'

-- next statement
CREATE OR REPLACE VIEW liquidations.dead_letters
(
    dead_letter_id String COMMENT 'Hash of stage and origin, in hex.',
    stage LowCardinality(String) COMMENT 'Which part refused it: mapping, worker or sink.',
    reason LowCardinality(String) COMMENT 'Short word for the kind of refusal.',
    message String COMMENT 'What exactly was wrong.',
    exchange LowCardinality(String) COMMENT 'Exchange, or empty if unknown.',
    channel LowCardinality(String) COMMENT 'Channel of the frame, or topic of the record.',
    connection LowCardinality(String) COMMENT 'Connection of the frame, or partition of the record.',
    sequence Int64 COMMENT 'Sequence of the frame, or offset of the record.',
    `index` Int32 COMMENT 'Position within the frame, from 0.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the frame was read, or when the broker appended the record.',
    payload String COMMENT 'The payload of the frame or the value of the record, as payload_encoding says.',
    payload_encoding LowCardinality(String) COMMENT 'text, or base64 where the bytes are no text.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(dead_letter_id)) AS dead_letter_id, stage, reason, message, exchange, channel, connection, sequence, index,
    received_time, if(text, bytes, base64Encode(bytes)) AS payload,
    CAST(if(text, 'text', 'base64') AS LowCardinality(String)) AS payload_encoding
FROM
(
    SELECT * EXCEPT (payload), payload AS bytes, isValidUTF8(payload) AND NOT match(payload, '[\\x00-\\x08\\x0e-\\x1f]') AS text
    FROM liquidations_data.dead_letters FINAL
)
COMMENT 'What could not be used, and why.'
