"""Bitget futures (UTA v3): the topic `liquidation` of each kind of futures.

What it shows: once per second, of each symbol and side the row with the largest size only.

Rules, with `exchange_feeds` 1, 2, 3.11 and Bitget's documentation as their source:
- `side` is the POSITION's: buy is a liquidated long, sell a liquidated short.
- `amount` is money, in the QUOTE coin; the size is amount / price. No contract size is needed.
- The documentation calls `price` nothing but that, so its kind is unknown.
- `ts` of a row is its time, milliseconds as text; the message's own `ts` is the push.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from pipeline.feeds.conversations.bitget import EXCHANGE, LIVE, MARKETS, NAMES, TOPIC
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import choice, positive, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import size_of_value
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

# The side of the position itself.
POSITIONS: Final[Mapping[str, Position]] = {"buy": "long", "sell": "short"}
# Endings of perpetuals' symbols, their quotes and margins: `BTCUSDT`, `BTCPERP`, `BTCUSD`. None ends another.
_ENDINGS: Final[tuple[tuple[str, str, Margin], ...]] = (
    ("USDT", "USDT", "linear"),
    ("PERP", "USDC", "linear"),
    ("USD", "USD", "inverse"),
)


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a perpetual, or None; a dated contract needs metadata."""
    for ending, quote, margin in _ENDINGS:
        if symbol.endswith(ending):
            return NAMES.perpetual(symbol, symbol.removesuffix(ending), quote, margin)
    return None


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: object) -> Liquidation:
        return _liquidation_of(frame, index, object_of("data row", row), instruments)

    return map_rows(frame, _rows, event_of)


def _rows(payload: bytes) -> list[Any]:
    # The answer to a ping is no JSON.
    if payload in (b"pong", b"ping"):
        return []
    message = object_of("message", json_of(payload))
    # Acknowledgements and errors have an event; data has none.
    if "event" in message:
        return []
    topic = object_of("arg", message.get("arg"))
    if word("topic", topic.get("topic")) != TOPIC:
        return []
    market = word("instType", topic.get("instType"))
    if market not in MARKETS:
        raise RefusedError("unknown_market", f"instType is {shown(market)}, not one of {', '.join(MARKETS)}")
    return list_of("data", message.get("data"))


def _liquidation_of(frame: Frame, index: int, row: dict[str, Any], instruments: Instruments) -> Liquidation:
    symbol, side = word("symbol", row.get("symbol")), row.get("side")
    position = choice("side", side, POSITIONS)
    amount, price = positive("amount", row.get("amount")), positive("price", row.get("price"))
    time_ms = time_ms_of("ts", row.get("ts"))
    instrument = instrument_of(EXCHANGE, symbol, instruments, named)
    size = size_of_value(instrument, amount, price)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, symbol, str(side), time_ms, number_text(amount), number_text(price)),
        position=position,
        price_kind="unknown",
        event_time=time_ms,
        completeness="largest_per_second",
    )


FACTS: Final = Facts(
    markets=("USDT futures, linear", "USDC futures, linear", "coin futures, inverse"),
    eras=(
        Era(
            "",
            "largest_per_second",
            "Once per second, of each symbol and side the row with the largest size.",
            "Bitget documentation",
        ),
    ),
    price_kind="unknown",
    delay="up to one second, the window of the choice",
    since="2025-01 or earlier",
    positions=POSITIONS,
    rules=(
        Rule("position", "`side` is the position's: buy is a long, sell a short.", "Bitget documentation"),
        Rule(
            "quantity",
            "`amount` is money in the quote coin; the size in coins is amount / price.",
            "Bitget documentation; 13.70319 / 0.1649 is exactly 83.1 coins",
        ),
        Rule("price", "`price`, of a kind that the documentation does not name.", "Bitget documentation"),
        Rule("time", "The row's `ts`, milliseconds as text.", "Bitget documentation"),
        Rule("identity", "Symbol, side, `ts`, amount and price: there is no id.", "Bitget documentation"),
        Rule(
            "instrument",
            "`instruments` of each category; without metadata perpetuals by name: BTCUSDT, BTCPERP (USDC), BTCUSD"
            " (inverse). Listings of 1000 come from a table.",
            "Bitget documentation",
        ),
        Rule(
            "liveness",
            "The text `ping` every 30 s is answered by `pong`; a connection ends after 24 hours.",
            "Bitget documentation",
        ),
    ),
    caveats=(
        "A lower bound, and a biased one: small liquidations of a second with a larger one are never shown.",
        "That `amount` is USD on coin futures, too, rests on the documentation alone.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
