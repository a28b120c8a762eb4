"""A recording of Binance's `btcusdt@forceOrder` stream that changes its layout on the way.

First a header and rows of 12 columns: Symbol, Side, Order Type, Time in Force, Quantity, Price, Average Price, Order
Status, Last Filled Quantity, Filled Quantity, Event Time, Trade Time. Then, without a new header, rows of 6: Event
Time, Liquidation Type (`Long Trade`: a long was closed), Price, Quantity, last filled, filled minus last filled. Times
are ISO 8601 at +05:30.

The event time is the trade time, or the push time where rows have no other. There is no receive clock:
`received_time` is the push time (Event Time), the last clock that saw the message. The price of the short rows is the
order's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from pipeline.feeds import binance
from pipeline.feeds.archives.lines import Origin, columns_of, lines_of, row_frames, without_header
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.numbers import choice, decimal_of, iso_time_us, positive, positive_or_none, shown
from pipeline.feeds.rows import map_rows
from pipeline.records import Frame, Liquidation, RefusedError

NAME: Final = "binance_btcusdt_csv"
HEADER: Final = (
    b"Symbol,Side,Order Type,Time in Force,Quantity,Price,Average Price,Order Status,"
    b"Last Filled Quantity,Filled Quantity,Event Time (IST),Trade Time (IST)"
)
_LONG_ROW, _SHORT_ROW = 12, 6
_FILLED = ("FILLED", "PARTIALLY_FILLED")
# The short rows name the position in words; what the order must have been follows.
_ORDERS: Final[Mapping[str, str]] = {"Long Trade": "SELL", "Short Trade": "BUY"}
# The recorder subtracted doubles; sizes have 3 places, so this takes away the noise and nothing else.
_SMALLEST: Final = Decimal("1e-8")


def _recognise(path: Path, head: bytes) -> bool:  # noqa: ARG001 - the name tells nothing
    return head.startswith(HEADER)


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    rows = without_header(lines_of(chunks), HEADER)
    return row_frames(ARCHIVE.channel, path, rows, _origin, binance.FEED.exchange)


def _origin(row: bytes) -> Origin:
    columns = columns_of(row, _LONG_ROW, _SHORT_ROW)
    pushed = columns[10] if len(columns) == _LONG_ROW else columns[0]
    return binance.FEED.exchange, iso_time_us("Event Time", pushed)


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: bytes) -> Liquidation:
        columns = columns_of(row, _LONG_ROW, _SHORT_ROW)
        forced = _long_row(columns) if len(columns) == _LONG_ROW else _short_row(columns)
        return binance.liquidation_of(frame, index, forced, instruments)

    return map_rows(frame, lambda payload: (payload,), event_of)


def _long_row(columns: list[str]) -> binance.ForcedOrder:
    symbol, side, _, _, quantity, order_price, average_price, status, _, filled, _, traded = columns
    if status not in _FILLED:
        raise RefusedError("not_filled", f"Order Status is {shown(status)}: this order has closed nothing")
    return binance.ForcedOrder(
        symbol=symbol,
        order=side,
        closes=choice("Side", side, binance.CLOSES),
        quantity=positive("Filled Quantity", filled or quantity),
        average_price=positive_or_none("Average Price", average_price),
        order_price=positive_or_none("Price", order_price),
        event_time=iso_time_us("Trade Time", traded) // 1000,
    )


def _short_row(columns: list[str]) -> binance.ForcedOrder:
    pushed, kind, order_price, _, last_filled, filled_before = columns
    order = choice("Liquidation Type", kind, _ORDERS)
    filled = decimal_of("last filled", last_filled) + decimal_of("filled before", filled_before)
    return binance.ForcedOrder(
        symbol="BTCUSDT",
        order=order,
        closes=binance.CLOSES[order],
        quantity=positive("filled quantity", str(filled.quantize(_SMALLEST))),
        average_price=None,
        order_price=positive_or_none("Price", order_price),
        event_time=iso_time_us("Event Time", pushed) // 1000,
    )


ARCHIVE = Archive(NAME, _recognise, _frames, _map)
