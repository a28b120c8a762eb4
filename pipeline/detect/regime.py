"""What kind of bar it is, by the asset's own quantiles.

Definition (requirements S34 to S36, S41): much USD in few events is the closing of large positions, little USD in many
a retail wash-out, much of both broad stress, little of both quiet. What is much and little of an asset is told by the
quantiles of its covered bars of five minutes of the whole days (UTC) before: so the bounds are found once a day.

A quiet period is a row of quiet bars that is as rare as `quiet_bars` in a row would be if each bar were quiet with
probability `low`, whatever the bars before: where a share p of the asset's bars is quiet, because most are empty, it
takes ln(low) / ln(p) times as many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log
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
    """Up to and above which micro-dollars and events of a bar are low and high, from so many bars.

    `quiet` of the bars are both low.
    """

    low_micros: int
    high_micros: int
    low_events: int
    high_events: int
    bars: int
    quiet: int = 0

    def least_quiet_bars(self, quiet_bars: int, low: float) -> int | None:
        """Return how many quiet bars in a row are a quiet period; None if no row is, because all bars are quiet."""
        share = self.quiet / self.bars
        if share <= low:
            return quiet_bars
        return round(quiet_bars * log(low) / log(share)) if low > 0 and share < 1 else None


def bounds_of(days: Iterable[DayOfBars], low: float, high: float) -> Bounds | None:
    """Return the bounds by the quantiles `low` and `high` of the bars of these days, None if they are too few."""
    days = list(days)
    bars = sum(day.covered for day in days)
    if bars < LEAST_BARS:
        return None
    pairs = [pair for day in days for pair in zip(day.micros, day.events, strict=True)]
    micros, events = sorted(one for one, _ in pairs), sorted(one for _, one in pairs)
    low_micros, low_events = _quantile(micros, bars, low), _quantile(events, bars, low)
    quiet = bars - len(pairs) + sum([one <= low_micros and count <= low_events for one, count in pairs])
    return Bounds(low_micros, _quantile(micros, bars, high), low_events, _quantile(events, bars, high), bars, quiet)


def regime_of(micros: int, events: int, bounds: Bounds) -> Regime:
    """Return the regime of a covered bar."""
    if micros > bounds.high_micros:
        if events > bounds.high_events:
            return "broad_stress"
        return "large_positions" if events <= bounds.low_events else "ordinary"
    if micros <= bounds.low_micros:
        if events <= bounds.low_events:
            return "quiet"
        return "retail_washout" if events > bounds.high_events else "ordinary"
    return "ordinary"


def _quantile(values: Sequence[int], bars: int, level: float) -> int:
    """Return the value that ClickHouse's quantileExact gives for rising `values` and zeros that make them `bars`."""
    place = int(level * bars) if level < 1 else bars - 1
    zeros = bars - len(values)
    return 0 if place < zeros else values[place - zeros]
