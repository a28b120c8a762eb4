"""Pacifica perpetuals: the trade tape `trades`, of which the trades caused by a liquidation are forced.

What it shows: every fill of a liquidation order, so one liquidation may be several events. The price is the fill's.

Rules, with Pacifica's documentation (trades, recent trades, liquidations, market symbols) as their source:
- The tape shows each trade from the taker's side, and a liquidation is a market order into the book: `d` is what the
  liquidated account did. close_long closed a long, close_short a short. A liquidation that opens a position
  contradicts itself and is refused.
- `tc` tells trades apart: `market_liquidation` and `backstop_liquidation` are forced; `normal` is ordinary;
  `settlement` is auto-deleveraging or a delisting, and no liquidation. Another word is refused.
- A backstop liquidation hands the position over to a liquidator outside the book, at a price of unknown kind.
- `a` counts units of the listed name, `p` is USD for one of them, `t` is in milliseconds.
- `h` identifies the taker's side of a trade. Rows of the layout before it, which showed both sides of each trade, have
  none and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.feeds.conversations.pacifica import EXCHANGE, LIVE, TRADES, named
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import choice, positive, shown, time_ms_of, whole_number, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import size_of
from pipeline.records import (
    Frame,
    Liquidation,
    Position,
    PriceKind,
    RefusedError,
    identity,
)

# What the liquidated account did, and the position that this closed.
CLOSES: Final[Mapping[str, Position]] = {"close_long": "long", "close_short": "short"}
_OPENS: Final = ("open_long", "open_short")
# Whether trades of a cause are liquidations, and how they were made.
_CAUSES: Final[Mapping[str, str]] = {
    "market_liquidation": "in the book",
    "backstop_liquidation": "handed over",
    "normal": "ordinary",
    "settlement": "ordinary",
}
_PRICE_KINDS: Final[Mapping[str, PriceKind]] = {"in the book": "fill", "handed over": "unknown"}
# Errors have no channel.
_ERRORS: Final = ("error", "err")


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: object) -> Liquidation | None:
        trade = object_of("trade", row)
        price_kind = _PRICE_KINDS.get(choice("tc", trade.get("tc"), _CAUSES))
        return None if price_kind is None else _liquidation_of(frame, index, trade, price_kind, instruments)

    return map_rows(frame, _trades, event_of)


def _trades(payload: bytes) -> list[Any]:
    message = object_of("message", json_of(payload))
    if "channel" not in message and any(name in message for name in _ERRORS):
        return []
    # Acknowledgements, pongs and other streams have channels of their own.
    if word("channel", message.get("channel")) != TRADES:
        return []
    return list_of("data", message.get("data"))


def _liquidation_of(
    frame: Frame, index: int, trade: Mapping[str, Any], price_kind: PriceKind, instruments: Instruments
) -> Liquidation:
    symbol = word("s", trade.get("s"))
    position = _position_of(trade.get("d"))
    amount, price = positive("a", trade.get("a")), positive("p", trade.get("p"))
    instrument = instrument_of(EXCHANGE, symbol, instruments, named)
    return liquidation(
        frame,
        index,
        instrument,
        size_of(instrument, amount, price, instrument.contract_size),
        event_id=identity(EXCHANGE, symbol, whole_number("h", trade.get("h"))),
        position=position,
        price_kind=price_kind,
        event_time=time_ms_of("t", trade.get("t")),
        completeness="full",
    )


def _position_of(side: object) -> Position:
    if side in _OPENS:
        raise RefusedError("contradictory_position", f"d is {shown(side)}, and no liquidation opens a position")
    return choice("d", side, CLOSES)


FACTS: Final = Facts(
    markets=("perpetuals, linear, with USDC as margin: coins, shares, currencies, commodities",),
    eras=(
        Era(
            "",
            "full",
            "Every fill of every liquidation order, and every position that is handed over to a liquidator.",
            "Pacifica documentation: trades",
        ),
    ),
    price_kind="fill",
    delay="none is documented",
    since="2025-12 in today's form",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`d` tells what the taker did, and the liquidated account is the taker: close_long closed a long,"
            " close_short a short. A liquidation with open_long or open_short contradicts itself and is refused.",
            "Pacifica documentation: trades, liquidations",
        ),
        Rule(
            "counted",
            "Trades whose `tc` is market_liquidation or backstop_liquidation count. normal and settlement"
            " (auto-deleveraging, delisting) do not; another word is refused.",
            "Pacifica documentation: recent trades",
        ),
        Rule("quantity", "`a` counts units of the listed name.", "Pacifica documentation: recent trades"),
        Rule(
            "price",
            "`p` is the fill's, in USD. Of a backstop_liquidation it is the price of the handing over, whose kind is"
            " not told: `unknown`.",
            "Pacifica documentation: recent trades, account liquidations",
        ),
        Rule("time", "`t`, milliseconds.", "Pacifica documentation: trades"),
        Rule("identity", "`h`, the history id of the taker's side.", "Pacifica documentation: trades"),
        Rule(
            "instrument",
            "A symbol is the coin, in capitals; kBONK and kPEPE are 1000 of theirs, from a table. Another name with a"
            " small letter is refused.",
            "Pacifica documentation: market symbols, market info",
        ),
        Rule(
            "liveness",
            "20 markets per connection; a `ping` is answered by `pong`; a connection ends after 60 s without a message"
            " from us, and after 24 hours.",
            "Pacifica documentation: WebSocket, rate limits",
        ),
    ),
    caveats=(
        "The whole trade tape must be read to see the liquidations in it.",
        "One liquidation is as many events as it has fills; large positions are closed in several orders.",
        "The rules rest on the documentation: no recorded liquidation was there to prove them with.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
