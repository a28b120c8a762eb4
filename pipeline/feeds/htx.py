"""HTX USDT-margined and coin-margined contracts: the topics `public.*.liquidation_orders`. Every message is gzip.

What it shows: liquidation orders at their bankruptcy price, not a fill's. Whether all of them, the exchange does not
say.

Rules, with `exchange_feeds` 1, 2, 3.7 and HTX's documentation as their source:
- `direction` is that of the closing ORDER (`offset` is close): sell closes a long, buy a short. The documentation's
  wording, long or short, misleads.
- Linear contracts: `amount` is in coins, `trade_turnover` in the quote coin. Old messages have neither: then `volume`
  counts contracts, whose size only metadata tells.
- Coin-margined contracts: `volume` counts contracts of a number of USD (BTC 100, others 10, from metadata); `amount` is
  in coins, where it is sent, and does without metadata.
- The time is the row's `created_at`. The message's own `ts` is the push, and can be older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.htx import EXCHANGE, LIQUIDATIONS, LIVE, NAMES, QUOTES
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.gzipped import unpacked
from pipeline.feeds.naming import compact_date, instrument_of
from pipeline.feeds.numbers import choice, positive, positive_or_none, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import Size, known_contract_size, money_of, size_of, size_of_value
from pipeline.records import (
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
    number_text,
)

# The direction of the closing order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"sell": "long", "buy": "short"}
_OFFSETS: Final[Mapping[str, str]] = {"close": "close"}
# Operations of messages that bring no data.
_NO_DATA: Final = ("sub", "unsub", "ping", "pong", "close", "error", "auth")
_DATE_DIGITS: Final = len("yymmdd")


class LiquidationOrder(NamedTuple):
    """One row; `direction` is kept for the identity, `position` is what it means. `None`: not sent, or sent as zero."""

    symbol: str
    direction: str
    position: Position
    contracts: Decimal
    coins: Decimal | None
    turnover: Decimal | None
    price: Decimal
    event_time: int


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `BTC-USDT` linear and `BTC-USD` inverse perpetual; `BTC-USDT-211210` linear and `BTC200925` inverse, dated.
    """
    base, *rest = symbol.split("-")
    if not rest:
        last = symbol[-_DATE_DIGITS:]
        return NAMES.dated(symbol, symbol.removesuffix(last), "USD", "inverse", compact_date(last))
    quote, *dates = rest
    if quote == "USD" and not dates:
        return NAMES.perpetual(symbol, base, quote, "inverse")
    if quote not in QUOTES or len(dates) > 1:
        return None
    if dates:
        return NAMES.dated(symbol, base, quote, "linear", compact_date(dates[0]))
    return NAMES.perpetual(symbol, base, quote, "linear")


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    seen: Counter[LiquidationOrder] = Counter()

    def event_of(index: int, fields: object) -> Liquidation:
        row = _row(object_of("data row", fields))
        event = _liquidation_of(frame, index, row, seen[row], instruments)
        seen[row] += 1
        return event

    return map_rows(frame, _rows, event_of)


def _rows(payload: bytes) -> list[Any]:
    message = object_of("message", json_of(unpacked(payload)))
    operation = word("op", message.get("op"))
    if operation in _NO_DATA:
        return []
    if operation != "notify":
        raise RefusedError("unexpected_message", f"op is {shown(operation)}, neither data nor an answer")
    if not word("topic", message.get("topic")).endswith(LIQUIDATIONS):
        return []
    return list_of("data", message.get("data"))


def _row(row: dict[str, Any]) -> LiquidationOrder:
    choice("offset", row.get("offset"), _OFFSETS)
    return LiquidationOrder(
        symbol=word("contract_code", row.get("contract_code")),
        position=choice("direction", row.get("direction"), CLOSES),
        direction=row["direction"],
        contracts=positive("volume", row.get("volume")),
        coins=positive_or_none("amount", row.get("amount")),
        turnover=positive_or_none("trade_turnover", row.get("trade_turnover")),
        price=positive("price", row.get("price")),
        event_time=time_ms_of("created_at", row.get("created_at")),
    )


def _liquidation_of(
    frame: Frame, index: int, row: LiquidationOrder, occurrence: int, instruments: Instruments
) -> Liquidation:
    """Return the event of a row; identity: all its fields, and its occurrence among equal rows, as there is no id."""
    instrument = instrument_of(EXCHANGE, row.symbol, instruments, named)
    size = _size(instrument, row)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(
            EXCHANGE,
            row.symbol,
            row.direction,
            row.event_time,
            number_text(row.contracts),
            number_text(row.price),
            occurrence,
        ),
        position=row.position,
        price_kind="bankruptcy",
        event_time=row.event_time,
        completeness="unknown",
    )


def _size(instrument: Instrument, row: LiquidationOrder) -> Size:
    if instrument.margin == "linear" and row.coins is not None:
        size = size_of(instrument, row.coins, row.price, None)
        return size if row.turnover is None else size._replace(notional_micros=money_of(row.turnover))
    if instrument.margin == "inverse" and instrument.contract_size is None and row.coins is not None:
        return size_of_value(instrument, row.coins * row.price, row.price)
    return size_of(instrument, row.contracts, row.price, known_contract_size(instrument))


FACTS: Final = Facts(
    markets=("USDT-margined swaps and futures, linear", "coin-margined swaps, inverse", "coin-margined futures"),
    eras=(Era("", "unknown", "Not stated; no throttle is documented.", "HTX documentation"),),
    price_kind="bankruptcy",
    delay="milliseconds in recorded messages",
    since="2020 or earlier",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`direction` is that of the closing order (`offset` close): sell closes a long, buy a short. Any other"
            " `offset` is refused.",
            "HTX documentation, whose words long and short mislead; recorded messages",
        ),
        Rule(
            "quantity",
            "Linear: `amount` coins, worth `trade_turnover`; without them `volume` contracts of `contract_size` coins."
            " Coin-margined: `volume` contracts of `contract_size` USD, or `amount` coins where the size is unknown.",
            "HTX documentation, recorded messages (26 contracts at 19674.96 are 0.132147... coins)",
        ),
        Rule("price", "`price` is the bankruptcy price, not a fill's.", "HTX documentation"),
        Rule("time", "`created_at`, milliseconds; not the message's `ts`.", "HTX documentation, recorded messages"),
        Rule(
            "identity",
            "Contract, direction, `created_at`, volume and price, and which of the equal rows of a message it is:"
            " there is no id.",
            "HTX documentation",
        ),
        Rule(
            "instrument",
            "`swap_contract_info` and `contract_contract_info`; without metadata by name: BTC-USDT, BTC-USDT-211210,"
            " BTC-USD (inverse), BTC200925 (inverse).",
            "HTX documentation",
        ),
        Rule(
            "liveness",
            "The server's ping every 5 s is answered by a pong with the same `ts`; five misses close the connection."
            " All messages are gzip.",
            "HTX documentation",
        ),
    ),
    caveats=(
        "How complete the feed is, the exchange does not say.",
        "Coin-margined futures are subscribed to by coin: a coin's first contract is covered once metadata shows it.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
