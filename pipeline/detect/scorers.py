"""What a bar's value is judged against: scorers behind one interface.

A scorer reads the values of the bars before the one that is judged (oldest first; a covered bar without events is 0, a
bar without coverage is left out) and returns the bound that the value must exceed. Formulas: `rules_and_formulas` 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from statistics import fmean, median
from typing import Protocol

from pipeline.detect.highest_values import HighestValues

# Makes the median absolute deviation of a normal distribution its standard deviation (Iglewicz and Hoaglin 1993), and
# the same for the mean absolute deviation, which stands in where more than half of the values are equal.
_MAD_SCALE = 0.6745
_MEAN_DEVIATION_SCALE = math.sqrt(math.pi / 2)
# A count this far in the tail is searched for no further.
_MOST_COUNT = 100_000


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was found: number of values, their mean and sample standard deviation, and the bound.

    `threshold` is None where the values say nothing: too few, or nothing but zeros for a rule that leaves them out.
    `mean` and `sd` are None where not all values are kept. `season` is the factor by which all of it was multiplied.
    """

    n: int
    mean: float | None
    sd: float | None
    threshold: float | None
    season: float = 1.0

    def scaled(self, factor: float) -> Baseline:
        """Return the same of values that are `factor` times as high."""
        if factor == 1.0:
            return self
        mean, sd, threshold = (None if one is None else one * factor for one in (self.mean, self.sd, self.threshold))
        return Baseline(self.n, mean, sd, threshold, factor)


class Scorer(Protocol):
    """Finds the bound above which a value is abnormal."""

    @property
    def name(self) -> str:
        """Return the scorer's name, as it stands in the rules file and on anomalies."""
        ...

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return the bound after `values`, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class MeanAndDeviation:
    """Mean plus `k` sample standard deviations. The default rule (requirements S28, S29, S37)."""

    k: float = 2.5
    name: str = "mean_sd"

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return mean + k sd; None for fewer than two values."""
        n, mean, sd = moments(values)
        return Baseline(n, mean, sd, mean + self.k * sd if n > 1 else None)

    def judge_whole(self, values: Sequence[int], unit: int) -> Baseline:
        """Return the same for whole numbers of `unit`, in units: micro-dollars give USD."""
        n, mean, sd = moments_of_whole(values, unit)
        return Baseline(n, mean, sd, mean + self.k * sd if n > 1 else None)


@dataclass(frozen=True, slots=True)
class MedianAndMad:
    """Median and median absolute deviation of log(1 + x): `limit` is the modified z score."""

    limit: float = 3.5
    name: str = "median_mad"

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return the value whose modified z score is `limit`; None if all values are equal."""
        n, mean, sd = moments(values)
        if n < 2:  # noqa: PLR2004 - one value has no spread
            return Baseline(n, mean, sd, None)
        logs = [math.log1p(value) for value in values]
        middle = median(logs)
        deviations = [abs(value - middle) for value in logs]
        spread = median(deviations) / _MAD_SCALE or fmean(deviations) * _MEAN_DEVIATION_SCALE
        return Baseline(n, mean, sd, math.expm1(middle + self.limit * spread) if spread else None)


@dataclass(frozen=True, slots=True)
class Quantile:
    """The `q` quantile of the last `last` values that are not zero, which suits heavy tails.

    Where so many are not at hand, `pipeline.detect.surge_history` finds the same from what it keeps of them.
    """

    q: float = 0.999
    last: int = 3_000
    name: str = "quantile"

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return the smallest value with at least the share `q` of values at or below it; None without any."""
        kept = [value for value in values if value > 0][-self.last :]
        n, mean, sd = moments(kept)
        return Baseline(n, mean, sd, HighestValues().quantile(kept, self.q, self.last)[1])


@dataclass(frozen=True, slots=True)
class FreezingAverage:
    """An exponentially weighted mean and variance that do not learn from what they flag.

    Weight 2 / (`span` + 1). The first `warm_up` values are always learned. A learned spike would hide the next one.
    """

    k: float = 2.5
    span: int = 30
    warm_up: int = 5
    name: str = "ewma"

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return weighted mean + k weighted deviation; None before the warm-up is over."""
        if not values:
            return Baseline(0, 0.0, 0.0, None)
        weight = 2.0 / (self.span + 1)
        mean, variance, learned = float(values[0]), 0.0, 1
        for value in values[1:]:
            if learned >= self.warm_up and value > mean + self.k * math.sqrt(variance):
                continue
            apart = value - mean
            variance = (1.0 - weight) * (variance + weight * apart * apart)
            mean += weight * apart
            learned += 1
        sd = math.sqrt(variance)
        return Baseline(learned, mean, sd, mean + self.k * sd if learned >= self.warm_up else None)


@dataclass(frozen=True, slots=True)
class CountTail:
    """The tail of a negative binomial distribution with the values' mean and dispersion, for counts.

    A count is flagged when one at least as high has a probability under `probability`. Where the variance is not above
    the mean, the distribution is Poisson's.
    """

    probability: float = 1e-4
    name: str = "count_tail"

    def judge(self, values: Sequence[float]) -> Baseline:
        """Return the highest count that is still usual; None for fewer than two values or none above zero."""
        n, mean, sd = moments(values)
        if n < 2 or mean <= 0:  # noqa: PLR2004 - one value has no dispersion
            return Baseline(n, mean, sd, None)
        return Baseline(n, mean, sd, float(self._highest_usual(mean, sd * sd)))

    def _highest_usual(self, mean: float, variance: float) -> int:
        """Return the largest c with P(X >= c) >= probability."""
        # p(0) and the ratio of neighbours p(c + 1) / p(c) of either distribution.
        if variance > mean * (1 + 1e-9):
            size = mean * mean / (variance - mean)
            share = mean / variance
            now, grow, shift = size * math.log(share), 1.0 - share, size
        else:
            now, grow, shift = -mean, 0.0, mean
        tail, count = 1.0, 0
        while tail >= self.probability and count < _MOST_COUNT:
            tail -= math.exp(now)
            ratio = grow * (count + shift) / (count + 1) if grow else shift / (count + 1)
            now += math.log(ratio)
            count += 1
        return count - 1


def moments(values: Sequence[float]) -> tuple[int, float, float]:
    """Return number, mean and sample standard deviation (0 for fewer than two), summed exactly."""
    n = len(values)
    if not n:
        return 0, 0.0, 0.0
    mean = math.fsum(values) / n
    if n == 1:
        return 1, mean, 0.0
    return n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def moments_of_whole(values: Sequence[int], unit: int) -> tuple[int, float, float]:
    """Return number, mean and sample standard deviation of whole numbers of `unit`, in units.

    Whole numbers are summed exactly, so one pass does.
    """
    n = len(values)
    if not n:
        return 0, 0.0, 0.0
    total = sum(values)
    if n == 1:
        return 1, total / unit, 0.0
    spread = n * sum(map(mul, values, values)) - total * total
    return n, total / (n * unit), math.sqrt(spread / (n * (n - 1))) / unit
