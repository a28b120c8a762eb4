-- Whether the rule that gives a liquidation's position is proved. What was inserted before is.
ALTER TABLE liquidations_data.events
    ADD COLUMN IF NOT EXISTS position_proved Bool DEFAULT true
    COMMENT 'Whether the rule that gives position is documented or proved; false: the best reading of an undocumented sign.'
    AFTER source

-- next statement
ALTER TABLE liquidations_data.events_in
    ADD COLUMN IF NOT EXISTS position_proved Bool DEFAULT true
    COMMENT 'Whether the rule that gives position is documented or proved; false: the best reading of an undocumented sign.'
    AFTER source

-- next statement
ALTER TABLE liquidations_data.events_from_in MODIFY QUERY SELECT
    event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved
FROM liquidations_data.events_in

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
    position_proved Bool COMMENT 'Whether the rule that gives position is documented or proved; false: the best reading of an undocumented sign.',
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
AS SELECT lower(hex(event_id)) AS event_id, exchange, symbol, instrument, asset, quote, margin, position, position_proved, price, price_kind,
    order_price, quantity, notional_micros / 1000000 AS notional_usd, notional_micros, event_time, event_time_kind, received_time,
    completeness, source
FROM liquidations_data.events FINAL
COMMENT 'Liquidations, each once.'
