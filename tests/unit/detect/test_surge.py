"""Surges: the default rule against its definition, and what keeps it from flagging."""

from __future__ import annotations

import random
import statistics

import pytest

from pipeline.detect.minute_history import MINUTE_MS, MinuteHistory
from pipeline.detect.rules import SurgeRule
from pipeline.detect.surge import judge, scorer_of

USD = 1_000_000
BEGIN = 1_700_000_040_000 - 1_700_000_040_000 % 3_600_000
RULE = SurgeRule(floor_usd=0.0, least_events=1)


def always(*_):
    return True


def history_of(*usd_by_minute, position="long", each=1):
    history = MinuteHistory()
    for minute, usd in enumerate(usd_by_minute):
        for _ in range(each if usd else 0):
            history.add(BEGIN + minute * MINUTE_MS + 7, position, usd * USD // each)
    return history


def verdict(history, minute, rule=RULE, interval=MINUTE_MS, measure="usd", position="long", covered=always):
    return judge(history, BEGIN + minute * MINUTE_MS, interval, measure, position, rule, scorer_of(rule), covered)


def test_a_bar_is_judged_by_the_thirty_before_it():
    chance = random.Random(3)
    usual = [chance.randrange(1_000, 2_000) for _ in range(30)]
    bound = statistics.mean(usual) + 2.5 * statistics.stdev(usual)
    for value, surges in ((bound + 1, True), (bound - 1, False)):
        # The minute before the thirty is not in the baseline, however high.
        found = verdict(history_of(10**9, *usual, round(value)), 31)
        assert found.surges is surges
        assert found.value == round(value)
        assert found.baseline.n == 30
        assert found.baseline.threshold == pytest.approx(bound)


def test_minutes_without_events_are_zeros_and_minutes_without_coverage_are_nothing():
    history = history_of(*[600] * 10, *[0] * 20, 500)
    assert verdict(history, 30).baseline.mean == pytest.approx(200)
    blind = verdict(history, 30, covered=lambda start, _: 0 <= start - BEGIN < 10 * MINUTE_MS)
    assert (blind.baseline.n, blind.baseline.mean, blind.surges) == (10, 600, False)
    # Covered bars are looked for four periods back, no further.
    far = verdict(
        history_of(*[600] * 10, *[0] * 120, 500), 130, covered=lambda start, _: start < BEGIN + 12 * MINUTE_MS
    )
    assert far.baseline.n == 2


def test_floor_and_least_number_keep_an_empty_baseline_from_flagging():
    history = history_of(*[0] * 30, 60_000, each=2)
    assert verdict(history, 30).surges
    assert not verdict(history, 30, SurgeRule(least_events=1, floor_usd=60_001.0)).surges
    assert verdict(history, 30, SurgeRule(least_events=1, floor_usd=60_000.0)).surges
    assert not verdict(history, 30, SurgeRule(least_events=3)).surges
    assert not verdict(history_of(*[0] * 40), 30, RULE).surges


def test_a_bar_in_its_own_baseline_of_eight_never_surges():
    inclusive = SurgeRule(period=8, baseline="inclusive", floor_usd=0.0, least_events=1)
    assert not verdict(history_of(*[0] * 30, 10**9), 30, inclusive).surges
    nine = SurgeRule(period=9, baseline="inclusive", floor_usd=0.0, least_events=1)
    found = verdict(history_of(*[0] * 30, 10**9), 30, nine)
    assert found.surges
    assert found.baseline.n == 9


def test_measures_positions_and_intervals():
    history = MinuteHistory()
    for minute in range(360):
        history.add(BEGIN + minute * MINUTE_MS, "long", 100 * USD)
        history.add(BEGIN + minute * MINUTE_MS + 59_999, "short", 300 * USD)
    history.add(BEGIN + 359 * MINUTE_MS, "short", 5_000 * USD)
    hour = 3_600_000
    found = {
        (measure, position): verdict(
            history, 300, SurgeRule(period=5, floor_usd=0.0, least_events=1), hour, measure, position
        )
        for measure in ("usd", "count")
        for position in ("long", "short", "both")
    }
    assert {key: one.value for key, one in found.items()} == {
        ("usd", "long"): 6_000,
        ("usd", "short"): 23_000,
        ("usd", "both"): 29_000,
        ("count", "long"): 60,
        ("count", "short"): 61,
        ("count", "both"): 121,
    }
    assert {key: one.baseline.mean for key, one in found.items()}["usd", "both"] == 24_000
    assert {key for key, one in found.items() if one.surges} == {
        ("usd", "short"),
        ("usd", "both"),
        ("count", "short"),
        ("count", "both"),
    }


def test_what_is_forgotten_is_gone():
    history = history_of(*[10] * 20)
    history.forget(BEGIN + 5 * MINUTE_MS)
    assert min(history.minutes) == BEGIN + 5 * MINUTE_MS
    assert len(history.minutes) == 15
