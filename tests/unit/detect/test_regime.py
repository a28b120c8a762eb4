"""Regimes: bounds by quantiles, and what a bar is by them."""

from __future__ import annotations

import random

import pytest

from pipeline.detect.regime import LEAST_BARS, Bounds, DayOfBars, bounds_of, regime_of

BOUNDS = Bounds(low_micros=100, high_micros=1_000, low_events=5, high_events=50, bars=2_016)


@pytest.mark.parametrize(
    ("micros", "events", "regime"),
    [
        (1_001, 51, "broad_stress"),
        (1_001, 5, "large_positions"),
        (1_001, 6, "ordinary"),
        (100, 51, "retail_washout"),
        (100, 5, "quiet"),
        (1_001, 50, "ordinary"),
        (1_000, 51, "ordinary"),
        (101, 5, "ordinary"),
        (100, 6, "ordinary"),
        (0, 0, "quiet"),
    ],
)
def test_a_bar_is_what_its_usd_and_events_say(micros, events, regime):
    assert regime_of(micros, events, BOUNDS) == regime


def hundred_bars(empty):
    day = DayOfBars()
    for number in range(100):
        day.add((number >= empty) * (1_000 + number), int(number >= empty) * (1 + number))
    return bounds_of([day], 0.25, 0.9)


def test_empty_bars_are_quiet_where_a_quarter_of_the_bars_is_empty():
    bounds = hundred_bars(empty=60)
    assert (bounds.low_micros, bounds.low_events, bounds.quiet) == (0, 0, 60)
    assert regime_of(0, 0, bounds) == "quiet"
    assert regime_of(1, 1, bounds) == "ordinary"


@pytest.mark.parametrize(
    ("empty", "least"),
    # 0.5 ** 24 = 0.25 ** 12, and 0.9 ** 158 is the power of it that is nearest to that.
    [(0, 12), (20, 12), (50, 24), (90, 158), (100, None)],
)
def test_the_more_bars_are_quiet_the_more_in_a_row_are_a_period(empty, least):
    assert hundred_bars(empty).least_quiet_bars(12, 0.25) == least


def test_no_bar_is_as_rare_as_never():
    assert hundred_bars(50).least_quiet_bars(12, 0.0) is None


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_those_of_all_covered_bars_with_the_empty_ones(seed):
    chance = random.Random(seed)
    days, micros, events = [], [], []
    for _ in range(3):
        day = DayOfBars()
        for _ in range(chance.randrange(20, 288)):
            count = chance.choice((0, 0, 1, 5, 30))
            value = chance.randrange(10**9) if count else 0
            day.add(value, count)
            micros.append(value)
            events.append(count)
        days.append(day)
    bounds = bounds_of(days, 0.25, 0.9)
    assert bounds.bars == len(micros)
    assert bounds.low_micros == sorted(micros)[int(0.25 * len(micros))]
    assert bounds.high_micros == sorted(micros)[int(0.9 * len(micros))]
    assert bounds.high_events == sorted(events)[int(0.9 * len(events))]
    whole = bounds_of(days, 0.0, 1.0)
    assert (whole.low_micros, whole.high_micros) == (min(micros), max(micros))


def test_too_few_bars_give_no_bounds():
    day = DayOfBars(covered=LEAST_BARS - 1)
    assert bounds_of([day], 0.25, 0.9) is None
    day.add(0, 0)
    assert bounds_of([day], 0.25, 0.9).bars == LEAST_BARS
