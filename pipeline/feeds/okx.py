"""OKX swaps and futures: the channel `liquidation-orders`, candles and readings of the market.

What it shows: orders taken over at the bankruptcy price, not all of them (the documentation says so), sometimes minutes
late and out of order; the first message after a subscription may repeat old rows.

Rules, with `exchange_feeds` 1, 2 and 3.3 as their source:
- `posSide` is the position; in one-way mode it says `net`, and then `side`, the side of the ORDER, tells: sell closes a
  long. The two never disagree in recorded rows; a row where they do is refused.
- `sz` counts contracts of `ctVal x ctMult` coins (linear) or USD (inverse): metadata must give the size.
- One message holds entries of several instruments, one entry several `details`; each is a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from pipeline.feeds.conversations.okx import CONTRACT_TYPES, EXCHANGE, LIVE, NAMES, ORDERS
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Map, Mapped
from pipeline.feeds.market import okx as market
from pipeline.feeds.market.building import Contracts, Thinned
from pipeline.feeds.naming import compact_date, instrument_of
from pipeline.feeds.numbers import choice, positive, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_each_row, object_of
from pipeline.feeds.sizes import known_contract_size, size_of
from pipeline.records import (
    Frame,
    Instrument,
    Liquidation,
    Margin,
    Position,
    RefusedError,
    identity,
    number_text,
)

# The side of the order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"sell": "long", "buy": "short"}
_POSITIONS: Final[Mapping[str, Position | None]] = {"long": "long", "short": "short", "net": None}

# Quote of a contract's name, and how such contracts settle (exchange_feeds 4).
_MARGINS: Final[Mapping[str, Margin]] = {"USDT": "linear", "USDC": "linear", "USD": "inverse"}


_Kind = Literal["order", "candle", "reading", "answer", "ratio"]


class LiquidationOrder(NamedTuple):
    """One element of `details`; `position_word` is empty where a recording left it out."""

    symbol: str
    position_word: str
    order: str
    position: Position
    contracts: Decimal
    price: Decimal
    event_time: int


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None: `BTC-USDT-SWAP`, `XRP-USD-230929`."""
    parts = symbol.split("-")
    if len(parts) != len(("base", "quote", "kind")) or parts[1] not in _MARGINS:
        return None
    base, quote, last = parts
    if last == "SWAP":
        return NAMES.perpetual(symbol, base, quote, _MARGINS[quote])
    return NAMES.dated(symbol, base, quote, _MARGINS[quote], compact_date(last))


def position_of(position_word: object, order: object) -> Position:
    """Return the position that was closed, from `posSide` and the order's `side`."""
    closed = choice("side", order, CLOSES)
    if word("posSide", position_word) not in _POSITIONS:
        raise RefusedError("unknown_word", f"posSide is {shown(position_word)}, not one of {', '.join(_POSITIONS)}")
    if _POSITIONS[str(position_word)] not in (None, closed):
        raise RefusedError("contradictory_position", f"posSide {position_word} cannot be closed by a {order} order")
    return closed


def liquidation_of(frame: Frame, index: int, row: LiquidationOrder, instruments: Instruments) -> Liquidation:
    """Return the event of a row; identity: all that identifies it at the exchange, which gives no id."""
    instrument = instrument_of(EXCHANGE, row.symbol, instruments, named)
    size = size_of(instrument, row.contracts, row.price, known_contract_size(instrument))
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(
            EXCHANGE,
            row.symbol,
            row.position_word,
            row.order,
            row.event_time,
            number_text(row.contracts),
            number_text(row.price),
        ),
        position=row.position,
        price_kind="bankruptcy",
        event_time=row.event_time,
        completeness="sampled",
    )


class _Sent(NamedTuple):
    """One row; `about` is the entry around an element of `details`, or the contract of a candle.

    An entry whose details are no list stands for itself.
    """

    kind: _Kind
    row: object
    about: object = None


