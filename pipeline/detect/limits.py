"""Up to which sums bars need not be looked at: beside each bar that can still change, a limit for each series.

They are found when a bar is looked at, hold until what it is judged against may be otherwise, and are no state: a bar
without limits of its own is looked at once it has passed what no bar is judged below.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.surge import SERIES, values_of
from pipeline.detect.tick_events import Integers, grown
from pipeline.windows.parameters import MINUTE_MS, WindowParameters

ENDLESS: Final = 1 << 62
# Limits of a bar that is looked at whatever comes.
NOTHING: Final = [-1] * len(SERIES)
_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_LIMITS: Final = np.zeros((0, len(SERIES)), dtype=np.int64)
# A bar's values, in the order of `SERIES`, are its sums multiplied by this.
VALUES_OF_SUMS: Final = np.column_stack(values_of(np.eye(4, dtype=np.int64).T))
_BOTH: Final = SERIES.index(("usd", "both"))


class Limits:
    """The limits of all bars of a partition; a bar of up to `least_micros` together need not be looked at."""

    def __init__(self, least_micros: int) -> None:
        self._initial = np.full(len(SERIES), ENDLESS, dtype=np.int64)
        self._initial[_BOTH] = least_micros
        self._limits: tuple[dict[int, Integers], ...] = tuple({} for _ in INTERVALS_MS)

    def passed(self, interval: int, start: int, owners: Integers, sums: Integers) -> Integers:
        """Return the places of those `owners` whose `sums`, a row for each, have passed a limit of the bar."""
        limits = self._of(interval, start, int(owners[-1])).take(owners, axis=0)
        is_above = sums @ VALUES_OF_SUMS > limits
        # At most ticks there is none, which is told sooner for all rows than for each.
        return np.nonzero(is_above.any(axis=1))[0] if is_above.any() else _NONE

    def set(self, interval: int, start: int, owner: int, limits: list[int]) -> None:
        """Say up to which values a bar need not be looked at, in the order of `SERIES`."""
        self._of(interval, start, owner)[owner] = limits

    def set_all(self, interval: int, start: int, owners: Integers, limits: Integers) -> None:
        """Say the same of the bars of some `owners`: a row for each."""
        if len(owners):
            self._of(interval, start, int(owners.max()))[owners] = limits

    def reset(self, owners: Integers, interval: int | None = None, after: int = -1) -> None:
        """Have bars looked at anew: of all intervals or of one, those that begin after a time (ms)."""
        for number, by_start in enumerate(self._limits):
            if interval is None or number == interval:
                for start, limits in by_start.items():
                    if start > after:
                        limits[owners[owners < len(limits)]] = self._initial

    def clear(self) -> None:
        """Have all bars looked at anew."""
        for by_start in self._limits:
            by_start.clear()

    def forget(self, watermark: int, parameters: WindowParameters) -> None:
        """Forget the bars that can change no more."""
        for interval, by_start in zip(INTERVALS_MS, self._limits, strict=True):
            for start in [one for one in by_start if parameters.is_expired(one + interval - MINUTE_MS, watermark)]:
                del by_start[start]

    def _of(self, interval: int, start: int, owner: int) -> Integers:
        """Return the limits of the bars from `start` (ms), with a row for `owner` at least."""
        by_start = self._limits[interval]
        limits = by_start[start] = grown(by_start.get(start, _NO_LIMITS), owner + 1, self._initial)
        return limits
