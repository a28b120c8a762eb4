"""Bitfinex derivatives: the status channel `liq:global`.

What it shows: every position liquidation, as one *trigger* row (IS_MATCH 0, often without a price) followed by one or
more *execution* rows (IS_MATCH 1, with a price). Counting both would double the volume: the trigger counts.

Rules, with `exchange_feeds` 1, 2 and 3.8 as their source:
- The sign of AMOUNT is the POSITION's: above zero a long was closed, below zero a short. AMOUNT counts coins.
- A trigger with a price is an event at once. The documentation calls that price the one at which the position was
  acquired, so its kind is unknown. BASE_PRICE is the position's entry and never used; nor is IS_MARKET_SOLD, which two
  copies of the documentation explain in opposite ways.
- A trigger without a price waits for the first execution of its POS_ID on the connection, whose price, of kind fill,
  makes the event. The trigger is also refused at once as `awaiting_price`, unless the same message brings the execution
  behind it, because nothing else would account for it if the connection, or we, ended first. The event's source is the
  trigger's place: a refusal `awaiting_price` at whose place there is an event has been settled.
- Later executions of a counted position add nothing. An execution whose trigger did not come on the connection is
  refused as `unknown_position`: its AMOUNT may be a part of the position.
- After subscribing, old rows may come again. An execution from more than a minute before the connection's first message
  gives nothing, and a trigger from then is not refused while it waits: that time was covered by another connection or
  by none. The server's own time on the messages tells, so no clock of ours is compared.
- Symbols that do not end in `F0` are margin trading of spot, no derivatives, and give nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from pipeline.feeds.conversations.bitfinex import DERIVATIVE, EXCHANGE, LIVE, NAMES, QUOTES
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Map, Mapped
from pipeline.feeds.naming import instrument_of
from pipeline.feeds.numbers import decimal_of, positive, positive_or_none, shown, word
from pipeline.feeds.rows import json_of, list_of, map_rows, object_of
from pipeline.feeds.sizes import size_of
from pipeline.records import (
    EARLIEST_MS,
    LATEST_MS,
    Frame,
    Instrument,
    Liquidation,
    Position,
    PriceKind,
    RefusedError,
    Source,
    check_time_ms,
    identity,
)

Remembered = TypeVar("Remembered")

# The sign of AMOUNT, which is the position's.
POSITIONS: Final[Mapping[str, Position]] = {"+": "long", "-": "short"}

_ROW: Final = "pos"
_COLUMNS: Final = 12
_PAIR = re.compile(rf"t(?P<base>[A-Z0-9]+){DERIVATIVE}:(?P<quote>[A-Z0-9]+){DERIVATIVE}", re.ASCII)
# Positions that a connection remembers, waiting and counted. Executions follow their trigger within seconds.
_MOST_REMEMBERED: Final = 10_000
# A row so much older than its connection is history; a new one is on its way for less.
_HISTORY_MS: Final = 60_000


class _Row(NamedTuple):
    """A row of the feed; `matched` tells an execution from a trigger."""

    number: int
    time_ms: int
    symbol: str
    amount: Decimal
    matched: bool
    price: object


class _Trigger(NamedTuple):
    """A trigger that waits for its price, and where it was read."""

    row: _Row
    source: Source


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None: `tBTCF0:USTF0`, where UST is USDT."""
    pair = _PAIR.fullmatch(symbol)
    quote = None if pair is None else QUOTES.get(pair["quote"])
    return None if pair is None or quote is None else NAMES.perpetual(symbol, pair["base"], quote, "linear")


