"""Bars that have passed no limit are not looked at, and nothing is found otherwise, or later, for that."""

from __future__ import annotations

import random

import numpy as np
import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, PARAMETERS, candle, heartbeat, liquidation, run

from pipeline.detect.detectors import surge
from pipeline.detect.detectors.surge import SurgeDetector
from pipeline.detect.limits import ENDLESS, NOTHING, Limits
from pipeline.detect.rules import CascadeRule, RollingThresholdRule, Rules, SurgeRule

USD = 1_000_000
MINUTE_MS = 60_000
MINUTES, FIVES = 0, 1
LEAST = 100


def passed(limits, start=BASE_MS, owners=(0, 1, 5), interval=MINUTES, **sums):
    """Return which owners have passed a limit: micro-dollars of longs and shorts, numbers of longs and shorts."""
    rows = [sums.get(f"of_{owner}", [0, 0, 0, 0]) for owner in owners]
    return [owners[place] for place in limits.passed(interval, start, np.array(owners), np.array(rows))]


def test_a_bar_of_which_nothing_is_known_is_looked_at_from_the_least_that_is_judged():
    limits = Limits(LEAST)
    assert passed(limits, of_0=[60, 40, 900, 900]) == []
    assert passed(limits, of_0=[60, 41, 1, 1], of_5=[0, 101, 0, 1]) == [0, 5]


@pytest.mark.parametrize(
    ("series", "sums"),
    [
        (0, [8, 0, 0, 0]),
        (1, [0, 8, 0, 0]),
        (2, [4, 4, 0, 0]),
        (3, [0, 0, 8, 0]),
        (4, [0, 0, 0, 8]),
        (5, [0, 0, 4, 4]),
    ],
)
def test_each_series_has_a_limit(series, sums):
    limits = Limits(LEAST)
    of_series = [ENDLESS] * 6
    of_series[series] = 7
    limits.set(MINUTES, BASE_MS, 1, of_series)
    assert passed(limits, of_1=sums) == [1]
    of_series[series] = 8
    limits.set(MINUTES, BASE_MS, 1, of_series)
    assert passed(limits, of_1=sums) == []


def test_many_bars_get_limits_at_once():
    limits = Limits(LEAST)
    assert passed(limits, owners=(0, 1)) == []
    limits.set_all(MINUTES, BASE_MS, np.array([], dtype=np.int64), np.zeros((0, 6), dtype=np.int64))
    limits.set_all(MINUTES, BASE_MS, np.array([5, 1]), np.array([[ENDLESS] * 6, NOTHING]))
    assert passed(limits, of_5=[10**9, 0, 1, 0]) == [1]


def test_a_limit_is_that_of_one_bar():
    limits = Limits(LEAST)
    limits.set(MINUTES, BASE_MS, 1, NOTHING)
    assert passed(limits) == [1]
    assert passed(limits, BASE_MS + MINUTE_MS) == []
    assert passed(limits, interval=FIVES) == []


def test_bars_are_looked_at_anew_from_a_time_on():
    limits = Limits(LEAST)
    known = {}
    for start in (BASE_MS, BASE_MS + MINUTE_MS):
        for owner in (0, 1):
            limits.set(MINUTES, start, owner, [ENDLESS] * 6)
    huge = {f"of_{owner}": [10**9, 0, 1, 0] for owner in (0, 1)}
    limits.reset(np.array([1]), MINUTES, after=BASE_MS)
    for start in (BASE_MS, BASE_MS + MINUTE_MS):
        known[start] = passed(limits, start, **huge)
    assert known == {BASE_MS: [], BASE_MS + MINUTE_MS: [1]}
    limits.reset(np.array([0, 7]))
    assert passed(limits, **huge) == [0]
    limits.clear()
    assert passed(limits, **huge) == [0, 1]


def test_limits_are_forgotten_with_the_last_correction():
    limits = Limits(LEAST)
    limits.set(MINUTES, BASE_MS, 1, NOTHING)
    last = BASE_MS + MINUTE_MS + PARAMETERS.lateness_ms + PARAMETERS.correction_ms
    limits.forget(last - 1, PARAMETERS)
    assert passed(limits) == [1]
    limits.forget(last, PARAMETERS)
    assert passed(limits) == []


def market(seed, seconds=3_000):
    """Return a log of two assets with quiet and violent times, in which nothing is late."""
    chance = random.Random(seed)
    log, number = [], 0
    for second in range(seconds):
        now = BASE_MS + second * 1_000
        log += [heartbeat(now, channel) for channel in CHANNELS]
        if second % 60 == 7:
            start = now - now % MINUTE_MS - MINUTE_MS
            log += [candle(start, contract, chance.uniform(90, 110), 10**9) for contract in CONTRACTS]
        is_crash = second % 900 > 840
        for _ in range(chance.randrange(9) if is_crash else chance.random() < 0.4):
            number += 1
            size = int(chance.lognormvariate(8.5 if is_crash else 7.0, 1.8) * USD)
            side = "long" if chance.random() < 0.85 else "short"
            log.append(liquidation(number, now + chance.randrange(1_000), chance.choice(CONTRACTS), side, size))
    return log


RULES = Rules(
    surge=SurgeRule(floor_usd=5_000),
    rolling_threshold=RollingThresholdRule(base_usd=300_000),
    cascade=CascadeRule(floor_usd=20_000, least_move_sd=0.0),
)


@pytest.mark.parametrize(("seed", "least_in_columns"), [(0, 1), (1, 1), (2, 1_000)])
def test_the_same_is_found_at_the_same_tick_as_if_everything_were_looked_at(seed, least_in_columns, monkeypatch):
    log = market(seed)
    monkeypatch.setattr(surge, "_MANY", least_in_columns)
    looked = []
    look_at = SurgeDetector._look_at
    monkeypatch.setattr(SurgeDetector, "_look_at", lambda rule, *what: (looked.append(what), look_at(rule, *what)))
    found, _ = run(log, rules=RULES)
    less = len(looked)
    looked.clear()
    monkeypatch.setattr(surge, "_MANY", 1_000)
    monkeypatch.setattr(Limits, "passed", lambda _limits, _interval, _start, owners, _sums: np.arange(len(owners)))
    at_once, _ = run(log, rules=RULES)
    assert less < 0.6 * len(looked)

    first, first_at_once = ({one: said[1] for one, said in any_.anomalies.items()} for any_ in (found, at_once))
    assert first == first_at_once
    assert {one.kind for one in first.values()} >= {"surge", "rolling_threshold", "cascade"}
    last, last_at_once = ({one: said[max(said)] for one, said in any_.anomalies.items()} for any_ in (found, at_once))
    assert {key: (one.value, one.state, one.ended) for key, one in last.items()} == {
        key: (one.value, one.state, one.ended) for key, one in last_at_once.items()
    }
