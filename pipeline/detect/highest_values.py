"""The quantile of the last thousands of values, kept in a few.

The quantile of the last `last` values for a high share is one of the highest of them, say of the four highest. A value
that so many later ones have reached can never be among those again, so it is let go. What is kept is exact: of values
in random order some `most * (1 + log(last / most))` (about 40 for the 0.999 quantile of 3,000), of falling ones all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


def rank_from_above(n: int, q: float) -> int:
    """Return which of the highest of `n` values is the smallest with at least the share `q` at or below it."""
    return n - max(1, math.ceil(q * n)) + 1


@dataclass(slots=True)
class HighestValues:
    """The values, of the last `last` noted, that can be the `q` quantile of them or of later ones.

    `count` is how many were ever noted. An entry is a value's number among them, the value, and how many later ones
    have reached it.
    """

    count: int = 0
    entries: list[tuple[int, float, int]] = field(default_factory=list)

    def note(self, value: float, q: float, last: int) -> None:
        """Take in the next value."""
        # One more, because the product that makes a rank is rounded.
        most, self.count = rank_from_above(last, q) + 1, self.count + 1
        kept = [
            (number, one, reached + (value >= one))
            for number, one, reached in self.entries
            if number > self.count - last and reached + (value >= one) < most
        ]
        self.entries = [*kept, (self.count, value, 0)]

    def quantile(self, recent: Sequence[float], q: float, last: int) -> tuple[int, float | None]:
        """Return the number of the last values, `recent` ones behind those noted, and their quantile; None of none."""
        recent = recent[-last:]
        total = self.count + len(recent)
        n = min(total, last)
        if not n:
            return 0, None
        known = [value for number, value, _ in self.entries if number > total - last]
        return n, sorted([*known, *recent], reverse=True)[rank_from_above(n, q) - 1]
