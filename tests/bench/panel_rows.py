"""A year of a market of 5,000 contracts, made by ClickHouse itself: what the panels are measured on.

100 million liquidations, 274,000 a day, and all that the pipeline makes of them. A contract's share falls with its rank
(the first six are a quarter of all), every hour begins with a burst, one event in a hundred was inserted twice, one
bar in five has an older revision beside its last, and Bybit was listened to by two collectors. One event in 137 begins
an anomaly, one in 5,480 a cascade.

Rows go in a span at a time. Ten days are one insert, in which repetitions are gone, as merges leave it within a day
(migration `old_parts_are_merged`). The last day is inserted by the hour, repetitions and older revisions apart.
"""

# ruff: noqa: S608 - statements of our own constants
from __future__ import annotations

from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

EVENTS: Final = 100_000_000
CONTRACTS: Final = 5_000
DAYS: Final = 365
# Of candles and metrics only as much as the longest time range shows, of as many contracts as are usually collected.
_READ_DAYS: Final = 31
_READ_CONTRACTS: Final = 50
END_MS: Final = 1_767_225_600_000  # 2026-01-01
_DAY_MS: Final = 86_400_000
_EXCHANGES: Final = "['binance', 'bybit', 'okx', 'gate', 'bitget', 'htx', 'bitfinex', 'bitmex', 'deribit', 'aster']"
_CHANNELS: Final = "['orders', 'linear', 'SWAP', 'public', 'usdt', 'cross', 'status', 'liquidation', 'trades', 'force']"
# How complete the feeds are, as documented for the real ones.
_SHOWN: Final = (
    "['largest_per_second', 'full', 'sampled', 'full', 'unknown', 'full', 'full', 'full', 'full', 'largest_per_second']"
)


_HOUR_MS: Final = 3_600_000
_LONG_SPAN_HOURS: Final = 240


def spans(days: int) -> list[tuple[int, int]]:
    """Return (first hour, hours) of each span, the newest first: what panels read is there early."""
    whole, recent = days * 24, max(0, days - _READ_DAYS) * 24
    found, hour = [], 0
    while hour < whole:
        ends = [min(hour + _LONG_SPAN_HOURS, end) for end in (recent, whole - 24) if end > hour]
        found.append((hour, ends[0] - hour if ends else 1))
        hour += found[-1][1]
    return found[::-1]


def fill(client: Client, done: Path, events: int = EVENTS, days: int = DAYS) -> None:
    """Fill migrated tables, a span at a time.

    The file `done` says how many spans are filled. The same span again is the same rows, so what was stopped goes on.
    """
    hours = days * 24
    # As the sink does; every insert of a span is one block for each table.
    settings = {
        "max_insert_block_size": 4_000_000,
        "min_insert_block_size_rows": 4_000_000,
        "max_threads": 2,
    }
    client.command(
        "CREATE OR REPLACE TABLE default.contracts ENGINE = Memory AS " + _CONTRACTS,
        parameters={"contracts": CONTRACTS},
    )
    begun = int(done.read_text()) if done.exists() else 0
    for number, (hour, length) in enumerate(spans(days)[begun:], begun + 1):
        first, beyond = events * hour // hours, events * (hour + length) // hours
        of = {
            "first": first,
            "count": beyond - first,
            "begin": END_MS - (hours - hour) * _HOUR_MS,
            "hours": length,
            "contracts": CONTRACTS,
        }
        is_new, is_late = length == 1, hour >= hours - _READ_DAYS * 24
        if is_new:
            client.command(_EVENTS, parameters=of | {"copies": [1]}, settings=settings)
            client.command(_OLDER_BARS, parameters=of, settings=settings)
        of["copies"] = [0] if is_new else [0, 1]
        for statement in (*_OF_ALL, *(_OF_LATE if is_late else ())):
            client.command(statement, parameters=of, settings=settings)
        done.write_text(str(number))
    for statement in (_SUBSCRIPTIONS, _SILENCES):
        client.command(statement, parameters={"begin": END_MS - days * _DAY_MS})
    client.command("DROP TABLE default.contracts")


