"""Recordings of Binance's all-market `forceOrder` stream as lines of 12 columns, without a header.

| column | key of the stream | |
|---|---|---|
| 1 | s | mostly with "USDT" taken out: `BTC` is BTCUSDT, `ETH_250627` ETHUSDT_250627, `BTCUSDC` itself |
| 2 | S | side of the order |
| 3, 4 | o, f | order type, time in force |
| 5, 6, 7 | q, p, ap | quantity, order price, average price (may be the text `None`) |
| 8, 9, 10 | X, l, z | status, last filled, filled quantity |
| 11 | T | trade time, ms |
| 12 | | USD, added by the recorder from the order price, sometimes in millions: not read |

The recorder kept neither the push time nor its own clock, so `received_time` is the trade time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pipeline.feeds import binance
from pipeline.feeds.archives.lines import Origin, columns_of, lines_of, row_frames
from pipeline.feeds.conversations.binance import QUOTES
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.numbers import choice, positive, positive_or_none, shown, time_ms_of
from pipeline.feeds.rows import map_rows
from pipeline.records import Frame, Liquidation, RefusedError

NAME: Final = "binance_forceorder_csv"
_COLUMNS: Final = 12
_FILLED = ("FILLED", "PARTIALLY_FILLED")
_NO_PRICE: Final = "None"


def raw_symbol(written: str) -> str:
    """Return the symbol as Binance writes it."""
    pair, underscore, last = written.partition("_")
    quoted = any(pair.endswith(quote) and pair != quote for quote in QUOTES)
    if quoted or (underscore and pair.endswith("USD")):
        return written
    return f"{pair}USDT{underscore}{last}"


def _recognise(path: Path, head: bytes) -> bool:  # noqa: ARG001 - the name tells nothing
    for line in head.split(b"\n")[:-1]:
        columns = line.split(b",")
        if len(columns) == _COLUMNS and columns[1] in (b"SELL", b"BUY") and columns[10].isdigit():
            return True
    return False


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    return row_frames(ARCHIVE.channel, path, lines_of(chunks), _origin, binance.FEED.exchange)


def _origin(row: bytes) -> Origin:
    return binance.FEED.exchange, 1000 * time_ms_of("T", columns_of(row, _COLUMNS)[10])


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: bytes) -> Liquidation:
        return binance.liquidation_of(frame, index, _forced_order(columns_of(row, _COLUMNS)), instruments)

    return map_rows(frame, lambda payload: (payload,), event_of)


def _forced_order(columns: list[str]) -> binance.ForcedOrder:
    symbol, side, _, _, quantity, order_price, average_price, status, _, filled, traded, _ = columns
    if status not in _FILLED:
        raise RefusedError("not_filled", f"X is {shown(status)}: this order has closed nothing")
    return binance.ForcedOrder(
        symbol=raw_symbol(symbol),
        order=side,
        closes=choice("S", side, binance.CLOSES),
        quantity=positive("z", filled or quantity),
        average_price=None if average_price == _NO_PRICE else positive_or_none("ap", average_price),
        order_price=positive_or_none("p", order_price),
        event_time=time_ms_of("T", traded),
    )


ARCHIVE = Archive(NAME, _recognise, _frames, _map)