class _Positions:
    """The positions of one connection: triggers that wait for a price, and the times of triggers that were counted."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Trigger] = {}
        self._counted: dict[int, int] = {}
        # The server's time at the connection's first message that has one.
        self._began_ms: int | None = None

    def map(self, frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
        # Where in this message the last execution of a position stands.
        executed: dict[int, int] = {}

        def rows_of(payload: bytes) -> list[Any]:
            pushed_ms, rows = _message(payload)
            if self._began_ms is None:
                self._began_ms = pushed_ms
            executed.update((number, index) for index, row in enumerate(rows) if (number := _executed(row)) is not None)
            return rows

        def event_of(index: int, fields: object) -> Liquidation | None:
            row = _row(fields)
            if row is None:
                return None
            if row.matched:
                return self._execution(frame, row, instruments)
            source = Source(frame.channel, frame.connection, frame.sequence, index)
            return self._trigger(frame, _Trigger(row, source), instruments, executed.get(row.number, -1) > index)

        return map_rows(frame, rows_of, event_of)

    def _trigger(self, frame: Frame, trigger: _Trigger, instruments: Instruments, executed: bool) -> Liquidation | None:
        row = trigger.row
        price = positive_or_none("LIQUIDATION_PRICE", row.price)
        if self._counted.get(row.number) == row.time_ms:
            return None
        waiting = self._waiting.get(row.number)
        seen = waiting is not None and waiting.row.time_ms == row.time_ms
        if waiting is None or not seen:
            waiting = trigger
            _remember(self._waiting, row.number, trigger)
        if price is not None:
            return self._event(frame, waiting, price, "unknown", instruments)
        if seen or executed or self._is_history(row):
            return None
        raise RefusedError(
            "awaiting_price",
            f"the trigger of position {row.number} has no price: an event at this place follows with its execution",
        )

    def _execution(self, frame: Frame, row: _Row, instruments: Instruments) -> Liquidation | None:
        trigger = self._waiting.get(row.number)
        if trigger is not None:
            price = positive("LIQUIDATION_PRICE", row.price)
            return self._event(frame, trigger, price, "fill", instruments)
        if row.number in self._counted or self._is_history(row):
            return None
        raise RefusedError(
            "unknown_position", f"an execution of position {row.number}, whose trigger did not come on this connection"
        )

    def _event(
        self, frame: Frame, trigger: _Trigger, price: Decimal, price_kind: PriceKind, instruments: Instruments
    ) -> Liquidation:
        event = _liquidation_of(frame, trigger, price, price_kind, instruments)
        del self._waiting[trigger.row.number]
        _remember(self._counted, trigger.row.number, trigger.row.time_ms)
        return event

    def _is_history(self, row: _Row) -> bool:
        return self._began_ms is not None and row.time_ms < self._began_ms - _HISTORY_MS


def _liquidation_of(
    frame: Frame, trigger: _Trigger, price: Decimal, price_kind: PriceKind, instruments: Instruments
) -> Liquidation:
    row = trigger.row
    instrument = instrument_of(EXCHANGE, row.symbol, instruments, named)
    size = size_of(instrument, abs(row.amount), price, instrument.contract_size)
    event = liquidation(
        frame,
        trigger.source.index,
        instrument,
        size,
        event_id=identity(EXCHANGE, row.symbol, row.number, row.time_ms),
        position=POSITIONS["+" if row.amount > 0 else "-"],
        price_kind=price_kind,
        event_time=row.time_ms,
        completeness="full",
    )
    return replace(event, source=trigger.source)


def _message(payload: bytes) -> tuple[int | None, list[Any]]:
    """Return the server's time, if the message has one, and its rows."""
    message = json_of(payload)
    if isinstance(message, dict):
        # Acknowledgements, notices and pongs have an event; a pong's time is not that of a message.
        if "event" not in object_of("message", message):
            raise RefusedError("unexpected_message", "neither rows nor an event")
        return None, []
    parts = list_of("message", message)
    if len(parts) < len(("channel", "rows")):
        raise RefusedError("missing_field", "no rows behind the channel's number")
    last = parts[-1]
    timed = isinstance(last, int) and not isinstance(last, bool) and EARLIEST_MS <= last < LATEST_MS
    pushed_ms = last if timed and len(parts) > len(("channel", "rows")) else None
    if parts[1] == "hb":
        return pushed_ms, []
    rows = list_of("rows", parts[1])
    # One row may come without a list around it.
    return pushed_ms, [rows] if rows and not isinstance(rows[0], list) else rows


