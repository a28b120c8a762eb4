"""How large an asset's runs of liquidations usually are: a histogram per day, small enough to be kept for weeks.

Sizes are counted in classes of eight to a doubling, so a quantile is right to a ninth. Everything is whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_MS = 86_400_000
_STEP_BITS = 3


@dataclass(slots=True)
class RunSizes:
    """Counts by day (ms of its start) and class."""

    days: dict[int, dict[int, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the number of runs."""
        return sum(sum(counts.values()) for counts in self.days.values())


def note(sizes: RunSizes, time: int, micros: int, history_days: int) -> None:
    """Count a run of `micros` that ended at `time` (ms), and forget days before the history."""
    day = time - time % DAY_MS
    counts = sizes.days.setdefault(day, {})
    size = class_of(micros)
    counts[size] = counts.get(size, 0) + 1
    forget(sizes, day, history_days)


def forget(sizes: RunSizes, day: int, history_days: int) -> None:
    """Forget the days that are out of the history at `day` (ms)."""
    for old in [known for known in sizes.days if known <= day - history_days * DAY_MS]:
        del sizes.days[old]


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
