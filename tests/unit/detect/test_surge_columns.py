"""Bars that columns let go on unseen are bars of which looking at each would have said nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.detect.limits import VALUES_OF_SUMS
from pipeline.detect.rules import SurgeRule
from pipeline.detect.surge import COUNTS, SERIES, baselines_of, scorer_of, unit_of
from pipeline.detect.surge_columns import limits_below, safe_bounds

USD = 1_000_000
FLOOR, LEAST = 50_000 * USD, 3
RULE = SurgeRule(floor_usd=FLOOR / USD, least_events=LEAST)


def fires(values, baselines):
    return any(
        baseline.threshold is not None
        and values[number] / unit_of(number) > baseline.threshold
        and values[number % COUNTS] >= FLOOR
        and values[number % COUNTS + COUNTS] >= LEAST
        for number, baseline in enumerate(baselines)
    )


def bar(chance, size=1.0):
    longs, shorts = chance.choice([0, 0, 1, 2, 5, 40]), chance.choice([0, 1, 3, 9])
    usd = [chance.choice([1, 20_000, chance.lognormvariate(9, 2)]) * number * size for number in (longs, shorts)]
    return [round(usd[0] * USD), round(usd[1] * USD), longs, shorts]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bars", [0, 1, 2, 3, 30])
def test_no_bar_that_fires_is_below_its_limits(bars, seed):
    chance = random.Random(seed)
    owners = 200
    before = [[bar(chance) for _ in range(owners)] for _ in range(bars)]
    sums = np.array([bar(chance) for _ in range(owners)])
    bounds = safe_bounds(np.array(before, dtype=np.int64).reshape(bars, owners, 4), RULE.k)
    limits = limits_below(sums @ VALUES_OF_SUMS, bounds, FLOOR, LEAST)
    baselines = [
        baselines_of((0, 0, 0, 0), [row[owner] for row in before], RULE, scorer_of(RULE)) for owner in range(owners)
    ]
    fired = 0
    for _ in range(20):
        values = sums @ VALUES_OF_SUMS
        for owner, is_below in enumerate((values <= limits).all(axis=1)):
            does_fire = fires(values[owner].tolist(), baselines[owner])
            fired += does_fire
            assert not (is_below and does_fire)
        sums = sums + np.array([bar(chance, size=0.2) for _ in range(owners)])
    assert (fired > 0) == (bars > 1)


def test_a_value_that_is_at_its_bound_is_left_to_whole_numbers():
    before = np.array([[[7 * USD, 0, 4, 0]], [[7 * USD, 0, 4, 0]]])
    bounds = safe_bounds(before, 2.5)
    assert bounds[0, SERIES.index(("usd", "long"))] in range(7 * USD - 2, 7 * USD)
    assert bounds[0, SERIES.index(("count", "long"))] == 3
    assert bounds[0, SERIES.index(("count", "short"))] == 0


@pytest.mark.parametrize(
    ("sums", "passes"),
    [
        ([FLOOR - 1, 0, 9, 0], False),
        ([FLOOR, 0, LEAST - 1, 0], False),
        ([FLOOR, 0, LEAST, 0], True),
        ([FLOOR - 1, FLOOR, 9, 1], True),
    ],
)
def test_what_is_above_its_bound_waits_for_the_floor_and_the_least_number(sums, passes):
    values = np.array([sums]) @ VALUES_OF_SUMS
    limits = limits_below(values, np.zeros((1, len(SERIES)), dtype=np.int64), FLOOR, LEAST)
    assert (values > limits).any() == passes
    grown = np.array([[sums[0] + 1, sums[1], sums[2] + 1, sums[3]]]) @ VALUES_OF_SUMS
    assert (grown > limits).any()
