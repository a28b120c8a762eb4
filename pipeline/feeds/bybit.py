"""Bybit v5 linear and inverse contracts: the topics `allLiquidation` and, before 2025, `liquidation`.

What they show: `allLiquidation` every liquidation, in frames of 500 ms; the old topic one per symbol and second. The
price is the bankruptcy price, not a fill. Candles and readings of the market: `pipeline.feeds.market.bybit`.

Rules, with `exchange_feeds` 1, 2 and 3.2 as their source:
- `S` (old: `side`) is the side of the POSITION: Buy is a liquidated long, Sell a liquidated short; the opposite of
  Binance's word.
- Quantities are coins on linear contracts and USD (contracts of 1 USD) on inverse ones.
- The old topic's row is one object with `size` and `updatedTime`, in its first form `qty` and `time`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from pipeline.feeds.conversations.bybit import EXCHANGE, LIVE, NAMES
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Map, Mapped
from pipeline.feeds.market import bybit as market
from pipeline.feeds.market.building import Contracts, Thinned
from pipeline.feeds.naming import instrument_of, worded_date
from pipeline.feeds.numbers import choice, positive, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_each_row, object_of
from pipeline.feeds.sizes import size_of
from pipeline.records import (
    Completeness,
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
    number_text,
)

# The side of the position itself.
POSITIONS: Final[Mapping[str, Position]] = {"Buy": "long", "Sell": "short"}

# Documented for all inverse contracts of the exchange (exchange_feeds 2), so it is a rule, not a guess.
INVERSE_CONTRACT_USD: Final = 1.0

_QUARTERLY = re.compile(r"(?P<base>\w+)USD(?P<month>[FGHJKMNQUVXZ])(?P<year>\d\d)")
# The letters of the months on futures exchanges, January to December.
_MONTH_LETTERS: Final = "FGHJKMNQUVXZ"

_Kind = Literal["liquidation", "old liquidation", "candle", "tickers", "answer"]
_TOPICS: Final[Mapping[str, _Kind]] = {
    "allLiquidation.": "liquidation",
    "liquidation.": "old liquidation",
    market.CANDLES: "candle",
    market.TICKERS: "tickers",
}
# Whose data are a list; the others' are one object.
_LISTS: Final = ("liquidation", "candle")
_COMPLETENESS: Final[Mapping[_Kind, Completeness]] = {"liquidation": "full", "old liquidation": "sampled"}


class LiquidatedPosition(NamedTuple):
    """One row of either topic; the `word` as sent is kept for the identity, `position` is what it means."""

    symbol: str
    word: str
    position: Position
    quantity: Decimal
    price: Decimal
    event_time: int


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `BTCUSDT` and `BTCPERP` (quoted in USDC) perpetual; `BTCUSDT-21FEB25` and `BTC-26DEC25` (USDC) dated; `BTCUSD`
    inverse perpetual; `BTCUSDH25` inverse quarterly, of which the name tells the month only.
    """
    pair, dash, last = symbol.partition("-")
    if dash:
        quote = "USDT" if pair.endswith("USDT") else "USDC"
        return NAMES.dated(symbol, pair.removesuffix("USDT"), quote, "linear", worded_date(last))
    for ending, quote in (("USDT", "USDT"), ("PERP", "USDC")):
        if symbol.endswith(ending):
            return NAMES.perpetual(symbol, symbol.removesuffix(ending), quote, "linear")
    if symbol.endswith("USD"):
        return NAMES.perpetual(symbol, symbol.removesuffix("USD"), "USD", "inverse")
    quarterly = _QUARTERLY.fullmatch(symbol)
    if quarterly is None or not quarterly["year"].isascii():
        return None
    year, month = 2000 + int(quarterly["year"]), 1 + _MONTH_LETTERS.index(quarterly["month"])
    return NAMES.month(symbol, quarterly["base"], "USD", "inverse", year, month)


def liquidation_of(
    frame: Frame,
    index: int,
    row: LiquidatedPosition,
    occurrence: int,
    instruments: Instruments,
    completeness: Completeness,
) -> Liquidation:
    """Return the event of a row.

    Identity: all its fields and its `occurrence` among rows of the frame that are equal in all of them, since two
    positions can be closed in the same millisecond at the same size and price. The row's place in the frame would not
    do: another collector may get the same rows in other frames.
    """
    instrument = instrument_of(EXCHANGE, row.symbol, instruments, named)
    contract_size = instrument.contract_size
    if instrument.margin == "inverse" and contract_size is None:
        contract_size = INVERSE_CONTRACT_USD
    size = size_of(instrument, row.quantity, row.price, contract_size)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(
            EXCHANGE,
            row.symbol,
            row.word,
            row.event_time,
            number_text(row.quantity),
            number_text(row.price),
            occurrence,
        ),
        position=row.position,
        price_kind="bankruptcy",
        event_time=row.event_time,
        completeness=completeness,
    )


class _Sent(NamedTuple):
    """One row with the message it came in."""

    kind: _Kind
    row: object
    message: dict[str, Any]


