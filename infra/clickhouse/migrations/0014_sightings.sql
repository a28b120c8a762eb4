-- Which collectors saw an event: one row for each that did. A collector's connections are COLLECTOR/CHANNEL/OPENED_MS-SHARD;
-- other connections are those of archives, which nobody saw live. A repeated insert makes the same rows.
--
-- Where the exchange gives no time, event_time is the collector's own, and one event has several. These go into a table
-- by id alone, and of such an event only the row that was received first is valid.
-- See docs/decisions/0022-who-saw-an-event.md.
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
CREATE TABLE IF NOT EXISTS liquidations_data.received_events
(
    event_id FixedString(16) COMMENT 'Hash of what identifies the event at the exchange.' CODEC(NONE),
    exchange LowCardinality(String) COMMENT 'Exchange, lower case.',
    collector LowCardinality(String) COMMENT 'Collector that saw it; empty: it is from an archive.',
    received_time SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When this collector first received it.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (event_id, exchange, collector)
COMMENT 'Events that the exchange gave no time: who saw each, and when first.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.sightings_of_events TO liquidations_data.sightings
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT event_id, exchange, event_time, splitByChar('/', toString(source.connection))[1] AS collector
FROM liquidations_data.events
WHERE event_time_kind = 'exchange' AND match(source.connection, '^[^/]+/.+/[0-9]+-[0-9]+$')
COMMENT 'Keeps sightings up to date with each insert into events.'

-- next statement
CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_data.received_events_of_events TO liquidations_data.received_events
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT event_id, exchange,
    if(match(source.connection, '^[^/]+/.+/[0-9]+-[0-9]+$'), splitByChar('/', toString(source.connection))[1], '') AS collector,
    received_time
FROM liquidations_data.events
WHERE event_time_kind = 'received'
COMMENT 'Keeps received_events up to date with each insert into events.'

-- next statement
-- What was inserted before these tables were there.
INSERT INTO liquidations_data.received_events (event_id, exchange, collector, received_time)
SELECT event_id, exchange, '', received_time
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
    SELECT * FROM liquidations_data.events FINAL
    WHERE event_time_kind != 'received'
        OR (event_id, received_time) IN (SELECT event_id, min(received_time) FROM liquidations_data.received_events GROUP BY event_id)
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
AS SELECT lower(hex(seen.event_id)) AS event_id, exchange, event_time, collectors
FROM
(
    SELECT event_id, exchange, event_time, arraySort(groupUniqArray(collector)) AS collectors
    FROM liquidations_data.sightings
    GROUP BY event_id, exchange, event_time
    UNION ALL
    SELECT event_id, exchange, CAST(toDateTime64(min(received_time), 3, 'UTC') AS DateTime64(3, 'UTC')) AS event_time,
        arraySort(groupUniqArrayIf(collector, collector != '')) AS collectors
    FROM liquidations_data.received_events
    GROUP BY event_id, exchange
    HAVING notEmpty(collectors)
) AS seen
COMMENT 'Which collectors saw each event live.'
