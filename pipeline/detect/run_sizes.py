"""How large an asset's runs of liquidations usually are: a histogram per day, small enough to be kept for weeks.

Sizes are counted in classes of eight to a doubling, so a quantile is right to a ninth. Everything is whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_MS = 86_400_000
_STEP_BITS = 3
# A day of which more than this has gone by is not whole.
_LATE_MS = DAY_MS // 10


@dataclass(slots=True)
class RunSizes:
    """Counts by day (ms of its start) and class.

    `first` is when (ms) the first run ended, of those of its day; 0 once that day is forgotten.
    """

    days: dict[int, dict[int, int]] = field(default_factory=dict)
    first: int | None = None

    @property
    def total(self) -> int:
        """Return the number of runs."""
        return sum(sum(counts.values()) for counts in self.days.values())


def note(sizes: RunSizes, time: int, micros: int, history_days: int) -> None:
    """Count a run of `micros` that ended at `time` (ms), and forget days before the history."""
    day = time - time % DAY_MS
    if sizes.first is None or day < time < sizes.first < day + DAY_MS:
        sizes.first = time
    counts = sizes.days.setdefault(day, {})
    size = class_of(micros)
    counts[size] = counts.get(size, 0) + 1
    forget(sizes, day, history_days)


def forget(sizes: RunSizes, day: int, history_days: int) -> None:
    """Forget the days that are out of the history at `day` (ms)."""
    for old in [known for known in sizes.days if known <= day - history_days * DAY_MS]:
        del sizes.days[old]
    if sizes.first is not None and sizes.first < day - (history_days - 1) * DAY_MS:
        sizes.first = 0 if sizes.days else None


def whole_days(sizes: RunSizes, day: int) -> RunSizes:
    """Return what was counted before `day` (ms), without the day on which counting began, if late on it."""
    first = sizes.first or 0
    begun = first - first % DAY_MS
    least = begun + DAY_MS if first - begun > _LATE_MS else begun
    return RunSizes({known: counts for known, counts in sizes.days.items() if least <= known < day})


def quantile(sizes: RunSizes, share: float) -> int:
    """Return the upper edge (micro-dollars) of the class up to which at least `share` of the runs are; 0 if none."""
    counts: dict[int, int] = {}
    for day in sizes.days.values():
        for size, count in day.items():
            counts[size] = counts.get(size, 0) + count
    total = sum(counts.values())
    passed = 0
    for size in sorted(counts):
        passed += counts[size]
        if passed >= share * total:
            return edge_of(size)
    return 0


def class_of(micros: int) -> int:
    """Return the class of a size: the number of its binary digits and the three digits behind the first."""
    digits = micros.bit_length()
    if digits <= _STEP_BITS:
        return micros
    return (digits << _STEP_BITS) | ((micros >> (digits - 1 - _STEP_BITS)) & ((1 << _STEP_BITS) - 1))


def edge_of(size: int) -> int:
    """Return the largest size of a class."""
    digits, steps = size >> _STEP_BITS, size & ((1 << _STEP_BITS) - 1)
    if not digits:
        return size
    return (((1 << _STEP_BITS) + steps + 1) << (digits - 1 - _STEP_BITS)) - 1