_CONTRACTS: Final = f"""
SELECT toUInt32(number) AS rank, toLowCardinality({_EXCHANGES}[1 + rank % 10]) AS exchange,
    toLowCardinality(multiIf(rank <= 6, 'BTC', rank <= 12, 'ETH', concat('C', toString(intDiv(rank, 6))))) AS asset,
    toLowCardinality(concat(asset, 'USDT', toString(rank))) AS symbol, toLowCardinality(concat(asset,
    '-USDT-PERP')) AS instrument,
    toLowCardinality({_CHANNELS}[1 + rank % 10]) AS channel, toLowCardinality({_SHOWN}[1 + rank % 10]) AS shown,
    toLowCardinality(concat('tokyo/', channel, '/1700000000000-0')) AS connection
FROM numbers(1, {{contracts:UInt32}})
"""

_SPAN: Final = (
    "event_time >= fromUnixTimestamp64Milli({begin:Int64}) AND event_time < fromUnixTimestamp64Milli({begin:Int64} + "
    "{hours:UInt32} * 3600000)"
)
_COLUMNS: Final = (
    "(event_id, exchange, symbol, instrument, asset, quote, margin, position, price, price_kind, order_price, "
    "quantity, "
    "notional_micros, event_time, event_time_kind, received_time, completeness, source, position_proved)"
)

_EVENTS: Final = f"""
INSERT INTO liquidations_data.events {_COLUMNS}
WITH cityHash64(number, {{first:UInt64}}, 2) / 18446744073709551616. AS b,
    cityHash64(number, {{first:UInt64}}, 3) / 18446744073709551616. AS c,
    cityHash64(number, {{first:UInt64}}) AS chance,
    {{begin:Int64}} + intDiv(number * {{hours:UInt32}}, {{count:UInt64}}) * 3600000
        + toInt64(3599999 * b * b * b) AS at,
    toInt64(1e6 * 300 * exp(9 * c * c)) AS micros,
    100. / (1 + rank) * (1 + 0.05 * sin(at / 1e7)) * (1 + c / 500) AS paid
SELECT sipHash128(number + {{first:UInt64}}), exchange, symbol, instrument, asset, toLowCardinality('USDT'),
    toLowCardinality('linear'),
    if(chance % 100 < 50 + 20 * sin(at / 2e7), toLowCardinality('long'), toLowCardinality('short')), paid,
    toLowCardinality('bankruptcy'), NULL, micros / 1e6 / paid, micros,
    fromUnixTimestamp64Milli(at), toLowCardinality('exchange'),
    fromUnixTimestamp64Micro(at * 1000 + 40000 + chance % 400000 + 9000 * copy),
    shown, (channel, if(copy = 1 AND exchange = 'bybit', toLowCardinality('paris/linear/1700000000000-0'), connection),
    number, 0), true
FROM (SELECT toUInt32(floor(pow({{contracts:UInt32}}, cityHash64(number, {{first:UInt64}},
    1) / 18446744073709551616.))) AS rank, number
    FROM numbers_mt({{count:UInt64}})) AS drawn
INNER JOIN default.contracts AS contracts ON drawn.rank = contracts.rank
ARRAY JOIN if(intDiv(chance, 1000) % 100 < if(exchange = 'bybit', 99, 1), {{copies:Array(UInt8)}},
    arrayFilter(one -> one = 0, {{copies:Array(UInt8)}})) AS copy
"""

_BARS: Final = f"""
INSERT INTO liquidations_data.bars (exchange, symbol, instrument, asset, start, long_micros, short_micros, long_count,
    short_count, largest_micros, price_low, price_high, late_count, closed, coverage, completeness, revision)
SELECT any(exchange), symbol, any(instrument), any(asset),
    toStartOfInterval(event_time, toIntervalMillisecond(60000)) AS minute,
    sumIf(notional_micros, position = 'long'), sumIf(notional_micros, position = 'short'), countIf(position = 'long'),
    countIf(position = 'short'), max(notional_micros), min(price), max(price), 0, true, 1., any(completeness),
    2 * count() + 1
FROM liquidations_data.events FINAL
WHERE {_SPAN}
GROUP BY symbol, minute
"""

_OLDER_BARS: Final = _BARS.replace(
    "true, 1., any(completeness), 2 * count() + 1", "false, 1., any(completeness), 2"
).replace(f"WHERE {_SPAN}", f"WHERE {_SPAN} AND cityHash64(symbol, toStartOfMinute(event_time)) % 5 = 0")

