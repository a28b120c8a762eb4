"""Surges whose rule looks further back than the bars of its baseline."""

from __future__ import annotations

import math
import random
from collections import defaultdict

import pytest
from event_logs import CHANNELS, CONTRACTS, heartbeat, liquidation, run

from pipeline.detect.rules import Rules
from pipeline.windows.parameters import WindowParameters

USD, MINUTE, HOUR, DAY = 1_000_000, 60_000, 3_600_000, 86_400_000
MONDAY = 1_788_739_200_000
PARAMETERS = WindowParameters(silence_probability=0)


def rules(**surge):
    others = {name: {"enabled": False} for name in Rules.model_fields if name != "surge"}
    chosen = {"measures": ["usd"], "positions": ["long"], "floor_usd": 1_000, "least_events": 1, **surge}
    return Rules.model_validate({**others, "surge": chosen})


def beats(begin, end, step):
    return [heartbeat(time, channel) for time in range(begin, end, step) for channel in CHANNELS]


def in_order(records):
    return sorted(records, key=lambda one: getattr(one, "event_time", None) or one.time + 0.5)


def latest(log, chosen, cuts=None, restart=False):
    published, _ = run(log, cuts, restart, parameters=PARAMETERS, rules=chosen)
    return sorted(published.latest().anomalies.values(), key=lambda one: (one.started, one.scope, one.interval_ms))


@pytest.fixture(scope="module")
def hours():
    """Nine hours of one contract, an event in two of three minutes, of sizes with a heavy tail."""
    chance = random.Random(4)
    events = []
    for minute in range(9 * 60):
        if chance.random() < 0.66:
            usd = round(chance.lognormvariate(9, 1.5))
            time = MONDAY + minute * MINUTE + chance.randrange(1, 59) * 1_000
            events.append(liquidation(len(events) + 1, time, CONTRACTS[0], "long", usd * USD, completeness="full"))
    return in_order([*events, *beats(MONDAY - MINUTE, MONDAY + 9 * HOUR + MINUTE, 5_000)]), events


def test_the_quantile_is_that_of_the_last_bars_that_are_not_empty(hours):
    log, events = hours
    q, last = 0.95, 200
    bars = defaultdict(int)
    for event in events:
        bars[event.event_time - event.event_time % MINUTE] += event.notional_micros
    expected = {}
    starts = sorted(bars)
    for place, start in enumerate(starts):
        before = sorted(bars[one] for one in starts[max(0, place - last) : place])
        if before and bars[start] > before[max(0, math.ceil(q * len(before)) - 1)]:
            expected[start] = (len(before), before[max(0, math.ceil(q * len(before)) - 1)] / USD)
    found = latest(log, rules(scorer="quantile", q=q, last=last, intervals_s=[60], scopes=["asset"]))
    assert {row.started: (row.baseline_n, row.threshold) for row in found} == expected
    assert len(expected) > 10
    assert max(n for n, _ in expected.values()) == last
    assert {(row.baseline_mean, row.baseline_sd) for row in found} == {(None, None)}


@pytest.mark.parametrize("period", [2, 30])
def test_restarts_change_nothing(hours, period):
    log, _ = hours
    chosen = rules(scorer="quantile", q=0.95, last=100, period=period, min_value_usd=2_000)
    plain = latest(log, chosen)
    assert {row.interval_ms for row in plain} > {60_000, 300_000}
    assert {row.scope for row in plain} == {"asset", "instrument"}
    chance = random.Random(8)
    cuts = sorted(chance.sample(range(len(log)), 40))
    assert latest(log, chosen, cuts) == plain
    assert latest(log, chosen, cuts, restart=True) == plain


@pytest.fixture(scope="module")
def two_weeks():
    """Hours of an event every ten minutes, at 15 to 17 o'clock eight times as large; on the third Monday, too."""
    events = []
    for step in range((14 * 24 + 18) * 6):
        time = MONDAY + step * 10 * MINUTE + 1_000
        hour = step // 6 % 24
        usd = 1_000 * (8 if hour in (15, 16) else 1) * (1 + step % 5)
        events.append(liquidation(step + 1, time, CONTRACTS[0], "long", usd * USD, completeness="full"))
    end = MONDAY + (14 * 24 + 18) * HOUR
    return in_order([*events, *beats(MONDAY - MINUTE, end, 25_000)])


def test_what_is_usual_at_its_hour_of_the_week_is_no_surge(two_weeks):
    third_monday = MONDAY + 14 * DAY
    chosen = {"intervals_s": [3_600], "scopes": ["asset"], "least_events": 3}

    def afternoon(season, scorer):
        found = latest(two_weeks, rules(season=season, scorer=scorer, **chosen))
        return [row for row in found if third_monday + 15 * HOUR <= row.started < third_monday + 17 * HOUR]

    assert len(afternoon("none", "mean_sd")) == 2
    assert afternoon("hour_of_week", "mean_sd") == []


def test_a_surge_beyond_the_season_says_its_factor(two_weeks):
    third_monday = MONDAY + 14 * DAY
    start = third_monday + 15 * HOUR
    extra = liquidation(10**6, start + 5 * MINUTE, CONTRACTS[0], "long", 2_000_000 * USD, completeness="full")
    chosen = rules(season="hour_of_week", intervals_s=[3_600], scopes=["asset"])
    log = in_order([*two_weeks, extra])
    plain = latest(log, chosen)
    row = next(row for row in plain if row.started == start)
    # Two Mondays with eight times the usual, drawn towards it by four weeks.
    assert row.details["season"] == pytest.approx((2 * 8 + 4) / 6, rel=0.05)
    assert row.threshold == pytest.approx(row.baseline_mean + 2.5 * row.baseline_sd)
    assert latest(log, chosen, list(range(0, len(log), 9_973)), restart=True) == plain
