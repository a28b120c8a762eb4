"""Deribit perpetuals and futures: the trades, of which those with a `liquidation` are forced.

What it shows: every fill of a liquidation, so one order may be several events. The price is the fill's.

Rules, with `exchange_feeds` 1, 2, 3.5 and Deribit's documentation as their source:
- `direction` is the TAKER's side; `liquidation` says who was liquidated: `T` the taker, `M` the maker, `MT` both. So
  with `T` a sell closes a long and a buy a short, with `M` the other way round, and `MT` is two liquidations, one of
  each. The direction alone says nothing.
- A trade without `liquidation` is an ordinary one.
- `amount` is USD on inverse contracts and coins on linear ones (`_USDC`, `_USDT`). Neither needs a contract size.
- `timestamp` is in milliseconds; `trade_id` identifies the fill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.deribit import EXCHANGE, LIVE, NAMES, QUOTES, TRADES
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import instrument_of, worded_date
from pipeline.feeds.numbers import choice, positive, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import size_of
from pipeline.records import (
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
)

# Who was liquidated and the taker's direction, and what that closed.
POSITIONS: Final[Mapping[str, Position]] = {"T sell": "long", "T buy": "short", "M sell": "short", "M buy": "long"}
# The parties that each word names.
_BOTH: Final = "MT"
_LIQUIDATED: Final[Mapping[str, tuple[str, ...]]] = {"T": ("T",), "M": ("M",), _BOTH: ("M", "T")}
_DIRECTIONS: Final[Mapping[str, str]] = {"buy": "buy", "sell": "sell"}
# Amounts of inverse contracts are USD, not contracts.
_ONE_USD: Final = 1.0
_PERPETUAL: Final = "PERPETUAL"


class _Part(NamedTuple):
    """A trade, and the place in the list of those liquidated in it."""

    trade: object
    place: int


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `BTC-PERPETUAL` and `BTC-28MAR25` inverse; `SOL_USDC-PERPETUAL` and `BTC_USDC-28MAR25` linear.
    """
    pair, dash, last = symbol.partition("-")
    if not dash:
        return None
    base, underscore, quote = pair.partition("_")
    if underscore and quote not in QUOTES:
        return None
    if last == _PERPETUAL:
        if underscore:
            return NAMES.perpetual(symbol, base, quote, "linear")
        return NAMES.perpetual(symbol, base, "USD", "inverse")
    if underscore:
        return NAMES.dated(symbol, base, quote, "linear", worded_date(last))
    return NAMES.dated(symbol, base, "USD", "inverse", worded_date(last))


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, part: _Part) -> Liquidation | None:
        trade = object_of("trade", part.trade)
        if trade.get("liquidation") is None:
            return None
        party = choice("liquidation", trade["liquidation"], _LIQUIDATED)[part.place]
        return _liquidation_of(frame, index, trade, party, instruments)

    return map_rows(frame, _parts, event_of)


def _parts(payload: bytes) -> list[_Part]:
    """Return the message's trades, one with two liquidated parties twice."""
    message = object_of("message", json_of(payload))
    method = message.get("method")
    if method is None:
        # Answers to requests.
        if "result" in message or "error" in message:
            return []
        raise RefusedError("unexpected_message", "neither a notification (method) nor an answer (result, error)")
    if method != "subscription":
        return []
    notice = object_of("params", message.get("params"))
    if not word("channel", notice.get("channel")).startswith(TRADES):
        return []
    found: list[_Part] = []
    for trade in list_of("data", notice.get("data")):
        found.append(_Part(trade, 0))
        if isinstance(trade, dict) and trade.get("liquidation") == _BOTH:
            found.append(_Part(trade, 1))
    return found


def _liquidation_of(
    frame: Frame, index: int, trade: dict[str, Any], party: str, instruments: Instruments
) -> Liquidation:
    symbol = word("instrument_name", trade.get("instrument_name"))
    position = POSITIONS[f"{party} {choice('direction', trade.get('direction'), _DIRECTIONS)}"]
    amount, price = positive("amount", trade.get("amount")), positive("price", trade.get("price"))
    instrument = instrument_of(EXCHANGE, symbol, instruments, named)
    size = size_of(instrument, amount, price, _ONE_USD if instrument.margin == "inverse" else None)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, symbol, word("trade_id", trade.get("trade_id")), position),
        position=position,
        price_kind="fill",
        event_time=time_ms_of("timestamp", trade.get("timestamp")),
        completeness="full",
    )


FACTS: Final = Facts(
    markets=("perpetuals and futures, inverse", "perpetuals and futures, linear, quoted in USDC and USDT"),
    eras=(Era("", "full", "Every fill of a liquidation.", "Deribit documentation"),),
    price_kind="fill",
    delay="up to 100 ms, the interval of the channel",
    since="2020 or earlier",
    positions=POSITIONS,
    rules=(
        Rule(
            "position",
            "`liquidation` says who was liquidated (T the taker, M the maker, MT both), `direction` is the taker's"
            " side: T sell and M buy are a long, T buy and M sell a short, MT is one of each.",
            "Deribit documentation",
        ),
        Rule(
            "quantity",
            "`amount` is USD on inverse contracts and coins on linear ones; contract sizes are not needed.",
            "Deribit documentation",
        ),
        Rule("price", "`price` of the fill.", "Deribit documentation"),
        Rule("time", "`timestamp`, milliseconds.", "Deribit documentation"),
        Rule("identity", "`trade_id` of the contract, and the position: MT is two events.", "Deribit documentation"),
        Rule(
            "counted",
            "Only trades with `liquidation`, each fill by itself; the rest of the tape is ordinary.",
            "Deribit documentation",
        ),
        Rule(
            "instrument",
            "`get_instruments`; without metadata by name: BTC-PERPETUAL and BTC-28MAR25 (inverse), SOL_USDC-PERPETUAL"
            " (linear).",
            "Deribit documentation",
        ),
        Rule(
            "liveness",
            "The server sends heartbeats as asked with `set_heartbeat`; each `test_request` is answered by `test`.",
            "Deribit documentation",
        ),
    ),
    caveats=(
        "Options and combinations are not served.",
        "One liquidation order appears as many events when it is filled in many parts.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
