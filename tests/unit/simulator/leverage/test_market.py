"""Cascades emerge from positions and impact, the same on every machine, and the crash has its shape."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest

from pipeline.embedded.simulator.leverage import SCENARIOS, Run
from pipeline.embedded.simulator.leverage.market import steps
from pipeline.embedded.simulator.leverage.scenarios import Phase

# Of the forced orders of twenty restless minutes. It changes only when the market is changed on purpose.
STRESS_SHA256 = "68c4bed27689e7fd6cf59e66507c51d769ebb22d762af389d799937a1fffa3e7"

SHORT = replace(
    SCENARIOS["stress"],
    seconds=1_200,
    phases=(Phase(0, -0.001, volatility=2.0, depth=0.5, shocks=4.0),),
    crowding=0.5,
)


def orders(scenario, seed=7):
    return [forced for step in steps(scenario, seed) for forced in step.forced]


def digest(found):
    return sha256("\n".join(repr((*one.closure, one.caused)) for one in found).encode()).hexdigest()


def test_the_same_seed_gives_the_same_orders_on_every_machine():
    assert digest(orders(SHORT)) == STRESS_SHA256


def test_another_seed_gives_another_market():
    first, second = orders(SHORT, 1), orders(SHORT, 2)
    assert first
    assert digest(first) != digest(second)


def test_orders_come_in_order_and_no_two_look_the_same():
    found = orders(SHORT)
    assert all(first.closure.time_ms <= second.closure.time_ms + 10 for first, second in pairwise(found))
    keys = Counter((one.closure.time_ms, one.closure.contract, one.closure.long) for one in found)
    assert set(keys.values()) == {1}


def caused(phase):
    found = orders(replace(SHORT, phases=(phase,)))
    return sum(one.caused for one in found), len(found)


def test_thin_books_make_cascades_and_deep_ones_do_not():
    phase = SHORT.phases[0]
    by_depth = [caused(replace(phase, depth=depth)) for depth in (0.1, 1.0, 1e9)]
    shares = [made / count for made, count in by_depth]
    assert shares[0] > shares[1] > 0
    assert by_depth[2][0] == 0
    # What the pressure reaches would not have been closed otherwise.
    assert by_depth[0][1] > 1.05 * by_depth[2][1]


def test_a_fall_closes_longs_and_a_rise_shorts():
    for drift, long in ((-0.002, True), (0.002, False)):
        found = orders(replace(SHORT, phases=(Phase(0, drift, shocks=0.0),)))
        assert sum(one.closure.long == long for one in found) > 0.9 * len(found)


def test_more_leverage_burns_first():
    # Bankruptcy lies behind the price of closing by about the maintenance margin: little for small positions.
    found = orders(replace(SHORT, phases=(Phase(0, -0.0002, depth=1e9, shocks=0.0),)))
    behind = [one.closure.bankruptcy_steps / one.closure.price_steps - 1 for one in found if one.closure.long]
    assert behind
    assert max(behind) < 0.01
    assert min(behind) > -0.06


@pytest.fixture(scope="session")
def crash():
    run = Run(SCENARIOS["crash"])
    for step in steps(run.scenario, run.seed):
        for forced in step.forced:
            run.enter(forced)
    run.ledger.close()
    return run.ledger


def test_the_crash_has_the_shape_of_the_tenth_of_october(crash):
    """9.9 billion USD in all, 6.9 of it within 40 minutes, a peak minute of 3.2, 84 % longs."""
    start_ms = crash.scenario.start_ms
    minutes = Counter()
    for (_, start), sums in crash.minutes.items():
        minutes[(start - start_ms) // 60_000] += sums.long_micros + sums.short_micros
    longs = sum(sums.long_micros for sums in crash.minutes.values())
    total = sum(minutes.values())
    assert 8.5e15 < total < 11.5e15
    peak = max(minutes, key=minutes.__getitem__)
    assert peak in range(794, 799), "21:15, minutes after 08:00"
    assert 0.27 < minutes[peak] / total < 0.37
    forty = max(sum(minutes[first + minute] for minute in range(40)) for first in range(peak - 39, peak + 1))
    assert 0.62 < forty / total < 0.78
    assert 0.79 < longs / total < 0.89
    # Before the news the day is a usual one.
    before = sum(minutes[minute] for minute in range(770))
    assert before < 0.06 * total


def test_the_crash_is_one_cascade_in_most_assets(crash):
    peak_ms = crash.scenario.start_ms + 795 * 60_000
    there = {one.asset for one in crash.cascades if one.position == "long" and one.begin <= peak_ms + 60_000 <= one.end}
    assert len(there) > 20
    largest = max(crash.cascades, key=lambda one: one.micros)
    assert largest.caused > 0.5 * largest.count
    assert len(largest.exchanges) == 6
