"""The season of the week: how much is usually liquidated in an hour of the week, beside the asset's other hours.

Definition (`rules_and_formulas` 6): 168 hours of the week, eight weeks back. The factor of an hour of the week is the
median of its hours, drawn towards the median of all hours as if `PRIOR_WEEKS` weeks more had been like that, divided by
the median of all. So it is never under a third, and 1 where nothing is known or most hours are empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
HOURS: Final = 168
WEEKS: Final = 8
PRIOR_WEEKS: Final = 4
# 1970-01-05 was a Monday.
_MONDAY_MS: Final = 4 * DAY_MS

Factors = tuple[float, ...]


def week_of(time: int) -> int:
    """Return the start (ms) of the week, from Monday, in which `time` lies."""
    return time - (time - _MONDAY_MS) % WEEK_MS


def hour_of_week(time: int) -> int:
    """Return the hour of the week of `time` (ms), 0 to 167."""
    return (time - week_of(time)) // HOUR_MS


@dataclass(slots=True)
class HoursOfWeeks:
    """The covered hours of one asset: micro-dollars and events by week (ms of its start) and hour of the week."""

    weeks: dict[int, dict[int, tuple[int, int]]] = field(default_factory=dict)

    def note(self, start: int, micros: int, events: int) -> list[int]:
        """Take in a covered hour; return the weeks that are forgotten with it."""
        self.weeks.setdefault(week_of(start), {})[hour_of_week(start)] = micros, events
        gone = [week for week in self.weeks if week < week_of(start) - WEEKS * WEEK_MS]
        for week in gone:
            del self.weeks[week]
        return gone

    def factors(self, day: int, measure: int) -> Factors:
        """Return the factors of all hours of the week by what is known before `day` (ms).

        `measure` is 0 for USD and 1 for events.
        """
        known: list[list[int]] = [[] for _ in range(HOURS)]
        for week, hours in self.weeks.items():
            for hour, values in hours.items():
                if day - WEEKS * WEEK_MS <= week + hour * HOUR_MS < day:
                    known[hour].append(values[measure])
        return factors_of(known)


def factors_of(known: Iterable[list[int]]) -> Factors:
    """Return the factor of each hour of the week, of which so many values are known."""
    hours = list(known)
    everything = [value for values in hours for value in values]
    usual = median(everything) if everything else 0
    if not usual:
        return (1.0,) * len(hours)
    return tuple(
        [
            (len(values) * median(values) + PRIOR_WEEKS * usual) / ((len(values) + PRIOR_WEEKS) * usual)
            if values
            else 1.0
            for values in hours
        ]
    )
