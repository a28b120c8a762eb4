"""A recording of Aster's forced orders (a clone of Binance's stream), one order a row.

Columns: id, timestamp, symbol, side, price, quantity, value, time. The recorder kept the order's side (SELL closes a
long), its average price `ap`, its ORIGINAL quantity `q` (there is no filled one) and its own clock, not the exchange's:
`timestamp` is both the time of the event, marked as received, and `received_time`. `id` is the recorder's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pipeline.feeds import binance
from pipeline.feeds.archives.lines import Origin, columns_of, lines_of, row_frames, without_header
from pipeline.feeds.conversations.binance import MULTIPLIED
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.naming import Names
from pipeline.feeds.numbers import choice, iso_time_us, positive
from pipeline.feeds.rows import map_rows
from pipeline.records import Frame, Liquidation

NAME: Final = "aster_csv"
EXCHANGE: Final = "aster"
HEADER: Final = b"id,timestamp,symbol,side,price,quantity,value,time"
_COLUMNS: Final = HEADER.count(b",") + 1

# Same naming as Binance, an instrument table of its own.
_NAMES = Names(EXCHANGE, MULTIPLIED)


def _recognise(path: Path, head: bytes) -> bool:  # noqa: ARG001 - the name tells nothing
    return head.startswith(HEADER)


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    return row_frames(ARCHIVE.channel, path, without_header(lines_of(chunks), HEADER), _origin, EXCHANGE)


def _origin(row: bytes) -> Origin:
    return EXCHANGE, iso_time_us("timestamp", columns_of(row, _COLUMNS)[1])


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: bytes) -> Liquidation:
        _, timestamp, symbol, side, price, quantity, _, _ = columns_of(row, _COLUMNS)
        read_us = iso_time_us("timestamp", timestamp)
        forced = binance.ForcedOrder(
            symbol=symbol,
            order=side,
            closes=choice("side", side, binance.CLOSES),
            quantity=positive("quantity", quantity),
            average_price=positive("price", price),
            order_price=None,
            event_time=read_us // 1000,
            event_time_kind="received",
            read_us=read_us,
        )
        return binance.liquidation_of(frame, index, forced, instruments, _NAMES)

    return map_rows(frame, lambda payload: (payload,), event_of)


ARCHIVE = Archive(NAME, _recognise, _frames, _map)
