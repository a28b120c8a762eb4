"""Tardis.dev's downloadable `liquidations` files: one liquidation a row, of any exchange.

Columns: exchange, symbol, timestamp, local_timestamp, id, side, price, amount; times in µs, symbols as the exchange
writes them, `side` the same for all exchanges: sell closed a long, buy a short. `amount` is what the exchange sent, in
its own unit, so each exchange needs a rule; one without is refused:

| in the file | exchange | amount | price |
|---|---|---|---|
| binance-futures | Binance USD-M | coins (`z`) | unknown: `ap` or, by other accounts, `p` |
| binance-delivery | Binance COIN-M | contracts | as above |
| bybit | Bybit | coins, on inverse contracts USD | bankruptcy |
| okex-swap, okex-futures | OKX | contracts | bankruptcy |

The file does not keep Bybit's rows of one frame together nor OKX's `posSide`, so an event's id equals the live one's on
Binance (if the price was `ap`) and on Bybit (but for equal rows of one frame), not on OKX. Files of trades have the
same columns; only their name tells, and they are not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.feeds import binance, bybit, okx
from pipeline.feeds.archives.lines import Origin, columns_of, lines_of, row_frames, without_header
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.numbers import choice, positive, shown
from pipeline.feeds.rows import map_rows
from pipeline.records import Completeness, Frame, Liquidation, Position, RefusedError, check_time_ms

NAME: Final = "tardis_liquidations_csv"
HEADER: Final = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
_COLUMNS: Final = HEADER.count(b",") + 1

Rule = Callable[[Frame, int, list[str], Instruments], Liquidation]

_DIGITS = re.compile(r"\d{1,18}", re.ASCII)

# The side of the closing order, for all exchanges.
_CLOSES: Final[Mapping[str, Position]] = {"sell": "long", "buy": "short"}
_BINANCE_ORDERS: Final = {"sell": "SELL", "buy": "BUY"}
# Bybit's own word is the position's; it is part of an event's identity.
_BYBIT_WORDS: Final = {"sell": "Buy", "buy": "Sell"}
# From this day on the files are made from the complete topic: 2025-02-26 00:00 UTC.
_BYBIT_COMPLETE_MS: Final = 1_740_528_000_000


def _recognise(path: Path, head: bytes) -> bool:
    return head.startswith(HEADER) and "_trades_" not in path.name and "trades" not in path.parts[:-1]


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    return row_frames(ARCHIVE.channel, path, without_header(lines_of(chunks), HEADER), _origin)


def _origin(row: bytes) -> Origin:
    columns = columns_of(row, _COLUMNS)
    exchange = _EXCHANGES.get(columns[0])
    return exchange[0] if exchange else columns[0], _time_us("local_timestamp", columns[3])


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: bytes) -> Liquidation:
        columns = columns_of(row, _COLUMNS)
        known = _EXCHANGES.get(columns[0])
        if known is None:
            raise RefusedError(
                "unknown_exchange", f"no rule for the amounts of {shown(columns[0])}; known are {', '.join(_EXCHANGES)}"
            )
        return known[1](frame, index, columns, instruments)

    return map_rows(frame, lambda payload: (payload,), event_of)


def _binance_linear(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    return _binance(frame, index, columns, instruments, coin_margined=False)


def _binance_inverse(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    return _binance(frame, index, columns, instruments, coin_margined=True)


def _binance(
    frame: Frame, index: int, columns: list[str], instruments: Instruments, *, coin_margined: bool
) -> Liquidation:
    _, symbol, timestamp, _, _, side, price, amount = columns
    order = choice("side", side, _BINANCE_ORDERS)
    forced = binance.ForcedOrder(
        symbol=symbol,
        order=order,
        closes=binance.CLOSES[order],
        quantity=positive("amount", amount),
        average_price=positive("price", price),
        order_price=None,
        event_time=_time_us("timestamp", timestamp) // 1000,
        coin_margined=coin_margined,
    )
    return binance.liquidation_of(frame, index, forced, instruments, price_kind="unknown")


def _bybit(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    _, symbol, timestamp, _, _, side, price, amount = columns
    event_time = _time_us("timestamp", timestamp) // 1000
    own_word = choice("side", side, _BYBIT_WORDS)
    row = bybit.LiquidatedPosition(
        symbol=symbol,
        word=own_word,
        position=bybit.POSITIONS[own_word],
        quantity=positive("amount", amount),
        price=positive("price", price),
        event_time=event_time,
    )
    completeness: Completeness = "full" if event_time >= _BYBIT_COMPLETE_MS else "sampled"
    return bybit.liquidation_of(frame, index, row, 0, instruments, completeness)


def _okx(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    _, symbol, timestamp, _, _, side, price, amount = columns
    row = okx.LiquidationOrder(
        symbol=symbol,
        position_word="",
        order=side,
        position=choice("side", side, _CLOSES),
        contracts=positive("amount", amount),
        price=positive("price", price),
        event_time=_time_us("timestamp", timestamp) // 1000,
    )
    return okx.liquidation_of(frame, index, row, instruments)


def _time_us(name: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise RefusedError("bad_time", f"{name} is {shown(text)}, not µs since 1970")
    check_time_ms(name, int(text) // 1000)
    return int(text)


# Name in the files -> our name, and the rule for its rows.
_EXCHANGES: Final[Mapping[str, tuple[str, Rule]]] = {
    "binance-futures": (binance.FEED.exchange, _binance_linear),
    "binance-delivery": (binance.FEED.exchange, _binance_inverse),
    "bybit": (bybit.FEED.exchange, _bybit),
    "okex-swap": (okx.FEED.exchange, _okx),
    "okex-futures": (okx.FEED.exchange, _okx),
}

ARCHIVE = Archive(NAME, _recognise, _frames, _map)
