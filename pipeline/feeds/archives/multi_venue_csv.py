"""A recording of Binance, Bybit and OKX side by side, one event a row.

Columns: id, exchange, symbol, side (the liquidated position), raw_side (the exchange's own word), qty, price,
mark_price, notional_usd, event_ts, inserted_ts (both ms).

- The position is read from `raw_side` by the exchange's own rule; a row whose `side` says otherwise is refused.
- Symbols are written as `ETHUSDT` everywhere; on OKX that is the swap `ETH-USDT-SWAP`, and `qty` counts its contracts.
- `notional_usd` is not read: on OKX it is qty x 0.1 x one price that stays the same in all rows, not the row's.
- Binance's price is the average fill (it lies within 0.04 % of the mark price throughout, where order prices lie 0.3 to
  4 % off), Bybit's and OKX's the bankruptcy price.
- `inserted_ts` is the recorder's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.feeds import binance, bybit, okx
from pipeline.feeds.archives.lines import Origin, columns_of, lines_of, row_frames, without_header
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.numbers import choice, positive, shown, time_ms_of
from pipeline.feeds.rows import map_rows
from pipeline.records import Frame, Liquidation, RefusedError

NAME: Final = "multi_venue_csv"
HEADER: Final = b"id,exchange,symbol,side,raw_side,qty,price,mark_price,notional_usd,event_ts,inserted_ts"
_COLUMNS: Final = HEADER.count(b",") + 1
_QUOTE: Final = "USDT"

Rule = Callable[[Frame, int, list[str], Instruments], Liquidation]


def _recognise(path: Path, head: bytes) -> bool:  # noqa: ARG001 - the name tells nothing
    return head.startswith(HEADER)


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    return row_frames(ARCHIVE.channel, path, without_header(lines_of(chunks), HEADER), _origin)


def _origin(row: bytes) -> Origin:
    columns = columns_of(row, _COLUMNS)
    return columns[1], 1000 * time_ms_of("inserted_ts", columns[10])


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: bytes) -> Liquidation:
        columns = columns_of(row, _COLUMNS)
        event = _rule_of(columns[1])(frame, index, columns, instruments)
        if event.position != columns[3]:
            raise RefusedError(
                "contradictory_position", f"side is {shown(columns[3])}, but raw_side {shown(columns[4])}"
            )
        return event

    return map_rows(frame, lambda payload: (payload,), event_of)


def _rule_of(exchange: str) -> Rule:
    rule = _RULES.get(exchange)
    if rule is None:
        raise RefusedError("unknown_exchange", f"no rule for rows of {shown(exchange)}; known are {', '.join(_RULES)}")
    return rule


def _binance(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    forced = binance.ForcedOrder(
        symbol=columns[2],
        order=columns[4],
        closes=choice("raw_side", columns[4], binance.CLOSES),
        quantity=positive("qty", columns[5]),
        average_price=positive("price", columns[6]),
        order_price=None,
        event_time=time_ms_of("event_ts", columns[9]),
    )
    return binance.liquidation_of(frame, index, forced, instruments)


def _bybit(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    row = bybit.LiquidatedPosition(
        symbol=columns[2],
        word=columns[4],
        position=choice("raw_side", columns[4], bybit.POSITIONS),
        quantity=positive("qty", columns[5]),
        price=positive("price", columns[6]),
        event_time=time_ms_of("event_ts", columns[9]),
    )
    # The old topic had been gone for a year when this was recorded.
    return bybit.liquidation_of(frame, index, row, 0, instruments, "full")


def _okx(frame: Frame, index: int, columns: list[str], instruments: Instruments) -> Liquidation:
    position_word, colon, order = columns[4].partition(":")
    if not colon or not columns[2].endswith(_QUOTE):
        raise RefusedError("bad_row", f"not an OKX row: {shown(columns[2])}, {shown(columns[4])}")
    row = okx.LiquidationOrder(
        symbol=f"{columns[2].removesuffix(_QUOTE)}-{_QUOTE}-SWAP",
        position_word=position_word,
        order=order,
        position=okx.position_of(position_word, order),
        contracts=positive("qty", columns[5]),
        price=positive("price", columns[6]),
        event_time=time_ms_of("event_ts", columns[9]),
    )
    return okx.liquidation_of(frame, index, row, instruments)


_RULES: Final[Mapping[str, Rule]] = {
    binance.FEED.exchange: _binance,
    bybit.FEED.exchange: _bybit,
    okx.FEED.exchange: _okx,
}

ARCHIVE = Archive(NAME, _recognise, _frames, _map)
