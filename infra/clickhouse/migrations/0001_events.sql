-- Liquidations, one row per event_id.
--
-- The same event may come twice: from a repeated insert, from two collectors, from a replay. The row that stays is the
-- one with the earliest received_time, on a tie the one whose source hashes lower, in whatever order they came:
-- `precedence` says so in one number. See docs/decisions/0010-one-row-per-event.md.
--
-- Every table comes with a second one, NAME_in, that keeps nothing: the sink writes there and a materialised view passes
-- the rows on. Texts are read as plain strings and become LowCardinality a block at a time, which is twice as fast as
-- value by value. `body_end` is what the sink writes behind every Avro body of a block. A body that is cut short or too long
-- moves it, and the constraint refuses the block. See docs/decisions/0011-a-body-that-ends-elsewhere.md.
CREATE TABLE IF NOT EXISTS liquidations_data.events
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.' CODEC(NONE),
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    symbol LowCardinality(String) COMMENT 'Contract as the exchange writes it.',
    instrument LowCardinality(String) COMMENT 'Canonical contract name: BTC-USDT-PERP.',
    asset LowCardinality(String) COMMENT 'What is traded: BTC.',
    quote LowCardinality(String) COMMENT 'What the price is in.',
    margin LowCardinality(String) COMMENT 'linear, inverse or quanto.',
    position LowCardinality(String) COMMENT 'Position that was closed by force: long or short.',
    price Float64 COMMENT 'Quote units per base unit, of the kind in price_kind.' CODEC(ZSTD(1)),
    price_kind LowCardinality(String) COMMENT 'average_fill, fill, bankruptcy, order, mark or unknown.',
    order_price Nullable(Float64) COMMENT 'Limit price of the forced order, where the feed sends it beside the fill.' CODEC(ZSTD(1)),
    quantity Float64 COMMENT 'Size in base units.' CODEC(ZSTD(1)),
    notional_micros Int64 COMMENT 'Value in USD x 1e-6.' CODEC(ZSTD(1)),
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock in event_time_kind.' CODEC(Delta, ZSTD(1)),
    event_time_kind LowCardinality(String) COMMENT 'Whose clock event_time is: exchange or received.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read the frame that held it.' CODEC(Delta, ZSTD(1)),
    completeness LowCardinality(String) COMMENT 'Share of the liquidations that the feed shows: full, sampled, largest_per_second, inferred, unknown.',
    source Tuple(
        channel LowCardinality(String),
        connection LowCardinality(String),
        sequence Int64,
        `index` Int32) COMMENT 'The frame that the event was read from, and its position in it.' CODEC(ZSTD(1)),
    precedence UInt128 MATERIALIZED bitNot(bitOr(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_time)), 64),
        toUInt128(sipHash64(source)))) COMMENT 'The row of an event with the highest one stays: the first received.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(event_time)
ORDER BY (toDate(event_time), asset, event_time, event_id)
COMMENT 'Liquidations as inserted; read the view liquidations.events.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.events_in
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.',
    exchange String COMMENT 'Exchange, lower case.',
    symbol String COMMENT 'Contract as the exchange writes it.',
    instrument String COMMENT 'Canonical contract name: BTC-USDT-PERP.',
    asset String COMMENT 'What is traded: BTC.',
    quote String COMMENT 'What the price is in.',
    margin String COMMENT 'linear, inverse or quanto.',
    position String COMMENT 'Position that was closed by force: long or short.',
    price Float64 COMMENT 'Quote units per base unit, of the kind in price_kind.',
    price_kind String COMMENT 'average_fill, fill, bankruptcy, order, mark or unknown.',
    order_price Nullable(Float64) COMMENT 'Limit price of the forced order, where the feed sends it beside the fill.',
    quantity Float64 COMMENT 'Size in base units.',
    notional_micros Int64 COMMENT 'Value in USD x 1e-6.',
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock in event_time_kind.',
    event_time_kind String COMMENT 'Whose clock event_time is: exchange or received.',
    received_time DateTime64(6, 'UTC') COMMENT 'When the collector read the frame that held it.',
    completeness String COMMENT 'Share of the liquidations that the feed shows: full, sampled, largest_per_second, inferred, unknown.',
    source Tuple(
        channel String,
        connection String,
        sequence Int64,
        `index` Int32) COMMENT 'The frame that the event was read from, and its position in it.',
    body_end FixedString(8) EPHEMERAL 'body end' COMMENT 'What stood behind the Avro body.',
    whole_body Bool MATERIALIZED body_end = 'body end' COMMENT 'Always true.',
    CONSTRAINT bodies_are_whole CHECK whole_body
)
ENGINE = Null
COMMENT 'Where the sink writes events: columns as in events. Keeps nothing.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.events_from_in TO liquidations_data.events
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source
FROM liquidations_data.events_in
COMMENT 'Passes events on.'
