"""Gate perpetuals: the channel `futures.public_liquidates`.

What it shows: liquidation orders at their order price; until 2026-08-20 one per contract and second, since then all, in
lists of a second.

Rules, with `exchange_feeds` 1, 2, 3.6 and Gate's documentation as their source:
- The sign of `size` tells the position, but the documentation does not say how. It is read as that of the forced ORDER:
  below zero a long, above zero a short, as other readers do and as falling prices beside negative sizes suggest. Since
  Gate's REST list writes the POSITION's sign, every event is marked `position_proved` false.
- `size` counts contracts of `quanto_multiplier` coins, known from metadata; of BTC_USD, settled in BTC, one USD each.
  Other contracts settled in BTC are quanto: refused.
- `result` is one object or a list of them, and `time` is in milliseconds or, in old examples, seconds: its magnitude
  tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.gate import EXCHANGE, LIQUIDATIONS, LIVE, NAMES, QUOTES, margin_of
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule, completeness_at
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import decimal_of, positive, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import known_contract_size, size_of
from pipeline.records import (
    EARLIEST_MS,
    LATEST_MS,
    Frame,
    Instrument,
    Liquidation,
    Position,
    RefusedError,
    identity,
    number_text,
)

# The sign of the size, and the position that it is taken to mean.
POSITIONS: Final[Mapping[str, Position]] = {"-": "long", "+": "short"}
# Documented for BTC_USD, the only inverse contract (exchange_feeds 3.6), so it is a rule, not a guess.
_INVERSE_CONTRACT_USD: Final = 1.0
_ERAS: Final = (
    Era("", "sampled", "At most one order per contract and second.", "Gate documentation before 2026-08-20"),
    Era(
        "2026-08-20",
        "full",
        "All orders, in lists of a second or of 20 orders, whichever is sooner.",
        "Gate documentation: change log of 2026-08-20",
    ),
)
_NO_DATA: Final = ("subscribe", "unsubscribe", "", None)


class LiquidationOrder(NamedTuple):
    """One row; `contracts` with its sign."""

    symbol: str
    contracts: Decimal
    price: Decimal
    event_time: int

    @property
    def position(self) -> Position:
        """Return the position that the sign is taken to mean."""
        return POSITIONS["-" if self.contracts < 0 else "+"]


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None: `BTC_USDT`, `BTC_USD`."""
    base, underscore, quote = symbol.partition("_")
    if not underscore or quote not in QUOTES.values():
        return None
    return NAMES.perpetual(symbol, base, quote, margin_of(base, quote))


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    seen: Counter[LiquidationOrder] = Counter()

    def event_of(index: int, fields: object) -> Liquidation:
        row = _row(object_of("result", fields))
        event = _liquidation_of(frame, index, row, seen[row], instruments)
        seen[row] += 1
        return event

    return map_rows(frame, _rows, event_of)


def _rows(payload: bytes) -> list[Any]:
    message = object_of("message", json_of(payload))
    channel = message.get("channel")
    if channel is None:
        # Notices of maintenance have a type, errors of requests an error.
        if not message.keys().isdisjoint(("type", "error")):
            return []
        raise RefusedError("unexpected_message", "neither a channel nor a notice (type, error)")
    if channel != LIQUIDATIONS or message.get("event") in _NO_DATA:
        return []
    if message["event"] != "update":
        raise RefusedError("unexpected_message", f"event is {shown(message['event'])}, neither data nor an answer")
    result = message.get("result")
    return list_of("result", result if isinstance(result, list) or result is None else [result])


def _row(row: dict[str, Any]) -> LiquidationOrder:
    size = row.get("size")
    if size is None or size == "":
        raise RefusedError("missing_field", "size is missing")
    contracts = decimal_of("size", size)
    if not contracts:
        raise RefusedError("bad_number", "size is zero, which has no sign")
    return LiquidationOrder(
        symbol=word("contract", row.get("contract")),
        contracts=contracts,
        price=positive("price", row.get("price")),
        event_time=_time_ms(row.get("time")),
    )


def _time_ms(value: object) -> int:
    """Return a time given in milliseconds or seconds; the two ranges of real times do not touch."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if EARLIEST_MS <= seconds * 1000 < LATEST_MS:
        return seconds * 1000
    return time_ms_of("time", value)


def _liquidation_of(
    frame: Frame, index: int, row: LiquidationOrder, occurrence: int, instruments: Instruments
) -> Liquidation:
    """Return the event of a row; identity: all its fields, and its occurrence among equal rows, as there is no id."""
    instrument = instrument_of(EXCHANGE, row.symbol, instruments, named)
    size = size_of(instrument, abs(row.contracts), row.price, _contract_size(instrument))
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(
            EXCHANGE,
            row.symbol,
            row.event_time,
            number_text(row.contracts),
            number_text(row.price),
            occurrence,
        ),
        position=row.position,
        price_kind="order",
        event_time=row.event_time,
        completeness=completeness_at(_ERAS, row.event_time),
        position_proved=False,
    )


def _contract_size(instrument: Instrument) -> float | None:
    if instrument.margin == "linear":
        return known_contract_size(instrument)
    return _INVERSE_CONTRACT_USD if instrument.margin == "inverse" else None


FACTS: Final = Facts(
    markets=(
        "perpetuals quoted in USDT, linear",
        "perpetuals quoted in USD1, linear, since 2026-08",
        "BTC_USD, inverse; others settled in BTC are quanto: refused",
    ),
    eras=_ERAS,
    price_kind="order",
    delay="about one second, the window of the lists",
    since="2025-02-10",
    positions=POSITIONS,
    rules=(
        Rule(
            "position",
            "The sign of `size` is taken for the forced order's: below zero a long, above zero a short. The"
            " documentation does not say so, and Gate's REST list writes the position's sign; every event carries"
            " `position_proved` false.",
            "other implementations, recorded messages beside falling prices; not documented",
            proved=False,
        ),
        Rule(
            "quantity",
            "|`size`| contracts of `quanto_multiplier` coins; of BTC_USD one USD each.",
            "Gate documentation: futures contracts",
        ),
        Rule("price", "`price` is the order's.", "Gate documentation"),
        Rule(
            "time",
            "The row's `time`, milliseconds, in old examples seconds; its magnitude tells.",
            "Gate documentation, recorded messages",
        ),
        Rule(
            "identity",
            "Contract, `time`, size with its sign and price, and which of the equal rows of a message it is: there is"
            " no id.",
            "Gate documentation",
        ),
        Rule("counted", "`result` is one row or a list of rows; each counts.", "Gate documentation, recorded messages"),
        Rule(
            "instrument",
            "`futures/SETTLE/contracts`; without metadata by name: BTC_USDT, BTC_USD (inverse). MBABYDOGE is a million"
            " BABYDOGE.",
            "Gate documentation",
        ),
        Rule("liveness", "`futures.ping` every 10 to 20 s is answered by `futures.pong`.", "Gate documentation"),
    ),
    caveats=(
        "Long and short may be the wrong way round: nothing published proves the sign's meaning.",
        "Sizes are asked for as whole contracts: what is less than one comes as zero and is refused.",
        "Contracts that Gate settles by delivery are not on this channel.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
