"""What was liquidated minute by minute, of one contract or one asset: only minutes with events are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.detect.rules import Closed, Measure

MINUTE_MS = 60_000

# Whether a bar, by its start and length (ms), had enough coverage for its value, be it 0, to count.
Covered = Callable[[int, int], bool]


@dataclass(slots=True)
class MinuteSums:
    """One minute: micro-dollars and number of events of each position."""

    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0

    def value(self, measure: Measure, position: Closed) -> int:
        """Return the sum asked for: micro-dollars or events."""
        if measure == "usd":
            return {"long": self.long_micros, "short": self.short_micros, "both": self.long_micros + self.short_micros}[
                position
            ]
        return {"long": self.long_count, "short": self.short_count, "both": self.long_count + self.short_count}[
            position
        ]


@dataclass(slots=True)
class MinuteHistory:
    """Minutes by their start (ms)."""

    minutes: dict[int, MinuteSums] = field(default_factory=dict)

    def add(self, time: int, position: Closed, micros: int) -> None:
        """Count one liquidation at event time `time` (ms)."""
        start = time - time % MINUTE_MS
        sums = self.minutes.get(start)
        if sums is None:
            sums = self.minutes[start] = MinuteSums()
        if position == "long":
            sums.long_micros += micros
            sums.long_count += 1
        else:
            sums.short_micros += micros
            sums.short_count += 1

    def value(self, start: int, interval_ms: int, measure: Measure, position: Closed) -> int:
        """Return the sum over the bar from `start` on."""
        minutes = self.minutes
        return sum(
            minutes[minute].value(measure, position)
            for minute in range(start, start + interval_ms, MINUTE_MS)
            if minute in minutes
        )

    def before(
        self, start: int, interval_ms: int, measure: Measure, position: Closed, period: int, covered: Covered
    ) -> list[int]:
        """Return the values of the last `period` covered bars before `start`, oldest first.

        A covered bar without events is 0, a bar without coverage is left out. Fewer come back when the search has gone
        over four times as many bars: what lies further back says little of today.
        """
        found: list[int] = []
        for back in range(1, 4 * period + 1):
            bar = start - back * interval_ms
            if covered(bar, interval_ms):
                found.append(self.value(bar, interval_ms, measure, position))
                if len(found) == period:
                    break
        found.reverse()
        return found

    def forget(self, before: int) -> None:
        """Drop the minutes that start before `before` (ms)."""
        for start in [known for known in self.minutes if known < before]:
            del self.minutes[start]