_COVERAGE: Final = f"""
INSERT INTO liquidations_data.coverage (exchange, channel, start, alive_ms, frames, revision)
SELECT {_EXCHANGES}[1 + number % 10], {_CHANNELS}[1 + number % 10],
    fromUnixTimestamp64Milli({{begin:Int64}} + intDiv(number, 10) * 60000), if(cityHash64(number) % 500 = 0, 20000,
    60000), 60, 1
FROM numbers({{hours:UInt32}} * 600)
"""

_HEARTBEATS: Final = f"""
INSERT INTO liquidations_data.heartbeats (exchange, channel, collector, start, frames, was_up, last_time,
    last_frame_time,
    lowest_offset_ms, highest_offset_ms)
WITH if(number % 11 = 10, 1, number % 11) AS feed
SELECT {_EXCHANGES}[1 + feed], {_CHANNELS}[1 + feed], if(number % 11 = 10, 'paris', 'tokyo'),
    fromUnixTimestamp64Milli({{begin:Int64}} + intDiv(number, 11) * 60000) AS minute,
    mapFromArrays(arrayMap(second -> toUInt16(second * 1000), range(60)), arrayMap(second -> toUInt64(1),
    range(60))), 1,
    minute + toIntervalSecond(59), toDateTime64(minute + toIntervalSecond(58), 6, 'UTC'), -3, 5
FROM numbers({{hours:UInt32}} * 660)
"""

_TALLIES: Final = f"""
INSERT INTO liquidations_data.tallies (exchange, asset, start, events, duplicates, late, too_late, revision)
SELECT exchange, asset, start, sum(long_count + short_count) AS counted, counted % 3, 0, 0, 1
FROM liquidations_data.bars FINAL
WHERE {_SPAN.replace("event_time", "start")}
GROUP BY exchange, asset, start
"""

_LETTERS: Final = """
INSERT INTO liquidations_data.dead_letters (dead_letter_id, stage, reason, message, exchange, channel, connection,
    sequence,
    `index`, received_time, payload)
SELECT sipHash128(number, {begin:Int64}), 'mapping', if(number % 2 = 0, 'unknown_symbol', 'no_contract_size'),
    'XUSDT', 'okx',
    'SWAP', 'tokyo/SWAP/1-0', number, 0, fromUnixTimestamp64Micro({begin:Int64} * 1000 + number * 1000000),
    '{"data": []}'
FROM numbers({hours:UInt32} * 2)
"""

_CANDLES: Final = f"""
INSERT INTO liquidations_data.candles (exchange, symbol, instrument, asset, start, open, high, low, close, volume,
    volume_micros,
    taker_buy_micros, trades, closed, received_time)
WITH {{begin:Int64}} + intDiv(number, {_READ_CONTRACTS}) * 60000 AS at,
    100. / (1 + rank) * (1 + 0.05 * sin(at / 1e7)) AS price
SELECT exchange, symbol, instrument, asset, fromUnixTimestamp64Milli(at), price, price * 1.001, price * 0.999,
    price * 1.0005, 1e4,
    toInt64(1e10), toInt64(4e9), 100, true, fromUnixTimestamp64Micro(at * 1000)
FROM (SELECT toUInt32(1 + number % {_READ_CONTRACTS}) AS rank, number
    FROM numbers({{hours:UInt32}} * 60 * {_READ_CONTRACTS})) AS drawn
INNER JOIN default.contracts AS contracts ON drawn.rank = contracts.rank
"""

_METRICS: Final = f"""
INSERT INTO liquidations_data.metrics (exchange, symbol, instrument, asset, metric, value, time, received_time)
WITH intDiv(number, {_READ_CONTRACTS}) AS turn,
    {{begin:Int64}} + intDiv(turn, 4) * 300000 AS at
SELECT exchange, symbol, instrument, asset, ['open_interest_usd', 'funding_rate', 'long_account_share',
    'mark_price'][1 + turn % 4],
    1e6 + sin(at / 1e7), fromUnixTimestamp64Milli(at), fromUnixTimestamp64Micro(at * 1000)
FROM (SELECT toUInt32(1 + number % {_READ_CONTRACTS}) AS rank,
    number FROM numbers({{hours:UInt32}} * 12 * 4 * {_READ_CONTRACTS})) AS drawn
INNER JOIN default.contracts AS contracts ON drawn.rank = contracts.rank
"""

