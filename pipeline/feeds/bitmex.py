"""BitMEX contracts: the table `liquidation`, sent as changes.

What it shows: every forced order while it is open, at its limit price, which is no fill's.

Rules, with `exchange_feeds` 1, 2, 3.4 and BitMEX's documentation as their source:
- `side` is that of the forced ORDER: Sell closes a long, Buy a short. Updates do not repeat it.
- An `insert` is a liquidation of its whole `leavesQty`. An `update` that raises `leavesQty` is one of the difference;
  one that lowers it is a fill, one of the price an amendment, a `delete` the end of the order: no liquidations.
- `partial` holds what was open before the connection. Its rows count under the order's id, as their inserts do, so what
  an earlier connection has brought is the same event.
- Sizes count contracts, whose size only metadata tells. ETHUSD and its like are quanto: refused, since their value in
  USD needs the price of Bitcoin.
- No message has a time: the time is that of its receipt, and says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.bitmex import DELETE, EXCHANGE, INSERT, LIVE, NAMES, PARTIAL, TABLE, UPDATE
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Map, Mapped
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import choice, decimal_of, positive, shown, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import known_contract_size, size_of
from pipeline.records import (
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
    number_text,
)

# The side of the forced order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"Sell": "long", "Buy": "short"}
_ACTIONS: Final[Mapping[str, str]] = {action: action for action in (PARTIAL, INSERT, UPDATE, DELETE)}
# The letters of the months on futures exchanges, January to December.
_MONTH_LETTERS: Final = "FGHJKMNQUVXZ"
_DATED = re.compile(rf"XBT(?P<month>[{_MONTH_LETTERS}])(?P<year>\d\d)", re.ASCII)


@dataclass(slots=True)
class _Order:
    """A forced order that is open on this connection; `steps` counts its increases by what they led from and to."""

    symbol: str
    position: Position
    contracts: Decimal
    price: object
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Closure(NamedTuple):
    """What one row closes, and what identifies it at the exchange beside exchange and symbol."""

    order: _Order
    contracts: Decimal
    natural: tuple[str | int, ...]


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `XBTUSD` inverse and `XBTUSDT` linear perpetual; any other coin against USD is quanto; `XBTM26` inverse, dated, of
    which the name tells the month only.
    """
    if symbol.endswith("USDT"):
        return NAMES.perpetual(symbol, symbol.removesuffix("USDT"), "USDT", "linear")
    if symbol.endswith("USD"):
        base = symbol.removesuffix("USD")
        return NAMES.perpetual(symbol, base, "USD", "inverse" if base == "XBT" else "quanto")
    dated = _DATED.fullmatch(symbol)
    if dated is None:
        return None
    month = 1 + _MONTH_LETTERS.index(dated["month"])
    return NAMES.month(symbol, "XBT", "USD", "inverse", 2000 + int(dated["year"]), month)