def _begin() -> Map:
    """Return the mapping of one connection, which remembers what of the market it has told."""
    thinned = Thinned()

    def mapped(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
        contracts = Contracts(EXCHANGE, instruments, named)

        def events_of(index: int, sent: _Sent) -> Iterable[Mapped]:
            if sent.kind == "order":
                return (_event_of(frame, index, sent, instruments),)
            if sent.kind == "candle":
                return market.candle(frame, word("instId", sent.about), sent.row, contracts, thinned)
            if sent.kind == "ratio":
                return market.account_shares(frame, sent.row, contracts)
            stream = thinned if sent.kind == "reading" else None
            return market.readings(frame, object_of("data row", sent.row), contracts, stream)

        return map_each_row(frame, _rows, events_of)

    return mapped


def _event_of(frame: Frame, index: int, sent: _Sent, instruments: Instruments) -> Liquidation:
    entry = object_of("data entry", sent.about)
    detail = object_of("details", sent.row)
    contract_type = word("instType", entry.get("instType"))
    if contract_type not in CONTRACT_TYPES:
        raise RefusedError(
            "unsupported_instrument_type", f"instType is {shown(contract_type)}, neither SWAP nor FUTURES"
        )
    return liquidation_of(frame, index, _row(entry, detail), instruments)


def _rows(payload: bytes) -> list[_Sent]:
    # The answer to a ping is no JSON.
    if payload in (b"pong", b"ping"):
        return []
    message = object_of("message", json_of(payload))
    # Acknowledgements, errors and notices have an event; data has none.
    if "event" in message:
        return []
    if "code" in message:
        return _answered(message)
    argument = object_of("arg", message.get("arg"))
    channel = argument.get("channel")
    if channel == market.CANDLES:
        return [_Sent("candle", row, argument.get("instId")) for row in list_of("data", message.get("data"))]
    if channel in market.READINGS:
        return [_Sent("reading", row) for row in list_of("data", message.get("data"))]
    return _orders(message) if channel == ORDERS else []


def _orders(message: dict[str, Any]) -> list[_Sent]:
    found: list[_Sent] = []
    for entry in list_of("data", message.get("data")):
        details = entry.get("details") if isinstance(entry, dict) else None
        if isinstance(details, list):
            found.extend(_Sent("order", detail, entry) for detail in details)
        else:
            found.append(_Sent("order", details, entry))
    return found


def _answered(message: dict[str, Any]) -> list[_Sent]:
    """Return the rows of an answer to a request for readings; lists of contracts and times have none."""
    if message["code"] != "0":
        raise RefusedError("request_refused", f"{shown(message['code'])}: {shown(message.get('msg'))}")
    found: list[_Sent] = []
    for row in list_of("data", message.get("data")):
        if isinstance(row, list):
            found.append(_Sent("ratio", row))
        elif isinstance(row, dict) and not row.keys().isdisjoint(market.ANSWERED):
            found.append(_Sent("answer", row))
    return found


def _row(entry: dict[str, Any], detail: dict[str, Any]) -> LiquidationOrder:
    position_word, order = detail.get("posSide"), detail.get("side")
    position = position_of(position_word, order)
    return LiquidationOrder(
        symbol=word("instId", entry.get("instId")),
        position_word=str(position_word),
        order=str(order),
        position=position,
        contracts=positive("sz", detail.get("sz")),
        price=positive("bkPx", detail.get("bkPx")),
        event_time=time_ms_of("ts", detail.get("ts")),
    )


FACTS: Final = Facts(
    markets=("swaps, linear and inverse", "dated futures, linear and inverse"),
    eras=(
        Era(
            "",
            "sampled",
            "Not the total number of liquidations; older texts say one order per contract and second.",
            "OKX documentation",
        ),
    ),
    price_kind="bankruptcy",
    delay="seconds, sometimes minutes, and out of order",
    since="2022",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`posSide` is the position; where it says net, `side`, the side of the ORDER, tells: sell closes a long,"
            " buy a short. A row in which the two disagree is refused.",
            "OKX documentation; 100 recorded rows in which they agree",
        ),
        Rule(
            "counted",
            "Every element of `details` of every entry of `data`; SWAP and FUTURES only.",
            "OKX documentation",
        ),
        Rule(
            "quantity",
            "`sz` counts contracts of `ctVal` x `ctMult` coins (linear) or USD (inverse). Without metadata a row is"
            " refused.",
            "OKX documentation",
        ),
        Rule(
            "price",
            "`bkPx`, called bankruptcy price, since 2026-07 the price of the transaction with the liquidation account;"
            " not the market's.",
            "OKX documentation",
        ),
        Rule("time", "`ts` of the detail, milliseconds as text.", "OKX documentation"),
        Rule(
            "identity",
            "Instrument, `posSide`, `side`, `ts`, `sz` and `bkPx`: there is no id. The first message after subscribing"
            " may repeat rows, which keep their identity.",
            "OKX documentation; recorded messages",
        ),
        Rule(
            "instrument",
            "`instruments` of SWAP and FUTURES; without metadata the name (BTC-USDT-SWAP, XRP-USD-230929), but never a"
            " contract size.",
            "OKX documentation",
        ),
        Rule(
            "liveness",
            "One topic covers all swaps, one all futures. The text `ping` is answered by `pong`; the server cuts after"
            " 30 s without a message.",
            "OKX documentation",
        ),
    ),
    caveats=(
        "A lower bound: how much is left out is not known.",
        "Rows can be minutes late; they then correct a closed bar.",
    ),
)

FEED = Feed(EXCHANGE, _begin, FACTS, LIVE)