_SUBSCRIPTIONS: Final = """
INSERT INTO liquidations_data.subscriptions (exchange, channel, collector, symbol, asset, time, state)
SELECT exchange, channel, 'tokyo', symbol, asset, fromUnixTimestamp64Milli({begin:Int64}), 'up'
FROM default.contracts
"""

_SILENCES: Final = """
INSERT INTO liquidations_data.silences (exchange, channel, began, found, ended, expected, probability, revision)
SELECT 'okx', 'SWAP', fromUnixTimestamp64Milli({begin:Int64} + number * 86400000) AS began, began + toIntervalMinute(5),
    began + toIntervalMinute(9), 12., 1e-6, 2
FROM numbers(365)
"""

_ANOMALIES: Final = f"""
INSERT INTO liquidations_data.anomalies (anomaly_id, kind, scope, asset, exchange, symbol, position, measure,
    interval_ms, state, level, value, threshold, baseline_mean, baseline_sd, baseline_n, coverage, completeness,
    degraded, started, updated, ended, details, contributors, rules_hash, revision)
WITH cityHash64(event_id) AS chance, event_time + toIntervalMinute(10) > fromUnixTimestamp64Milli({END_MS}) AS is_open
SELECT sipHash128(event_id), ['surge', 'rolling_threshold', 'cascade', 'ratio'][1 + intDiv(chance, 137) % 4], 'asset',
    asset, '', '', position, 'usd', 60000, if(is_open, 'open', 'closed'), intDiv(chance, 548) % 3, 2e6, 1e6, 5e5, 2e5,
    30, 1., completeness, false, event_time, event_time + toIntervalSecond(20),
    if(is_open, NULL, event_time + toIntervalMinute(10)), map('next_threshold_usd', 2e6), [event_id],
    '0123456789abcdef', 2
FROM liquidations_data.events FINAL
WHERE {_SPAN} AND chance % 137 = 0
"""

_CASCADES: Final = f"""
INSERT INTO liquidations_data.cascades (cascade_id, asset, position, state, begin, peak, `end`, waves, long_micros,
    short_micros, long_count, short_count, peak_second_micros, exchanges, price_before, price_extreme, coverage,
    completeness, degraded, rules_hash, revision)
SELECT sipHash128(event_id), asset, position, 'closed', event_time, event_time + toIntervalSecond(4),
    event_time + toIntervalMinute(1), 2, toInt64(7e12), toInt64(1e9), 100, 3, toInt64(1e12), ['okx', 'bybit'], price,
    price * 0.98, 1., completeness, false, '0123456789abcdef', 2
FROM liquidations_data.events FINAL
WHERE {_SPAN} AND cityHash64(event_id) % 5480 = 0
"""

_MARKET_DELAYS: Final = """
INSERT INTO liquidations_data.market_delays (start, newest, watermark, most_ms, held_by, waiting, revision)
SELECT fromUnixTimestamp64Milli({begin:Int64} + number * 60000) AS minute, minute + toIntervalSecond(59),
    minute + toIntervalSecond(57), 2000 + cityHash64(number) % 3000, number % 8, number % 20, 2
FROM numbers({hours:UInt32} * 60)
"""

_ARRIVALS: Final = f"""
INSERT INTO liquidations_data.arrivals (start, events, most_ms, delays_ms)
SELECT toStartOfInterval(event_time, toIntervalMillisecond(60000)) AS minute, count(), max(delay_ms),
    quantilesTDigestState(0.5, 0.95)(delay_ms)
FROM (SELECT event_time, toInt64(300 + cityHash64(event_id) % 900) AS delay_ms FROM liquidations_data.events
    WHERE {_SPAN})
GROUP BY minute
"""

_OF_ALL: Final = (
    _EVENTS,
    _BARS,
    _COVERAGE,
    _HEARTBEATS,
    _TALLIES,
    _LETTERS,
    _ANOMALIES,
    _CASCADES,
    _MARKET_DELAYS,
)
_OF_LATE: Final = (_CANDLES, _METRICS, _ARRIVALS)
