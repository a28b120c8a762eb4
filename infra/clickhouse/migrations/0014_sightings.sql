-- Events without a time of their exchange, and which collectors saw an event.
--
-- Where the exchange gives no time, event_time is the collector's own, and one event has several: by another collector, or
-- by the snapshot after a reconnection. Such events go into a table of their own by id alone, where the first received stays.
--
-- A collector's connections are COLLECTOR/CHANNEL/OPENED_MS-SHARD; other connections are those of archives, which nobody saw
-- live. A sighting is one row for each event and collector, so a repeated insert makes the same rows.
-- See docs/decisions/0022-who-saw-an-event.md.
CREATE TABLE IF NOT EXISTS liquidations_data.received_events AS liquidations_data.events
ENGINE = ReplacingMergeTree(precedence)
ORDER BY (exchange, event_id)
COMMENT 'Liquidations that the exchange gave no time, as inserted; read the view liquidations.events.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.received_events_from_in TO liquidations_data.received_events
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved
FROM liquidations_data.events_in
WHERE event_time_kind = 'received'
COMMENT 'Passes events on that the exchange gave no time.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.symbols_of_received_events TO liquidations_data.symbols
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT exchange, symbol, asset, source.channel AS channel, min(event_time) AS first_time, max(event_time) AS last_time
FROM liquidations_data.received_events
GROUP BY exchange, symbol, asset, channel
COMMENT 'Keeps symbols up to date with each insert into received_events.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.sightings
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.' CODEC(NONE),
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    event_time DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock of the exchange.' CODEC(Delta, ZSTD(1)),
    collector LowCardinality(String) COMMENT 'Collector that saw it.'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (event_time, exchange, event_id, collector)
COMMENT 'Who saw events that the exchange gave a time; read the view liquidations.sightings.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.sightings_of_events TO liquidations_data.sightings
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT event_id, exchange, event_time, splitByChar('/', toString(source.connection))[1] AS collector
FROM liquidations_data.events
WHERE match(source.connection, '^[^/]+/.+/[0-9]+-[0-9]+$')
COMMENT 'Keeps sightings up to date with each insert into events.'

-- next statement
CREATE TABLE IF NOT EXISTS liquidations_data.received_sightings
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.' CODEC(NONE),
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    collector LowCardinality(String) COMMENT 'Collector that saw it.',
    event_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'When this collector first received it.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (exchange, event_id, collector)
COMMENT 'Who saw events that the exchange gave no time; read the view liquidations.sightings.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.received_sightings_of_events TO liquidations_data.received_sightings
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT event_id, exchange, splitByChar('/', toString(source.connection))[1] AS collector, event_time
FROM liquidations_data.received_events
WHERE match(source.connection, '^[^/]+/.+/[0-9]+-[0-9]+$')
COMMENT 'Keeps received_sightings up to date with each insert into received_events.'

-- next statement
ALTER TABLE liquidations_data.events_from_in MODIFY QUERY SELECT
    event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved
FROM liquidations_data.events_in
WHERE event_time_kind != 'received'

-- next statement
-- What was inserted before. The rows stay in events, too, where the view passes them over.
INSERT INTO liquidations_data.received_events
    (event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved)
SELECT
    event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price,
    quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved
FROM liquidations_data.events
WHERE event_time_kind = 'received'

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
FROM
(
    SELECT event_id, exchange, symbol, instrument, asset, quote, margin, position, position_proved, price, price_kind, order_price,
        quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source
    FROM liquidations_data.events FINAL
    WHERE event_time_kind != 'received'
    UNION ALL
    SELECT event_id, exchange, symbol, instrument, asset, quote, margin, position, position_proved, price, price_kind, order_price,
        quantity, notional_micros, event_time, event_time_kind, received_time, completeness, source
    FROM liquidations_data.received_events FINAL
)
COMMENT 'Liquidations, each once.'

-- next statement
CREATE OR REPLACE VIEW liquidations.sightings
(
    event_id String COMMENT 'Hash of what identifies the event at the exchange, in hex: as in events.',
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    event_time DateTime64(3, 'UTC') COMMENT 'As in events.',
    collectors Array(String) COMMENT 'Collectors that saw it, sorted.'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT lower(hex(seen.event_id)) AS event_id, exchange, event_time, arraySort(names) AS collectors
FROM
(
    SELECT event_id, exchange, event_time, groupUniqArray(collector) AS names
    FROM liquidations_data.sightings
    GROUP BY event_id, exchange, event_time
    UNION ALL
    SELECT event_id, exchange, toDateTime64(min(received.event_time), 3, 'UTC') AS event_time, groupUniqArray(collector) AS names
    FROM liquidations_data.received_sightings AS received
    GROUP BY event_id, exchange
) AS seen
COMMENT 'Which collectors saw each event live.'
