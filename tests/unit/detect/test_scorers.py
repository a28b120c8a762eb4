"""Scorers against values worked out by hand, and what no set of values may do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.scorers import (
    CountTail,
    FreezingAverage,
    MeanAndDeviation,
    MedianAndMad,
    Quantile,
    moments,
)

SCORERS = [MeanAndDeviation(), MedianAndMad(), Quantile(), FreezingAverage(), CountTail()]
VALUES = st.lists(st.floats(0, 1e12), max_size=60)


def test_mean_and_deviation_by_hand():
    # 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sum of squares 32, sample variance 32 / 7.
    judged = MeanAndDeviation().judge([2, 4, 4, 4, 5, 5, 7, 9])
    assert (judged.n, judged.mean) == (8, 5)
    assert judged.sd == pytest.approx(math.sqrt(32 / 7))
    assert judged.threshold == pytest.approx(5 + 2.5 * math.sqrt(32 / 7))


@pytest.mark.parametrize("n", range(2, 40))
def test_a_value_within_its_own_window_cannot_exceed_n_minus_1_over_root_n(n):
    """Why an inclusive window of 8 or fewer never passes 2.5 deviations."""
    _, mean, sd = moments([0.0] * (n - 1) + [1e6])
    most = (1e6 - mean) / sd
    assert most == pytest.approx((n - 1) / math.sqrt(n))
    assert (most > 2.5) == (n >= 9)


def test_median_and_mad_by_hand():
    logs = [0, 1, 2, 3, 4]
    judged = MedianAndMad().judge([math.expm1(value) for value in logs])
    # Median 2, deviations 2 1 0 1 2, their median 1.
    assert judged.threshold == pytest.approx(math.expm1(2 + 3.5 / 0.6745))


def test_median_and_mad_where_most_values_are_equal():
    judged = MedianAndMad().judge([0, 0, 0, math.expm1(1)])
    assert judged.threshold == pytest.approx(math.expm1(3.5 * 0.25 * math.sqrt(math.pi / 2)))
    assert MedianAndMad().judge([5, 5, 5]).threshold is None


def test_quantile_leaves_zeros_and_old_values_out():
    assert Quantile(q=0.5).judge([0, 0, 0, 1, 2, 3, 4]).threshold == 2
    assert Quantile(q=0.999).judge([0, 1, 2, 3, 4]).threshold == 4
    assert Quantile(q=1.0, last=2).judge([9, 1, 2]).threshold == 2
    assert Quantile().judge([0, 0]).threshold is None


def test_a_spike_is_not_learned():
    calm = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0, 10.0]
    scorer = FreezingAverage()
    assert scorer.judge([*calm, 1_000.0]).threshold == scorer.judge(calm).threshold
    assert scorer.judge(calm[:4]).threshold is None


def test_weighted_average_by_hand():
    judged = FreezingAverage(span=3, warm_up=2).judge([10.0, 14.0])
    # Weight 1/2: mean 12, variance 1/2 * (0 + 1/2 * 16) = 4.
    assert (judged.mean, judged.sd, judged.threshold) == (12, 2, 17)


def test_tail_of_poisson_counts():
    # Mean 2, sample variance 2/3: Poisson. P(X >= 8) = 0.0010967, P(X >= 9) = 0.00023745, P(X >= 10) = 0.0000465.
    values = [1, 2, 3, 2]
    assert CountTail(1e-3).judge(values).threshold == 8
    assert CountTail(2e-4).judge(values).threshold == 9
    assert CountTail(1e-4).judge(values).threshold == 9
    assert CountTail(4e-5).judge(values).threshold == 10


def test_tail_of_dispersed_counts_is_longer():
    # Mean 2 and variance 4: size 2, share 1/2, p(c) = (c + 1) / 2 ** (c + 2), P(X >= c) = (c + 2) / 2 ** (c + 1).
    wide = [0, 4, 0, 4, 2]
    assert moments(wide)[2] ** 2 == pytest.approx(4)
    for probability in (0.05, 1e-2, 1e-3, 1e-4, 1e-6):
        highest = max(c for c in range(60) if (c + 2) / 2 ** (c + 1) >= probability)
        assert CountTail(probability).judge(wide).threshold == highest


def test_counts_that_are_all_zero_say_nothing():
    assert CountTail().judge([0, 0, 0]).threshold is None


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.name)
@given(values=VALUES)
def test_a_bound_is_a_number_or_nothing(scorer, values):
    if isinstance(scorer, CountTail):
        values = [math.floor(value % 1_000) for value in values]
    judged = scorer.judge(values)
    assert judged.threshold is None or (math.isfinite(judged.threshold) and judged.threshold >= 0)
    assert judged.n <= len(values)


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.name)
def test_nothing_is_judged_by_nothing(scorer):
    assert scorer.judge([]).threshold is None