def _row(fields: object) -> _Row | None:
    """Return a row of a derivative, None for one of another market."""
    columns = list_of("row", fields)
    if len(columns) < _COLUMNS:
        raise RefusedError("missing_field", f"a row of {len(columns)} columns instead of {_COLUMNS}")
    kind, number, time, _, symbol, amount, _, _, matched, _, _, price, *_ = columns
    if kind != _ROW:
        raise RefusedError("unknown_word", f"a row of kind {shown(kind)}, not {_ROW}")
    if not word("SYMBOL", symbol).endswith(DERIVATIVE):
        return None
    if matched not in (0, 1) or isinstance(matched, bool):
        raise RefusedError("unknown_word", f"IS_MATCH is {shown(matched)}, neither 0 nor 1")
    if not isinstance(number, int) or isinstance(number, bool):
        raise RefusedError("bad_number", f"POS_ID is {shown(number)}, not a whole number")
    if amount is None:
        raise RefusedError("missing_field", "AMOUNT is missing")
    size = decimal_of("AMOUNT", amount)
    if not size:
        raise RefusedError("bad_number", "AMOUNT is zero")
    return _Row(number, _time_ms(time), symbol, size, matched == 1, price)


def _executed(fields: object) -> int | None:
    """Return the position of an execution that has a price, None for every other row."""
    try:
        row = _row(fields)
        executed = row is not None and row.matched and positive_or_none("LIQUIDATION_PRICE", row.price) is not None
    except RefusedError:
        return None
    return row.number if row is not None and executed else None


def _time_ms(value: object) -> int:
    """Return a time that may have decimals of a millisecond."""
    if value is None:
        raise RefusedError("missing_field", "MTS is missing")
    time_ms = int(decimal_of("MTS", value))
    check_time_ms("MTS", time_ms)
    return time_ms


def _remember(places: dict[int, Remembered], number: int, what: Remembered) -> None:
    """Keep the newest entry of a position, and as many positions as a connection may remember."""
    places.pop(number, None)
    places[number] = what
    if len(places) > _MOST_REMEMBERED:
        del places[next(iter(places))]


def _begin() -> Map:
    return _Positions().map


FACTS: Final = Facts(
    markets=("perpetuals, linear, quoted in USDT",),
    eras=(Era("", "full", "Every position liquidation.", "Bitfinex documentation"),),
    price_kind="fill",
    delay="none is documented; the price comes with the first execution",
    since="2019-11 or earlier",
    positions=POSITIONS,
    rules=(
        Rule(
            "position",
            "The sign of AMOUNT is the position's: above zero a long was closed, below zero a short.",
            "Bitfinex documentation; entry against liquidation prices of recorded rows",
        ),
        Rule(
            "counted",
            "One event per trigger row (IS_MATCH 0). Execution rows (IS_MATCH 1) only bring its price. Symbols that do"
            " not end in F0 are margin trading of spot and give nothing.",
            "Bitfinex documentation",
        ),
        Rule(
            "counted",
            "A trigger without a price is refused as awaiting_price and becomes an event when an execution of it"
            " brings one; both have the same place (connection, sequence, index).",
            "our decision",
        ),
        Rule(
            "counted",
            "An execution whose trigger was not seen on the connection is refused as unknown_position; one from more"
            " than a minute before the connection gives nothing.",
            "our decision",
        ),
        Rule("quantity", "The absolute AMOUNT of the trigger, coins.", "Bitfinex documentation"),
        Rule(
            "price",
            "LIQUIDATION_PRICE (index 11): a fill where it comes from an execution, of unknown kind on a trigger."
            " BASE_PRICE is the entry price and not used.",
            "Bitfinex documentation; recorded rows",
        ),
        Rule(
            "price",
            "IS_MARKET_SOLD is not used: two copies of the documentation give it opposite meanings.",
            "Bitfinex documentation",
        ),
        Rule("time", "MTS of the trigger, milliseconds, decimals cut off.", "Bitfinex documentation; recorded rows"),
        Rule("identity", "Symbol, POS_ID and MTS of the trigger.", "Bitfinex documentation"),
        Rule(
            "instrument",
            "`conf` lists pairs and coins' names; without it the name: tBTCF0:USTF0 is BTC in USDT.",
            "Bitfinex documentation",
        ),
        Rule(
            "liveness",
            "Heartbeats every 15 s; a `ping` is answered by `pong`. Notices 20051, 20060, 20061: connect anew.",
            "Bitfinex documentation",
        ),
    ),
    caveats=(
        "A trigger whose execution never comes, or comes on another connection, stays refused as awaiting_price.",
        "Contracts quoted in a coin (tETHF0:BTCF0) are refused: their value in USD needs another price.",
        "No public server time to compare our clock with.",
    ),
)

FEED = Feed(EXCHANGE, _begin, FACTS, LIVE)
