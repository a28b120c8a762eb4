"""Cascades: when a run is one, how it grows, when it has subsided."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pipeline.detect.cascade import AssetRuns, CascadeParameters, Forced, advance, late, take
from pipeline.detect.run_sizes import DAY_MS, class_of, edge_of, note, quantile

USD = 1_000_000
BEGIN = 1_700_000_000_000
PARAMETERS = CascadeParameters(floor_micros=1_000 * USD)


def unknown(*_):
    return None


def event(second, usd=1_000, position="long", number=None, exchange="bybit", price=100.0, sampled=False):
    time = BEGIN + round(second * 1_000)
    name = (number if number is not None else round(second * 1_000)).to_bytes(16, "big")
    return Forced(time, name, exchange, position, usd * USD, price, sampled)


def run_of(*events, parameters=PARAMETERS, moved=unknown, runs=None):
    runs = runs if runs is not None else AssetRuns()
    return [change for one in events for change in take(runs, one, parameters, moved)]


def test_it_opens_with_the_event_that_completes_it():
    changes = run_of(*[event(second) for second in range(6)])
    opened = changes[0].run
    assert opened.opened == BEGIN + 4_000
    assert (opened.begin, opened.threshold_micros) == (BEGIN, 1_000 * USD)
    # One change with the fifth event, one with the sixth.
    assert [change.ended for change in changes] == [None, None]
    assert opened.revision == 2


def test_a_gap_above_the_limit_parts_two_runs_and_one_at_the_limit_does_not():
    at_the_limit = [event(second) for second in (0, 1, 2, 22, 23)]
    assert run_of(*at_the_limit)
    above = [event(second) for second in (0, 1, 2, 22.001, 23)]
    assert not run_of(*above)


def test_runs_of_sampled_feeds_may_have_longer_gaps():
    seconds = (0, 25, 50, 75, 100)
    assert not run_of(*[event(second) for second in seconds])
    assert run_of(*[event(second, sampled=True) for second in seconds])


def test_a_fight_of_both_sides_is_none():
    longs = [event(second, 1_000) for second in range(5)]
    shorts = [event(second + 0.5, 540, "short") for second in range(5)]
    both = sorted([*longs, *shorts], key=lambda one: one.time)
    # 5,000 of 5,000 + 4 x 540 = 70 %, the shorts of its time only.
    assert {change.run.position for change in run_of(*both)} == {"long"}
    heavier = [replace(one, micros=700 * USD) if one.position == "short" else one for one in both]
    assert not run_of(*heavier)


def test_the_floor_must_be_exceeded():
    assert not run_of(*[event(second, 200) for second in range(5)])
    assert run_of(*[event(second, 201) for second in range(5)])


def test_usual_sizes_of_the_asset_raise_the_bound():
    runs = AssetRuns()
    for number in range(200):
        note(runs.sizes, BEGIN - DAY_MS + number, 50_000 * USD, 14)
    assert not run_of(*[event(second, 2_000) for second in range(8)], runs=runs)
    changes = run_of(*[event(100 + second, 20_000) for second in range(5)], runs=runs)
    assert changes[0].run.threshold_micros == edge_of(class_of(50_000 * USD))


def test_the_price_must_have_moved_with_the_flow_where_it_is_known():
    five = [event(second) for second in range(5)]
    assert not run_of(*five, moved=lambda *_: 1.99)
    assert run_of(*five, moved=lambda *_: 2.0)
    asked = []
    run_of(*five, moved=lambda *what: asked.append(what))
    assert asked == [("long", BEGIN, BEGIN + 4_000)]


def test_an_open_cascade_goes_on_through_three_gaps_and_ends_after():
    # A rate of one event in the last gap's length is above a tenth of the peak.
    runs = AssetRuns()
    slow = replace(PARAMETERS, end_rate=0.0)
    run_of(*[event(second) for second in range(5)], runs=runs, parameters=slow)
    assert advance(runs, BEGIN + 64_000, slow) == []
    [end] = advance(runs, BEGIN + 64_001, slow)
    assert (end.ended, end.reason) == (BEGIN + 64_000, "gap")
    assert runs.runs == {}
    assert advance(runs, BEGIN + 90_000, slow) == []


def test_it_has_subsided_when_the_rate_is_under_a_tenth_of_its_peak():
    runs = AssetRuns()
    run_of(*[event(second, 10_000) for second in range(10)], event(15, 5_000), runs=runs)
    # 100,000 in the first ten seconds; from second 29 on only the 5,000 of second 15 are within 20 s.
    assert advance(runs, BEGIN + 28_999, PARAMETERS) == []
    [end] = advance(runs, BEGIN + 60_000, PARAMETERS)
    assert (end.ended, end.reason) == (BEGIN + 29_000, "rate")


def test_an_event_after_the_end_begins_another_run():
    runs = AssetRuns()
    first = run_of(*[event(second, 10_000) for second in range(10)], runs=runs)
    changes = run_of(event(29.5, 10_000), runs=runs)
    assert [(change.ended, change.reason) for change in changes] == [(BEGIN + 29_000, "rate")]
    assert changes[0].run is first[0].run
    assert runs.runs["long"].begin == BEGIN + 29_500


def test_a_late_event_counts_in_the_cascade_of_its_time():
    runs = AssetRuns()
    run_of(*[event(second) for second in range(5)], runs=runs)
    [change] = late(runs, event(2.5, 7_000, exchange="okx"))
    assert (change.run.micros, change.run.count) == (12_000 * USD, 6)
    assert change.run.first_on == {"bybit": BEGIN, "okx": BEGIN + 2_500}
    assert change.run.largest[0] == (7_000 * USD, (2_500).to_bytes(16, "big"))
    assert late(runs, event(-1, 7_000, number=1)) == []
    assert late(runs, event(2.5, 7_000, "short")) == []


def test_what_it_says_of_a_cascade():
    changes = run_of(
        event(0, 1_000, price=100.0),
        event(1, 2_000, price=99.0, exchange="binance"),
        event(1.2, 3_000, price=97.0, exchange="okx"),
        event(2, 1_000, price=98.0),
        event(3, 1_000, price=99.5),
    )
    run = changes[-1].run
    assert run.first_on == {"bybit": BEGIN, "binance": BEGIN + 1_000, "okx": BEGIN + 1_200}
    assert (run.peak_second, run.peak_second_micros) == (BEGIN + 1_000, 5_000 * USD)
    assert (run.price_first, run.price_extreme, run.price_last) == (100.0, 97.0, 99.5)
    assert [size for size, _ in run.largest] == [3_000 * USD, 2_000 * USD, 1_000 * USD, 1_000 * USD, 1_000 * USD]


def test_a_second_rise_is_a_second_wave():
    slow = replace(PARAMETERS, end_rate=0.0)
    wave = [event(second, 10_000) for second in range(5)]
    lull = [event(10 + 5 * number, 100) for number in range(4)]
    again = [event(45 + second, 10_000) for second in range(5)]
    changes = run_of(*wave, *lull, *again, parameters=slow)
    assert changes[4 - 4].run.waves == 2
    assert run_of(*wave, *lull, parameters=slow)[-1].run.waves == 1


@pytest.mark.parametrize("seed", range(20))
def test_it_does_not_matter_how_often_time_is_said(seed):
    chance = random.Random(seed)
    second, events = 0.0, []
    for number in range(300):
        second += chance.expovariate(1.0) if chance.random() < 0.95 else chance.uniform(15, 90)
        position = "long" if chance.random() < 0.85 else "short"
        events.append(event(second, chance.randrange(1, 5_000), position, number))

    def changes(steps):
        runs, found = AssetRuns(), []
        for before, one in zip([events[0], *events], events, strict=False):
            for now in sorted(chance.randrange(before.time, one.time + 1) for _ in range(steps)):
                found += advance(runs, now, PARAMETERS)
            found += [change for change in take(runs, one, PARAMETERS, unknown) if change.ended]
        return [(change.ended, change.reason, change.run.revision) for change in found], runs

    assert changes(0) == changes(3)
    assert changes(0)[0]


def test_classes_of_sizes_are_in_order_and_a_ninth_wide():
    last = 0
    for micros in [
        *range(1, 3_000),
        *(chance.randrange(1, 10**18) for chance in [random.Random(1)] for _ in range(500)),
    ]:
        size = class_of(micros)
        edge = edge_of(size)
        assert micros <= edge
        assert class_of(edge) == size
        assert class_of(edge + 1) > size
        assert edge <= micros * 9 / 8 + 1
        if micros < 3_000:
            assert size >= last
            last = size


def test_quantile_and_the_end_of_the_history():
    runs = AssetRuns()
    for number in range(99):
        note(runs.sizes, BEGIN, 1_000 + number, 14)
    note(runs.sizes, BEGIN, 10**12, 14)
    assert quantile(runs.sizes, 0.99) < 1_300
    assert quantile(runs.sizes, 1.0) >= 10**12
    note(runs.sizes, BEGIN + 14 * DAY_MS, 5, 14)
    assert quantile(runs.sizes, 1.0) == 5
    assert quantile(AssetRuns().sizes, 0.99) == 0
