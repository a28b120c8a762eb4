"""Surges of many bars of one start at once: which of them can have passed a bound, and how far the others can rise.

At the beginning of a bar hundreds are judged at one tick, and nearly all are far below their bounds. Columns of floats
tell that: what they find is below the bound by more than they can be wrong. What has passed it is judged by itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.detect.limits import ENDLESS, VALUES_OF_SUMS
from pipeline.detect.surge import COUNTS, SERIES
from pipeline.detect.tick_events import Integers

# Means and deviations of floats are far nearer than this to those of whole numbers, as a share.
_MARGIN: Final = 1e-9
_LEAST_BARS: Final = 2


def safe_bounds(before: Integers, k: float) -> Integers:
    """Return up to which values bars pass no bound of mean plus `k` deviations, a row for each bar, by series.

    `before` are the sums of the bars before them: by start, a row for each bar that is judged.
    """
    if len(before) < _LEAST_BARS:
        return np.full((before.shape[1], len(SERIES)), ENDLESS, dtype=np.int64)
    values = before @ VALUES_OF_SUMS
    bounds = values.mean(axis=0) + k * values.std(axis=0, ddof=1)
    safe: Integers = (bounds * (1.0 - _MARGIN)).astype(np.int64)
    return safe


def limits_below(values: Integers, bounds: Integers, floor_micros: int, least_events: int) -> Integers:
    """Return up to which `values` nothing happens to bars that have these `bounds`, a row for each bar, by series.

    A bar that has passed its limits already may have to be said.
    """
    micros, counts = values[:, :COUNTS], values[:, COUNTS:]
    is_poor, is_few = micros < floor_micros, counts < least_events
    above_micros, above_count = ~is_poor & (micros > bounds[:, :COUNTS]), counts > bounds[:, COUNTS:]
    of_micros = np.maximum(bounds[:, :COUNTS], floor_micros - 1)
    of_micros[is_few & above_micros] = ENDLESS
    of_micros[is_poor & above_count] = floor_micros - 1
    of_counts = np.where(above_count & (is_poor | is_few), ENDLESS, bounds[:, COUNTS:])
    waits = is_few & ~is_poor & (above_micros | above_count)
    of_counts[waits] = least_events - 1
    return np.hstack((of_micros, of_counts))
