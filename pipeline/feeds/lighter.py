"""Lighter perpetuals: the channel `trade`, of which the list `liquidation_trades` is forced.

What it shows: every fill of a liquidation, so one liquidation may be several events. The price is the fill's.

Rules, with `exchange_feeds` 1, 2, 3.12 and Lighter's documentation as their source:
- The liquidated account is the taker. `is_maker_ask` true: the maker sold, so the taker bought, which closes a short.
  Where the taker's position before the trade is given, it must agree.
- Markets are numbers. The number, as text, is our `symbol`; only metadata tells the coin, so a row without is refused.
- `size` counts units of the listed name, `usd_amount` is their value, `timestamp` is in milliseconds (old documentation
  shows seconds, which are refused), `trade_id` identifies the fill.
- `type` tells trades apart: `liquidation` counts, `deleverage` and `market-settlement` do not.
- The answer to a subscription holds recent trades. They are mapped too; what was seen before has the same id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.lighter import EXCHANGE, LIVE
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.numbers import choice, decimal_of, positive, shown, time_ms_of, whole_number
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import money_of, size_of
from pipeline.records import (
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
)

# `is_maker_ask` as JSON writes it, and what the taker's order closes.
CLOSES: Final[Mapping[str, Position]] = {"false": "long", "true": "short"}
# Whether trades of a type are liquidations.
_FORCED: Final[Mapping[str, str]] = {
    "liquidation": "forced",
    "trade": "ordinary",
    "deleverage": "ordinary",
    "market-settlement": "ordinary",
}
_DATA: Final = ("update/trade", "subscribed/trade")
_NO_DATA: Final = ("connected", "ping", "pong", "unsubscribed")


class _Trade(NamedTuple):
    """A row, and whether it stands in the list of forced trades."""

    in_forced_list: bool
    fields: object


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, trade: _Trade) -> Liquidation | None:
        row = object_of("trade", trade.fields)
        if trade.in_forced_list:
            forced = choice("type", row.get("type"), _FORCED) == "forced"
        else:
            forced = row.get("type") == "liquidation"
        return _liquidation_of(frame, index, row, instruments) if forced else None

    return map_rows(frame, _trades, event_of)


def _trades(payload: bytes) -> list[_Trade]:
    message = object_of("message", json_of(payload))
    kind = message.get("type")
    if kind in _NO_DATA or "error" in message:
        return []
    if kind not in _DATA:
        raise RefusedError("unexpected_message", f"type is {shown(kind)}, neither trades nor an acknowledgement")
    # An empty list may be null or left out. Ordinary trades are looked through as well: a liquidation among them would
    # count, once.
    forced, ordinary = (message.get(name) for name in ("liquidation_trades", "trades"))
    return [
        *(_Trade(True, row) for row in ([] if forced is None else list_of("liquidation_trades", forced))),
        *(_Trade(False, row) for row in ([] if ordinary is None else list_of("trades", ordinary))),
    ]


def _liquidation_of(frame: Frame, index: int, row: dict[str, Any], instruments: Instruments) -> Liquidation:
    instrument = _instrument_of(row.get("market_id"), instruments)
    size = size_of(
        instrument, positive("size", row.get("size")), positive("price", row.get("price")), instrument.contract_size
    )
    # The value is what the exchange says, which is size x price in every recorded trade.
    size = size._replace(notional_micros=money_of(positive("usd_amount", row.get("usd_amount"))))
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(EXCHANGE, instrument.symbol, whole_number("trade_id", row.get("trade_id"))),
        position=_position_of(row),
        price_kind="fill",
        event_time=time_ms_of("timestamp", row.get("timestamp")),
        completeness="full",
    )


def _instrument_of(market: object, instruments: Instruments) -> Instrument:
    symbol = str(whole_number("market_id", market))
    found = instruments.get((EXCHANGE, symbol))
    if found is None:
        raise RefusedError(
            "unknown_symbol", f"market {symbol} of {EXCHANGE} is in no metadata, and a number has no name"
        )
    return found


def _position_of(row: dict[str, Any]) -> Position:
    maker_sold = row.get("is_maker_ask")
    if maker_sold is None:
        raise RefusedError("missing_field", "is_maker_ask is missing")
    if not isinstance(maker_sold, bool):
        raise RefusedError("unknown_word", f"is_maker_ask is {shown(maker_sold)}, neither true nor false")
    position = CLOSES["true" if maker_sold else "false"]
    before = row.get("taker_position_size_before")
    if before not in (None, ""):
        held = decimal_of("taker_position_size_before", before)
        if held and (held > 0) != (position == "long"):
            raise RefusedError("contradictory_position", f"a {position} was closed, but the taker held {shown(before)}")
    return position


FACTS: Final = Facts(
    markets=("perpetuals, linear, settled in USDC",),
    eras=(
        Era(
            "", "full", "Every fill of every liquidation, in a list of its own beside the trades.", "recorded messages"
        ),
    ),
    price_kind="fill",
    delay="none is documented",
    since="2026-04 or earlier",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "The liquidated account is the taker; `is_maker_ask` true means that it bought, which closes a short. Where"
            " `taker_position_size_before` is given, its sign must agree.",
            "a recorded message proves true; false follows",
        ),
        Rule(
            "counted",
            "Rows of `liquidation_trades` with type `liquidation`; `trade`, `deleverage`, `market-settlement` are none,"
            " another type is refused. In `trades` a row counts only if it says `liquidation`.",
            "Lighter documentation, SDK",
        ),
        Rule(
            "counted",
            "The history in the `subscribed/trade` message is mapped too; a trade seen before has the same id.",
            "Lighter documentation",
        ),
        Rule("quantity", "`size` counts units of the listed name; `usd_amount` is the value.", "recorded messages"),
        Rule("price", "`price` is the fill's.", "recorded messages"),
        Rule(
            "time", "`timestamp` in milliseconds; seconds, as in old documentation, are refused.", "recorded messages"
        ),
        Rule("identity", "`trade_id`.", "Lighter documentation"),
        Rule(
            "instrument",
            "`market_id` as text is the symbol; `orderBookDetails` tells the coin. Listings of 1000 come from a table.",
            "Lighter documentation",
        ),
        Rule(
            "liveness",
            "Something must be sent every two minutes; a `ping` of either side is answered by `pong`.",
            "Lighter documentation",
        ),
    ),
    caveats=(
        "Symbols are market numbers, as on the wire; use `instrument` or `asset` to find a coin.",
        "Without metadata nothing can be mapped.",
        "The whole trade tape must be read to see the liquidations in it.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
