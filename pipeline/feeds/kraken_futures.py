"""Kraken Futures: the feed `trade`, of which trades of type `liquidation` are forced.

What it shows: every fill of a liquidation order, so one order may be several events. The price is the fill's.

Rules, with `exchange_feeds` 1, 2, 3.9 and Kraken's documentation as their source:
- `side` is that of the taker, which is the forced ORDER: sell closes a long, buy a short.
- `type` tells trades apart; fill, assignment, termination and block are no liquidations.
- `qty` is USD (contracts of one) on inverse contracts, `PI_` and `FI_`, and coins on linear ones, `PF_` and `FF_`.
  `PI_XBTUSD` and `PF_XBTUSD` have one name, BTC-USD-PERP, and two margins.
- `uid` identifies the fill. A subscription begins with recent trades (`trade_snapshot`): they are mapped, too. What was
  seen before has the same id, what fell between two connections is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from pipeline.feeds.conversations.kraken_futures import (
    EXCHANGE,
    FIXED,
    LIVE,
    NAMES,
    PERPETUALS,
    QUOTE,
    SNAPSHOT,
    TRADE,
)
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import compact_date, instrument_of
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

# The side of the taker, which is the forced order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"sell": "long", "buy": "short"}
# Whether trades of a type are liquidations.
_FORCED: Final[Mapping[str, str]] = {
    "liquidation": "forced",
    "fill": "ordinary",
    "assignment": "ordinary",
    "termination": "ordinary",
    "block": "ordinary",
}
# Sizes of inverse contracts are USD: contracts of one (exchange_feeds 2), so it is a rule, not a guess.
_ONE_USD: Final = 1.0


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `PF_XBTUSD` linear and `PI_XBTUSD` inverse perpetual; `FF_XBTUSD_250328` and `FI_XBTUSD_250328` dated.
    """
    kind, _, rest = symbol.partition("_")
    pair, underscore, last = rest.partition("_")
    if not pair.endswith(QUOTE):
        return None
    base = pair.removesuffix(QUOTE)
    if kind in PERPETUALS and not underscore:
        return NAMES.perpetual(symbol, base, QUOTE, PERPETUALS[kind])
    if kind in FIXED and underscore:
        return NAMES.dated(symbol, base, QUOTE, FIXED[kind], compact_date(last))
    return None


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: object) -> Liquidation | None:
        trade = object_of("trade", row)
        if choice("type", trade.get("type"), _FORCED) != "forced":
            return None
        return _liquidation_of(frame, index, trade, instruments)

    return map_rows(frame, _trades, event_of)


def _trades(payload: bytes) -> list[Any]:
    message = object_of("message", json_of(payload))
    # Greetings, acknowledgements, errors and alerts have an event; data has a feed.
    if "event" in message:
        return []
    feed = message.get("feed")
    if feed is None:
        raise RefusedError("unexpected_message", "neither a feed nor an acknowledgement (event)")
    if feed == SNAPSHOT:
        return list_of("trades", message.get("trades"))
    return [message] if feed == TRADE else []


def _liquidation_of(frame: Frame, index: int, trade: dict[str, Any], instruments: Instruments) -> Liquidation:
    symbol = word("product_id", trade.get("product_id"))
    position = choice("side", trade.get("side"), CLOSES)
    quantity, price = positive("qty", trade.get("qty")), positive("price", trade.get("price"))
    instrument = instrument_of(EXCHANGE, symbol, instruments, named)
    size = size_of(instrument, quantity, price, _ONE_USD if instrument.margin == "inverse" else None)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, symbol, word("uid", trade.get("uid"))),
        position=position,
        price_kind="fill",
        event_time=time_ms_of("time", trade.get("time")),
        completeness="full",
    )


FACTS: Final = Facts(
    markets=("perpetuals and futures of many collaterals, linear", "perpetuals and futures, inverse"),
    eras=(Era("", "full", "Every fill of a liquidation order.", "Kraken documentation"),),
    price_kind="fill",
    delay="none is documented",
    since="2020 or earlier",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`side` is that of the taker, which is the forced order: sell closes a long, buy a short.",
            "Kraken documentation, tardis-node",
        ),
        Rule(
            "quantity",
            "`qty` is USD on inverse contracts (PI_, FI_) and coins on linear ones (PF_, FF_).",
            "Kraken documentation",
        ),
        Rule("price", "`price` of the fill.", "Kraken documentation"),
        Rule("time", "`time`, milliseconds.", "Kraken documentation"),
        Rule("identity", "`uid` of the contract's fill.", "Kraken documentation"),
        Rule(
            "counted",
            "Only trades of type `liquidation`; fill, assignment, termination and block are ordinary, any other type is"
            " refused. The recent trades behind a subscription (`trade_snapshot`) are mapped, too, under their ids.",
            "Kraken documentation",
        ),
        Rule(
            "instrument",
            "`instruments`; without metadata by name: PF_XBTUSD, PI_XBTUSD, FI_XBTUSD_250328. XBT is BTC.",
            "Kraken documentation",
        ),
        Rule("liveness", "A WebSocket ping at least every 60 s.", "Kraken documentation"),
    ),
    caveats=(
        "One liquidation order appears as many events when it is filled in many parts.",
        "Only contracts that metadata lists are subscribed to, so coverage is by contract.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
