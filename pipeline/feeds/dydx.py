"""dYdX v4 perpetuals: the trade tape `v4_trades`, of which the trades marked LIQUIDATED are forced.

What it shows: every fill of a liquidation order, so one order may be several events. The price is the fill's.

Rules, with `exchange_feeds` 1, 2, 3.10 and the indexer's published source as their source:
- `side` is that of the taker, and a liquidated account is always the taker: SELL closes a long, BUY a short.
- `type` tells trades apart. LIMIT and TWAP_SUBORDER are ordinary; DELEVERAGED is auto-deleveraging and no liquidation.
- `size` counts coins; `createdAt` is an ISO 8601 time; `id` identifies the fill.
- The answer to a subscription (`subscribed`) holds recent trades. They are mapped too: what was seen before has the
  same id, what fell between two connections is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.dydx import EXCHANGE, LIVE, TRADES, coin_of, perpetual
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import choice, iso_time_us, positive, shown, word
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

# The side of the forced order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"SELL": "long", "BUY": "short"}
# Whether trades of a type are liquidations.
_FORCED: Final[Mapping[str, str]] = {
    "LIQUIDATED": "forced",
    "LIMIT": "ordinary",
    "TWAP_SUBORDER": "ordinary",
    "DELEVERAGED": "ordinary",
}
_DATA: Final = ("channel_data", "channel_batch_data", "subscribed")
_NO_DATA: Final = ("connected", "unsubscribed", "error", "pong")


class _Trade(NamedTuple):
    """A row of the tape with the market of the message around it."""

    symbol: object
    fields: object


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None: `BTC-USD`."""
    coin = coin_of(symbol)
    return perpetual(symbol, coin) if coin is not None and coin.isalnum() else None


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, trade: _Trade) -> Liquidation | None:
        row = object_of("trade", trade.fields)
        if choice("type", row.get("type"), _FORCED) != "forced":
            return None
        return _liquidation_of(frame, index, word("id", trade.symbol), row, instruments)

    return map_rows(frame, _trades, event_of)


def _trades(payload: bytes) -> list[_Trade]:
    message = object_of("message", json_of(payload))
    kind = message.get("type")
    if kind in _NO_DATA:
        return []
    if kind not in _DATA:
        raise RefusedError("unexpected_message", f"type is {shown(kind)}, neither trades nor an acknowledgement")
    if message.get("channel") != TRADES:
        return []
    contents = message.get("contents")
    # Batched updates hold a list of what single ones hold.
    parts = contents if isinstance(contents, list) else [contents]
    return [
        _Trade(message.get("id"), fields)
        for part in parts
        for fields in list_of("trades", object_of("contents", part).get("trades"))
    ]


def _liquidation_of(
    frame: Frame, index: int, symbol: str, row: dict[str, Any], instruments: Instruments
) -> Liquidation:
    instrument = instrument_of(EXCHANGE, symbol, instruments, named)
    size = size_of(
        instrument, positive("size", row.get("size")), positive("price", row.get("price")), instrument.contract_size
    )
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, symbol, word("id", row.get("id"))),
        position=choice("side", row.get("side"), CLOSES),
        price_kind="fill",
        event_time=iso_time_us("createdAt", word("createdAt", row.get("createdAt"))) // 1000,
        completeness="full",
    )


FACTS: Final = Facts(
    markets=("perpetuals, linear, settled in USDC",),
    eras=(Era("", "full", "Every fill of every liquidation order.", "dYdX documentation; indexer source"),),
    price_kind="fill",
    delay="none is documented",
    since="2024-08 or earlier",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`side` is the taker's, and the liquidated account is the taker: SELL closes a long, BUY a short.",
            "indexer source; recorded trades (one page of the documentation says the opposite)",
        ),
        Rule(
            "counted",
            "Trades of type LIQUIDATED count. LIMIT, TWAP_SUBORDER and DELEVERAGED (auto-deleveraging) do not; another"
            " type is refused.",
            "indexer source",
        ),
        Rule(
            "counted",
            "The history in the `subscribed` message is mapped too; a trade seen before has the same id.",
            "dYdX documentation",
        ),
        Rule("quantity", "`size` counts coins.", "dYdX documentation"),
        Rule("price", "`price` is the fill's.", "dYdX documentation"),
        Rule("time", "`createdAt` is the time of the block, ISO 8601.", "dYdX documentation; recorded trades"),
        Rule("identity", "The trade's `id`.", "dYdX documentation"),
        Rule(
            "instrument",
            "A ticker is the coin and `-USD`; where the price comes from a pool the coin is what stands before the"
            " first comma.",
            "`perpetualMarkets`",
        ),
        Rule(
            "liveness",
            "32 markets per connection; the server pings every 30 s; a `ping` message is answered by `pong`.",
            "dYdX documentation; indexer source",
        ),
    ),
    caveats=(
        "The whole trade tape must be read to see the liquidations in it.",
        "One liquidation order is as many events as it has fills.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
