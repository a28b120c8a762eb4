"""The events log, read back from the tables: what a worker would have read, as far as tables tell.

Records come in the order of the times at which collectors read or said them, which is the order in which they were
published, to within what several partitions and collectors lay side by side. What the tables do not tell:

- an event that came twice is there once, as it first came;
- of a candle there is the last reading;
- whether a heartbeat was up or down is known by minute: in a minute with both, all count as up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.records import Candle, Heartbeat, Liquidation, Source, Subscription
from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.databases import Databases

LogRecord = Liquidation | Candle | Heartbeat | Subscription

# So much is held in memory at once.
_SLICE_MS = 3_600_000
# An event that came later than this after it happened is left out: no rule looks back that far for it.
_LATEST_MS = 86_400_000
# How far an exchange's clock may be ahead of the collector's.
_AHEAD_MS = 60_000

_EVENTS = """
    SELECT toUnixTimestamp64Micro(received_time) AS received, event_id, exchange, symbol, instrument, asset, quote,
        margin, position, price, price_kind, order_price, quantity, notional_micros,
        toUnixTimestamp64Milli(event_time), event_time_kind, completeness, source.channel, source.connection,
        source.sequence, source.`index`, position_proved
    FROM {views:Identifier}.events
    WHERE event_time >= fromUnixTimestamp64Milli({earliest:Int64})
        AND event_time < fromUnixTimestamp64Milli({latest:Int64})
        AND received_time >= fromUnixTimestamp64Milli({begin:Int64})
        AND received_time < fromUnixTimestamp64Milli({end:Int64})
    ORDER BY received, source.connection, source.sequence, source.`index`, event_id
"""
_HEARTBEATS = """
    SELECT time * 1000, exchange, channel, collector, was_up, brought
    FROM
    (
        SELECT toUnixTimestamp64Milli(start) + beat.1 AS time, exchange, channel, collector, was_up, beat.2 AS brought
        FROM
        (
            SELECT exchange, channel, collector, start, max(was_up) AS was_up, maxMap(frames) AS said
            FROM {tables:Identifier}.heartbeats
            WHERE start >= fromUnixTimestamp64Milli({begin:Int64}) - toIntervalMinute(1)
                AND start < fromUnixTimestamp64Milli({end:Int64})
            GROUP BY exchange, channel, collector, start
        )
        ARRAY JOIN CAST(said AS Array(Tuple(UInt16, UInt64))) AS beat
    )
    WHERE time >= {begin:Int64} AND time < {end:Int64}
    ORDER BY time, exchange, channel, collector
"""
_SUBSCRIPTIONS = """
    SELECT toUnixTimestamp64Milli(time) * 1000 AS said, exchange, channel, symbol, asset, collector, state
    FROM {tables:Identifier}.subscriptions FINAL
    WHERE time >= fromUnixTimestamp64Milli({begin:Int64}) AND time < fromUnixTimestamp64Milli({end:Int64})
    ORDER BY said, exchange, channel, symbol, collector
"""
_CANDLES = """
    SELECT toUnixTimestamp64Micro(received_time) AS received, exchange, symbol, instrument, asset,
        toUnixTimestamp64Milli(start), open, high, low, close, volume, volume_micros, taker_buy_micros, trades, closed
    FROM {tables:Identifier}.candles FINAL
    WHERE start >= fromUnixTimestamp64Milli({earliest:Int64}) AND start < fromUnixTimestamp64Milli({end:Int64})
        AND received_time >= fromUnixTimestamp64Milli({begin:Int64})
        AND received_time < fromUnixTimestamp64Milli({end:Int64})
    ORDER BY received, exchange, symbol, start
"""


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Records up to a time (ms, excluded), in the order of the log."""

    end_ms: int
    records: list[LogRecord]


def read_span(client: Client, databases: Databases) -> tuple[int, int] | None:
    """Return from when until when (excluded, ms) heartbeats are stored, or None if there are none."""
    row = _rows(
        client,
        "SELECT count(), toUnixTimestamp64Milli(min(start)), toUnixTimestamp64Milli(max(last_time))"
        " FROM {tables:Identifier}.heartbeats",
        {"tables": databases.tables},
    )[0]
    return (row[1], row[2] + 1) if row[0] else None


def read_log(client: Client, databases: Databases, begin_ms: int, end_ms: int) -> Iterator[LogSlice]:
    """Yield what was read and said from `begin_ms` until before `end_ms`, an hour at a time.

    Raises `WarehouseError` if ClickHouse refuses.
    """
    for begin in range(begin_ms, end_ms, _SLICE_MS):
        end = min(begin + _SLICE_MS, end_ms)
        bounds = {
            "tables": databases.tables,
            "views": databases.views,
            "begin": begin,
            "end": end,
            "earliest": begin - _LATEST_MS,
            "latest": end + _AHEAD_MS,
        }
        # Of what has one time, heartbeats are last: they speak of the time before them.
        kinds: tuple[tuple[str, Callable[[Sequence[Any]], LogRecord]], ...] = (
            (_SUBSCRIPTIONS, _subscription),
            (_CANDLES, _candle),
            (_EVENTS, _liquidation),
            (_HEARTBEATS, _heartbeat),
        )
        read = [[(row[0], record_of(row)) for row in _rows(client, query, bounds)] for query, record_of in kinds]
        yield LogSlice(end, [record for _, record in merge(*read, key=itemgetter(0))])


def _rows(client: Client, query: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
    try:
        return client.query(query, parameters=parameters).result_rows
    except ClickHouseError as error:
        raise WarehouseError(f"cannot read what is recorded: {short_message(error)}") from error


def _liquidation(row: Sequence[Any]) -> Liquidation:
    return Liquidation(
        event_id=bytes.fromhex(row[1]),
        exchange=row[2],
        symbol=row[3],
        instrument=row[4],
        asset=row[5],
        quote=row[6],
        margin=row[7],
        position=row[8],
        price=row[9],
        price_kind=row[10],
        order_price=row[11],
        quantity=row[12],
        notional_micros=row[13],
        event_time=row[14],
        event_time_kind=row[15],
        received_time=row[0],
        completeness=row[16],
        source=Source(row[17], row[18], row[19], row[20]),
        position_proved=row[21],
    )


def _candle(row: Sequence[Any]) -> Candle:
    return Candle(
        exchange=row[1],
        symbol=row[2],
        instrument=row[3],
        asset=row[4],
        start=row[5],
        open=row[6],
        high=row[7],
        low=row[8],
        close=row[9],
        volume=row[10],
        volume_micros=row[11],
        taker_buy_micros=row[12],
        trades=row[13],
        closed=row[14],
        received_time=row[0],
    )


def _heartbeat(row: Sequence[Any]) -> Heartbeat:
    time_us, exchange, channel, collector, was_up, frames = row
    return Heartbeat(exchange, channel, collector, time_us // 1000, "up" if was_up else "down", frames, None)


def _subscription(row: Sequence[Any]) -> Subscription:
    time_us, exchange, channel, symbol, asset, collector, state = row
    return Subscription(exchange, channel, symbol, asset, collector, time_us // 1000, state)