def _begin() -> Map:
    """Return the mapping of one connection, with its own table of open orders."""
    orders: dict[str, _Order] = {}

    def mapping(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
        def event_of(index: int, sent: tuple[str, object]) -> Liquidation | None:
            closure = _closure(orders, sent[0], object_of("data row", sent[1]))
            return None if closure is None else _liquidation_of(frame, index, closure, instruments)

        return map_rows(frame, _rows, event_of)

    return mapping


def _rows(payload: bytes) -> list[tuple[str, Any]]:
    """Return the rows of the table, each with what is done with it."""
    # The answer to a ping is no JSON.
    if payload in (b"pong", b"ping"):
        return []
    message = object_of("message", json_of(payload))
    table = message.get("table")
    if table is None:
        # Greetings, acknowledgements and errors.
        if not message.keys().isdisjoint(("info", "success", "error")):
            return []
        raise RefusedError("unexpected_message", "neither a table nor an acknowledgement (info, success, error)")
    if table != TABLE:
        return []
    action = choice("action", message.get("action"), _ACTIONS)
    return [(action, row) for row in list_of("data", message.get("data"))]


def _closure(orders: dict[str, _Order], action: str, row: dict[str, Any]) -> _Closure | None:
    order_id = word("orderID", row.get("orderID"))
    if action == DELETE:
        orders.pop(order_id, None)
        return None
    if action == UPDATE:
        return _raised(orders, order_id, row)
    if action == PARTIAL and order_id in orders:
        # A second subscription on the same connection repeats the table.
        return None
    order = _Order(
        symbol=word("symbol", row.get("symbol")),
        position=choice("side", row.get("side"), CLOSES),
        contracts=positive("leavesQty", row.get("leavesQty")),
        price=row.get("price"),
    )
    orders[order_id] = order
    return _Closure(order, order.contracts, (order_id,))


def _raised(orders: dict[str, _Order], order_id: str, row: dict[str, Any]) -> _Closure | None:
    """Return what an update adds to its order, None where it adds nothing."""
    leaves = row.get("leavesQty")
    order = orders.get(order_id)
    if order is None:
        if leaves is None:
            return None
        raise RefusedError("unknown_order", f"leavesQty changes of order {shown(order_id)}, which was never sent")
    if row.get("price") is not None:
        order.price = row["price"]
    if leaves is None:
        return None
    before, after = order.contracts, decimal_of("leavesQty", leaves)
    if after < 0:
        raise RefusedError("bad_number", f"leavesQty is {shown(leaves)}, a negative number")
    order.contracts = after
    if after <= before:
        return None
    step = (number_text(before), number_text(after))
    # An order may be filled and raised again by the same step.
    occurrence = order.steps[step]
    order.steps[step] += 1
    return _Closure(order, after - before, (order_id, *step, occurrence))


def _liquidation_of(frame: Frame, index: int, closure: _Closure, instruments: Instruments) -> Liquidation:
    order = closure.order
    instrument = instrument_of(EXCHANGE, order.symbol, instruments, named)
    contract_size = None if instrument.margin == "quanto" else known_contract_size(instrument)
    size = size_of(instrument, closure.contracts, positive("price", order.price), contract_size)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, order.symbol, *closure.natural),
        position=order.position,
        price_kind="order",
        event_time=frame.received_time // 1000,
        event_time_kind="received",
        completeness="full",
    )


FACTS: Final = Facts(
    markets=("inverse, XBTUSD and dated", "linear, quoted in USDT and USDC", "quanto: refused, without a value in USD"),
    eras=(Era("", "full", "Every forced order while it is open.", "BitMEX documentation, recorded messages"),),
    price_kind="order",
    delay="none is documented; the messages have no time",
    since="2019 or earlier",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`side` is that of the forced order: Sell closes a long, Buy a short. Updates do not repeat it.",
            "BitMEX documentation, tardis-node",
        ),
        Rule(
            "quantity",
            "`leavesQty` counts contracts: one coin has `underlyingToPositionMultiplier` of them (linear); one is"
            " -`multiplier` / 1e8 USD (inverse, settled in XBt).",
            "BitMEX documentation: instrument fields",
        ),
        Rule("price", "`price` is the order's limit price, which an update may change.", "BitMEX documentation"),
        Rule("time", "No message has a time; the event's is that of its receipt.", "recorded messages"),
        Rule(
            "identity",
            "`orderID`; an increase by what it leads from and to, and how often the order had it before.",
            "recorded messages",
        ),
        Rule(
            "counted",
            "`insert` and rows of `partial` with all of `leavesQty`, an `update` that raises it with the difference."
            " Lower values are fills, price-only updates amendments, `delete` the end: none is counted. An update of"
            " `leavesQty` for an order that the connection never sent is refused.",
            "BitMEX documentation, recorded messages (12900 raised to 21600)",
        ),
        Rule(
            "instrument",
            "`instrument/active`; without metadata by name: XBTUSD, XBTUSDT, XBTM26. XBT is BTC. Contracts that are"
            " not quoted in USD, USDT or USDC are not served.",
            "BitMEX documentation: instrument fields",
        ),
        Rule("liveness", "The text `ping` is answered by `pong`.", "BitMEX documentation"),
    ),
    caveats=(
        "An order that was raised while no connection was there keeps the size that was seen first.",
        "An order open at the first connection counts with what is left of it, and at the time of the connection.",
        "Quanto contracts (ETHUSD) are refused with `unsupported_margin`: their value needs the price of Bitcoin.",
    ),
)

FEED = Feed(EXCHANGE, _begin, FACTS, LIVE)
