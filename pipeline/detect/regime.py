"""What kind of bar it is, by the asset's own quantiles.

Definition (requirements S34 to S36, S41): much USD in few events is the closing of large positions, little USD in many
a retail wash-out, much of both broad stress, little of both quiet. What is much and little of an asset is told by the
quantiles of its covered bars of five minutes of the whole days (UTC) before: so the bounds are found once a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

FIVE_MINUTES_MS: Final = 300_000
DAY_MS: Final = 86_400_000
BARS_PER_DAY: Final = DAY_MS // FIVE_MINUTES_MS
# Of fewer bars no bounds are taken.
LEAST_BARS: Final = 50

Regime = Literal["broad_stress", "large_positions", "retail_washout", "quiet", "ordinary"]


@dataclass(slots=True)
class DayOfBars:
    """The covered bars of one asset and day: their number, and micro-dollars and events of those that are not empty."""

    covered: int = 0
    micros: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)

    def add(self, micros: int, events: int) -> None:
        """Take in a covered bar."""
        self.covered += 1
        if events:
            self.micros.append(micros)
            self.events.append(events)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Below and above which micro-dollars and events of a bar are low and high, from so many bars."""

    low_micros: int
    high_micros: int
    low_events: int
    high_events: int
    bars: int


def bounds_of(days: Iterable[DayOfBars], low: float, high: float) -> Bounds | None:
    """Return the bounds by the quantiles `low` and `high` of the bars of these days, None if they are too few."""
    days = list(days)
    bars = sum(day.covered for day in days)
    if bars < LEAST_BARS:
        return None
    micros = sorted(value for day in days for value in day.micros)
    events = sorted(value for day in days for value in day.events)
    return Bounds(
        _quantile(micros, bars, low),
        _quantile(micros, bars, high),
        _quantile(events, bars, low),
        _quantile(events, bars, high),
        bars,
    )


def regime_of(micros: int, events: int, bounds: Bounds) -> Regime:
    """Return the regime of a covered bar."""
    if micros > bounds.high_micros:
        if events > bounds.high_events:
            return "broad_stress"
        return "large_positions" if events < bounds.low_events else "ordinary"
    if micros < bounds.low_micros:
        if events < bounds.low_events:
            return "quiet"
        return "retail_washout" if events > bounds.high_events else "ordinary"
    return "ordinary"


def _quantile(values: Sequence[int], bars: int, level: float) -> int:
    """Return the value that ClickHouse's quantileExact gives for rising `values` and zeros that make them `bars`."""
    place = int(level * bars) if level < 1 else bars - 1
    zeros = bars - len(values)
    return 0 if place < zeros else values[place - zeros]
