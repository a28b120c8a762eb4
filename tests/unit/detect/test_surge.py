"""Surges: the default rule against its definition, and what keeps it from flagging."""

from __future__ import annotations

import random
import statistics

import pytest

from pipeline.detect.rules import SurgeRule
from pipeline.detect.scorers import moments, moments_of_whole
from pipeline.detect.surge import COUNTS, SERIES, baselines_of, scorer_of, values_of

USD = 1_000_000
RULE = SurgeRule()


def longs(usd):
    return (usd * USD, 0, 1 if usd else 0, 0)


def baseline(before, bar, rule=RULE, measure="usd", position="long"):
    return baselines_of(bar, before, rule, scorer_of(rule))[SERIES.index((measure, position))]


def test_the_bound_is_the_mean_and_two_and_a_half_sample_deviations_of_the_bars_before():
    chance = random.Random(3)
    usual = [chance.randrange(1_000, 2_000) for _ in range(30)]
    found = baseline([longs(usd) for usd in usual], longs(10**9))
    assert found.n == 30
    assert found.mean == pytest.approx(statistics.mean(usual))
    assert found.sd == pytest.approx(statistics.stdev(usual))
    assert found.threshold == pytest.approx(statistics.mean(usual) + 2.5 * statistics.stdev(usual))


def test_a_bar_in_its_own_baseline_of_eight_never_surges():
    before = [longs(0)] * 30
    eight = baseline(before, longs(10**9), SurgeRule(period=8, baseline="inclusive"))
    assert (eight.n, eight.threshold > 10**9) == (8, True)
    nine = baseline(before, longs(10**9), SurgeRule(period=9, baseline="inclusive"))
    assert (nine.n, nine.threshold < 10**9) == (9, True)


def test_measures_and_positions():
    assert values_of((1, 20, 300, 4_000)) == (1, 20, 21, 300, 4_000, 4_300)
    assert [measure for measure, _ in SERIES] == ["usd"] * COUNTS + ["count"] * COUNTS
    bars = [(1_000_000, 20_000_000, 300, 4_000), (3_000_000, 40_000_000, 500, 6_000)]
    assert [found.mean for found in baselines_of(bars[0], bars, RULE, scorer_of(RULE))] == [
        2,
        30,
        32,
        400,
        5_000,
        5_400,
    ]


def test_nothing_before_gives_no_bound():
    assert [found.threshold for found in baselines_of(longs(1), [], RULE, scorer_of(RULE))] == [None] * 6


@pytest.mark.parametrize("scorer", ["mean_sd", "median_mad", "quantile", "ewma", "count_tail"])
def test_every_scorer_gives_usd_and_counts_a_bound(scorer):
    chance = random.Random(5)
    before = [(chance.randrange(10**9, 10**10), 0, chance.randrange(1, 30), 0) for _ in range(30)]
    rule = SurgeRule(scorer=scorer)
    dollars = [micros / USD for micros, *_ in before]
    assert min(dollars) < baseline(before, before[0], rule).threshold < 10 * max(dollars)
    counts = [float(count) for _, _, count, _ in before]
    found = baseline(before, before[0], rule, "count")
    assert found == scorer_of(rule).judge(counts)


def test_whole_numbers_have_the_moments_of_their_values():
    chance = random.Random(7)
    for n in range(6):
        values = [chance.randrange(10**13) for _ in range(n)]
        assert moments_of_whole(values, USD) == pytest.approx(moments([value / USD for value in values]))
