"""What the simulator knows of the messages it wrote, counted without reading them back.

The rows come from the numbers that the messages were written from, so that they check mapping, worker and tables from
outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

_MINUTE_MS = 60_000
_MICROS = Decimal(1_000_000)

Kind = Literal["event", "duplicate", "refused"]
Timing = Literal["on_time", "late", "too_late"]


class Truth(NamedTuple):
    """One liquidation, repetition or unusable row within a frame.

    `timing` says when its frame comes, against the defaults of 5 s lateness and 10 minutes of corrections: a late row
    comes between 75 and 480 s after its event, a too late one after 700 s. `trap` names what is wrong with a refused
    row (empty otherwise); of a refused row, symbol, asset, position, event_time and notional_micros say nothing.
    """

    kind: Kind
    exchange: str
    symbol: str
    asset: str
    position: Literal["long", "short"]
    event_time: int
    notional_micros: int
    timing: Timing = "on_time"
    trap: str = ""

    @property
    def notional_usd(self) -> Decimal:
        """Return the value in USD, exactly."""
        return Decimal(self.notional_micros) / _MICROS


@dataclass(slots=True)
class Sums:
    """Count and value of one contract, minute and position."""

    count: int = 0
    usd: Decimal = Decimal(0)


@dataclass(slots=True)
class Ledger:
    """Truth rows, summed up.

    `events`, `late`, `too_late` and `duplicates` count rows, `refused` counts them by trap. `minutes` holds what the
    one-minute bars must show, by (exchange, symbol, start in ms, position): every event but the too late ones.
    """

    events: int = 0
    duplicates: int = 0
    late: int = 0
    too_late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    minutes: dict[tuple[str, str, int, str], Sums] = field(default_factory=dict)


def ledger(rows: Iterable[Truth]) -> Ledger:
    """Sum up truth rows."""
    total = Ledger()
    for row in rows:
        if row.kind == "refused":
            total.refused[row.trap] += 1
        elif row.kind == "duplicate":
            total.duplicates += 1
        else:
            total.events += 1
            total.late += row.timing == "late"
            total.too_late += row.timing == "too_late"
            if row.timing != "too_late":
                start = row.event_time - row.event_time % _MINUTE_MS
                sums = total.minutes.setdefault((row.exchange, row.symbol, start, row.position), Sums())
                sums.count += 1
                sums.usd += row.notional_usd
    return total