def _begin() -> Map:
    """Return the mapping of one connection, which remembers its tickers and what of the market it has told."""
    tickers, thinned = market.Tickers(), Thinned()

    def mapped(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
        seen: Counter[LiquidatedPosition] = Counter()
        contracts = Contracts(EXCHANGE, instruments, named)

        def events_of(index: int, sent: _Sent) -> Iterable[Mapped]:
            fields = object_of("data row", sent.row)
            if sent.kind == "tickers":
                return tickers.read(frame, sent.message, contracts, thinned)
            if sent.kind == "candle":
                symbol = sent.message["topic"].removeprefix(market.CANDLES)
                return market.candle(frame, symbol, fields, contracts, thinned)
            if sent.kind == "answer":
                return market.of_answer(frame, fields, sent.message.get("time"), contracts)
            row = _row(fields) if sent.kind == "liquidation" else _old_row(fields)
            event = liquidation_of(frame, index, row, seen[row], instruments, _COMPLETENESS[sent.kind])
            seen[row] += 1
            return (event,)

        return map_each_row(frame, _rows, events_of)

    return mapped


def _rows(payload: bytes) -> list[_Sent]:
    message = object_of("message", json_of(payload))
    topic = message.get("topic")
    if topic is None:
        return _answered(message)
    if not isinstance(topic, str):
        raise RefusedError("unknown_word", f"topic is {shown(topic)}, not a text")
    for prefix, kind in _TOPICS.items():
        if topic.startswith(prefix):
            data = message.get("data")
            if kind in _LISTS:
                return [_Sent(kind, row, message) for row in list_of("data", data)]
            return [_Sent(kind, row, message) for row in (data if isinstance(data, list) else [data])]
    return []


def _answered(message: dict[str, Any]) -> list[_Sent]:
    """Return the rows of an answer to a request for readings; another answer has none."""
    if "retCode" in message:
        if message["retCode"] != 0:
            raise RefusedError("request_refused", f"{shown(message['retCode'])}: {shown(message.get('retMsg'))}")
        rows = object_of("result", message.get("result")).get("list")
        return [_Sent("answer", row, message) for row in rows] if isinstance(rows, list) else []
    # Acknowledgements and pongs name the request's operation.
    if "op" in message or "success" in message:
        return []
    raise RefusedError("unexpected_message", "neither a topic nor an acknowledgement (op)")


def _row(row: dict[str, Any]) -> LiquidatedPosition:
    return LiquidatedPosition(
        symbol=word("s", row.get("s")),
        position=choice("S", row.get("S"), POSITIONS),
        word=row["S"],
        quantity=positive("v", row.get("v")),
        price=positive("p", row.get("p")),
        event_time=time_ms_of("T", row.get("T")),
    )


def _old_row(row: dict[str, Any]) -> LiquidatedPosition:
    return LiquidatedPosition(
        symbol=word("symbol", row.get("symbol")),
        position=choice("side", row.get("side"), POSITIONS),
        word=row["side"],
        quantity=positive("size", row.get("size", row.get("qty"))),
        price=positive("price", row.get("price")),
        event_time=time_ms_of("updatedTime", row.get("updatedTime", row.get("time"))),
    )


FACTS: Final = Facts(
    markets=("USDT and USDC contracts, linear", "coin-margined contracts, inverse"),
    eras=(
        Era("", "sampled", "Topic `liquidation`: one order per symbol and second.", "Bybit documentation"),
        Era("2025-02-20", "full", "Topic `allLiquidation`: every liquidation.", "Bybit documentation"),
    ),
    price_kind="bankruptcy",
    delay="up to 500 ms, the interval of the frames",
    since="2025-02-20; the old topic until 2025-11",
    positions=POSITIONS,
    rules=(
        Rule(
            "position",
            "`S` (old topic: `side`) is the side of the POSITION: Buy is a liquidated long, Sell a short.",
            "Bybit documentation since 2023-08-31 (before it said the opposite); 30 recorded rows against the book",
        ),
        Rule("counted", "Every row of `data`, which is a list; in the old topic one object.", "Bybit documentation"),
        Rule(
            "quantity",
            "`v` (old topic: `size`, in its first form `qty`): coins on linear contracts, USD on inverse ones.",
            "Bybit documentation",
        ),
        Rule("price", "`p` (old topic: `price`), the bankruptcy price.", "Bybit documentation"),
        Rule(
            "time",
            "`T` (old topic: `updatedTime`, in its first form `time`), milliseconds. `ts` is the push.",
            "Bybit documentation",
        ),
        Rule(
            "identity",
            "Symbol, side, `T`, size, price, and the number among rows of one frame that are equal in all of these.",
            "Bybit documentation; recorded messages",
        ),
        Rule(
            "instrument",
            "`instruments-info`. Without metadata the documented naming: BTCUSDT, BTCPERP (USDC), BTCUSD (inverse),"
            " BTCUSDT-21FEB25, BTC-26DEC25 (USDC), BTCUSDH25 (inverse; the month only). Listings of 1000 or more come"
            " from a table, the factor in front or behind.",
            "Bybit documentation",
        ),
        Rule(
            "liveness",
            "A topic per contract, no topic for a market; at most 21,000 characters of topics on a connection. `ping`"
            " every 20 s is answered; an idle connection ends after 10 minutes.",
            "Bybit documentation",
        ),
    ),
    caveats=(
        "A new listing is covered from the moment its topic is confirmed.",
        "The bankruptcy price lies up to some percent beyond the market.",
        "Long/short ratios exist for USDT and inverse perpetuals.",
    ),
)

FEED = Feed(EXCHANGE, _begin, FACTS, LIVE)
