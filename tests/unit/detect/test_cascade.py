"""Cascades: when a run is one, how it grows, when it has subsided."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.cascade import AssetRuns, CascadeParameters, parameters_of, settle
from pipeline.detect.rules import CascadeRule
from pipeline.detect.run_sizes import DAY_MS, RunSizes, class_of, edge_of, forget, note, quantile, whole_days

USD = 1_000_000
BEGIN = 1_700_000_000_000
MIDNIGHT = BEGIN - BEGIN % DAY_MS
PARAMETERS = CascadeParameters(floor_micros=1_000 * USD, settle_ms=0)
SLOW = replace(PARAMETERS, end_rate=0.0)


class Event(NamedTuple):
    """A row of the fold: what is not read here is empty."""

    event_id: bytes
    exchange: str
    symbol: str
    instrument: str
    asset: str
    position: str
    price: float
    micros: int
    time: int
    time_kind: str
    received: int
    completeness: str
    channel: str


def event(second, usd=1_000, position="long", number=None, exchange="bybit", price=100.0, sampled=False):
    time = BEGIN + round(second * 1_000)
    name = (number if number is not None else round(second * 1_000)).to_bytes(16, "big", signed=True)
    completeness = "largest_per_second" if sampled else "full"
    return Event(name, exchange, "", "", "", position, price, usd * USD, time, "", 0, completeness, "")


def unknown(_run):
    return None


def put(runs, *events, chance=None):
    """Put events in, by time; with `chance` in several parts of any order."""
    parts = [[] for _ in range(4)]
    for one in events:
        (parts[0] if chance is None else chance.choice(parts)).append(one)
    for part in parts:
        for one in sorted(part, key=lambda one: one.time):
            runs.take(one)


def run_of(*events, parameters=PARAMETERS, moved=unknown, runs=None, until=None):
    """Put events in and settle second by second up to `until`, by default the second after the last event."""
    runs = runs if runs is not None else AssetRuns()
    put(runs, *events)
    end = max(one.time for one in events) + 1_000 if until is None else BEGIN + round(until * 1_000)
    begin = min(one.time for one in events)
    return [
        (found, found.ended)
        for now in range(begin, end + 1_000, 1_000)
        for found in settle(runs, now, parameters, moved)
    ]


def test_it_opens_with_the_second_that_completes_it():
    changes = run_of(*[event(second) for second in range(6)])
    opened = changes[0][0]
    assert opened.opened == BEGIN + 4_000
    assert (opened.begin, opened.threshold_micros) == (BEGIN, 1_000 * USD)
    # One change with the fifth event, one with the sixth.
    assert [ended for _, ended in changes] == [None, None]


def test_seconds_wait_until_time_has_gone_on_by_so_much():
    runs = AssetRuns()
    waiting = replace(PARAMETERS, settle_ms=2_000)
    put(runs, *[event(0.1 * number, number=number) for number in range(8)])
    assert settle(runs, BEGIN + 2_999, waiting, unknown) == []
    [found] = settle(runs, BEGIN + 3_000, waiting, unknown)
    assert found.count == 8
    assert settle(runs, BEGIN + 3_000, waiting, unknown) == []


def test_a_gap_above_the_limit_parts_two_runs_and_one_at_the_limit_does_not():
    at_the_limit = [event(second) for second in (0, 1, 2, 22, 23)]
    assert run_of(*at_the_limit)
    above = [event(second) for second in (0, 1, 2, 22.001, 23)]
    assert not run_of(*above)


def test_runs_of_sampled_feeds_may_have_longer_gaps():
    seconds = (0, 25, 50, 75, 100)
    assert not run_of(*[event(second) for second in seconds])
    assert run_of(*[event(second, sampled=True) for second in seconds])
    one_is_full = [event(second, sampled=second != 50) for second in seconds]
    assert not run_of(*one_is_full)


def test_a_fight_of_both_sides_is_none():
    longs = [event(second, 1_000) for second in range(5)]
    shorts = [event(second + 0.5, 670, "short", number=100 + second) for second in range(4)]
    # 5,000 of 5,000 + 4 x 670 = 65.1 %.
    assert {found.position for found, *_ in run_of(*longs, *shorts)} == {"long"}
    heavier = [one._replace(micros=675 * USD) for one in shorts]
    assert not run_of(*longs, *heavier)


def test_shorts_of_the_second_in_which_it_begins_count_and_earlier_ones_do_not():
    longs = [event(second + 0.5) for second in range(5)]
    [(found, *_)] = run_of(*longs, event(0.2, 300, "short"))
    assert (found.opposite_micros, found.opposite_count) == (300 * USD, 1)
    [(found, *_)] = run_of(*longs, event(-0.2, 300, "short"))
    assert found.opposite_micros == 0


def test_the_floor_must_be_exceeded():
    assert not run_of(*[event(second, 200) for second in range(5)])
    assert run_of(*[event(second, 201) for second in range(5)])


def test_usual_sizes_of_the_asset_raise_the_bound():
    runs = AssetRuns()
    for number in range(200):
        note(runs.sizes, MIDNIGHT - DAY_MS + number, 50_000 * USD, 14)
    assert not run_of(*[event(second, 2_000) for second in range(8)], runs=runs)
    changes = run_of(*[event(100 + second, 20_000) for second in range(5)], runs=runs)
    assert changes[0][0].threshold_micros == edge_of(class_of(50_000 * USD))


@pytest.mark.parametrize(("before", "opens"), [(99, True), (100, False)])
def test_too_few_runs_tell_nothing_of_the_usual_size(before, opens):
    runs = AssetRuns()
    for number in range(before):
        note(runs.sizes, MIDNIGHT - DAY_MS + number, 50_000 * USD, 14)
    assert bool(run_of(*[event(second, 2_000) for second in range(8)], runs=runs)) is opens


def test_the_price_must_have_moved_with_the_flow_where_it_is_known():
    five = [event(second) for second in range(5)]
    assert not run_of(*five, moved=lambda _: 1.99)
    [(found, *_)] = run_of(*five, moved=lambda _: 2.0)
    assert found.moved_sd == 2.0
    asked = []
    run_of(*five, moved=lambda run: asked.append((run.position, run.begin, run.last)))
    assert asked == [("long", BEGIN, BEGIN + 4_000)]


def test_what_may_not_be_judged_waits():
    runs, blind = AssetRuns(), [True]
    put(runs, *[event(second) for second in range(6)])
    assert settle(runs, BEGIN + 5_000, PARAMETERS, unknown, lambda _: not blind[0]) == []
    blind.clear()
    [found] = settle(runs, BEGIN + 6_000, PARAMETERS, unknown, lambda _: not blind)
    assert found.opened == BEGIN + 5_000


def test_an_open_cascade_goes_on_through_three_gaps_and_ends_after():
    # A rate of one event in the last gap's length is above a tenth of the peak.
    runs = AssetRuns()
    run_of(*[event(second) for second in range(5)], runs=runs, parameters=SLOW)
    assert settle(runs, BEGIN + 64_000, SLOW, unknown) == []
    [end] = settle(runs, BEGIN + 65_000, SLOW, unknown)
    assert (end.ended, end.ended_by_rate) == (BEGIN + 64_000, False)
    assert runs.runs == {}
    assert settle(runs, BEGIN + 90_000, SLOW, unknown) == []


def test_it_has_subsided_when_the_rate_is_under_a_tenth_of_its_peak():
    runs = AssetRuns()
    run_of(*[event(second, 10_000) for second in range(10)], event(15, 5_000), runs=runs)
    # 100,000 in the first ten seconds; from second 29 on only the 5,000 of second 15 are within 20 s.
    assert settle(runs, BEGIN + 28_000, PARAMETERS, unknown) == []
    [end] = settle(runs, BEGIN + 60_000, PARAMETERS, unknown)
    assert (end.ended, end.ended_by_rate) == (BEGIN + 29_000, True)


def test_an_event_after_the_end_begins_another_run():
    runs = AssetRuns()
    first = run_of(*[event(second, 10_000) for second in range(10)], runs=runs)
    changes = run_of(event(29.5, 10_000), runs=runs, until=30)
    assert [(found.ended, found.ended_by_rate) for found, *_ in changes] == [(BEGIN + 29_000, True)]
    assert changes[0][0] is first[0][0]
    assert runs.runs["long"].begin == BEGIN + 29_500


def test_a_late_event_counts_in_the_cascade_of_its_time():
    runs = AssetRuns()
    run_of(*[event(second) for second in range(5)], runs=runs)
    put(runs, event(2.5, 7_000, exchange="okx"))
    [found] = settle(runs, BEGIN + 7_000, PARAMETERS, unknown)
    assert (found.micros, found.count) == (12_000 * USD, 6)
    assert found.exchanges == ["bybit", "okx"]
    assert found.largest[0] == (-7_000 * USD, (2_500).to_bytes(16, "big"))
    assert (found.peak_second, found.peak_second_micros) == (BEGIN + 2_000, 8_000 * USD)


def test_a_late_event_corrects_a_cascade_that_has_ended_for_ten_minutes():
    runs = AssetRuns()
    run_of(*[event(second) for second in range(5)], runs=runs, parameters=SLOW, until=100)
    put(runs, event(3.5, 7_000))
    [found] = settle(runs, BEGIN + 102_000, SLOW, unknown)
    assert (found.count, found.ended) == (6, BEGIN + 64_000)
    settle(runs, BEGIN + 664_000, SLOW, unknown)
    assert runs.is_idle
    put(runs, event(3.6, 7_000))
    assert settle(runs, BEGIN + 666_000, SLOW, unknown) == []


def test_late_events_make_a_run_where_there_is_none():
    """A feed that is always some seconds behind would find nothing otherwise."""
    runs = AssetRuns()
    found = []
    for second in range(30):
        if second < 8:
            put(runs, event(second - 9.5, number=second))
        found += settle(runs, BEGIN + second * 1_000, PARAMETERS, unknown)
    assert found[0].begin == BEGIN - 9_500
    assert found[-1].count == 8


def test_what_it_says_of_a_cascade():
    changes = run_of(
        event(0, 1_000, price=100.0),
        event(1, 2_000, price=99.0, exchange="binance"),
        event(1.2, 3_000, price=97.0, exchange="okx"),
        event(2, 1_000, price=98.0, sampled=True),
        event(3, 1_000, price=99.5),
    )
    run = changes[-1][0]
    assert run.exchanges == ["bybit", "binance", "okx"]
    assert (run.peak_second, run.peak_second_micros) == (BEGIN + 1_000, 5_000 * USD)
    assert (run.price_first, run.price_extreme) == (100.0, 97.0)
    assert run.worst_completeness == "largest_per_second"
    assert [-size // USD for size, _ in run.largest] == [3_000, 2_000, 1_000, 1_000, 1_000]


def test_the_extreme_of_shorts_is_the_highest_price():
    [(run, *_)] = run_of(*[event(0.1 * number, 1_000, "short", price=100.0 + number) for number in range(5)])
    assert (run.price_first, run.price_extreme) == (100.0, 104.0)


def test_a_second_rise_is_a_second_wave():
    wave = [event(second, 10_000) for second in range(5)]
    lull = [event(10 + 5 * number, 100) for number in range(4)]
    again = [event(45 + second, 10_000) for second in range(5)]
    assert run_of(*wave, *lull, *again, parameters=SLOW)[-1][0].waves == 2
    assert run_of(*wave, *lull, parameters=SLOW)[-1][0].waves == 1


def market(seed, events=300):
    chance = random.Random(seed)
    second, found = 0.0, []
    for number in range(events):
        second += chance.expovariate(1.0) if chance.random() < 0.95 else chance.uniform(15, 90)
        position = "long" if chance.random() < 0.85 else "short"
        usd, exchange = chance.randrange(1, 5_000), chance.choice(("okx", "bybit", "gate"))
        found.append(
            event(second, usd, position, number, exchange, round(chance.uniform(90, 110), 1), chance.random() < 0.5)
        )
    return found


said = asdict


@pytest.mark.parametrize("seed", range(20))
def test_it_does_not_matter_how_often_time_is_said(seed):
    events, chance = market(seed), random.Random(seed)
    end = events[-1].time + 200_000

    def ended(steps):
        runs, found, times = AssetRuns(), {}, sorted({*(chance.randrange(BEGIN, end) for _ in range(steps)), end})
        for before, now in pairwise([BEGIN - 1, *times]):
            put(runs, *[one for one in events if before < one.time <= now])
            for run in settle(runs, now - 1_000, PARAMETERS, unknown):
                found[run.begin, run.position] = said(run)
        return found, runs.sizes

    often, seldom = ended(2_000), ended(30)
    assert often == seldom
    assert often[0]


# Every run is a cascade: the usual size is not known before ten million runs.
EVERYTHING = replace(PARAMETERS, floor_micros=-1, least_events=1, least_one_sidedness=0.0, quantile=0.9999999)


@given(st.integers(0, 1_000), st.randoms(use_true_random=False), st.integers(1, 40))
def test_nothing_is_lost_or_counted_twice(seed, chance, steps):
    """Late events by less than a gap go into the run of their time, whatever the steps of time."""
    events = market(seed, 120)
    arrived = sorted(
        ((one.time + chance.choice((0, 0, 0, 300, 9_000)), one) for one in events), key=lambda late: late[0]
    )
    end = arrived[-1][0] + 100_000
    runs, found = AssetRuns(), {}
    for before, now in pairwise([BEGIN - 1, *sorted({*(chance.randrange(BEGIN, end) for _ in range(steps)), end})]):
        put(runs, *[one for time, one in arrived if before < time <= now])
        for run in settle(runs, now, EVERYTHING, unknown):
            found[id(run)] = run
    assert not runs.waiting
    assert not runs.runs
    for position in ("long", "short"):
        mine = [run for run in found.values() if run.position == position]
        theirs = [one for one in events if one.position == position]
        assert sum(run.count for run in mine) == len(theirs)
        assert sum(run.micros for run in mine) == sum(one.micros for one in theirs)
    assert runs.sizes.total == len(found)


@given(st.integers(0, 1_000), st.randoms(use_true_random=False))
def test_the_order_in_which_events_come_within_the_wait_does_not_matter(seed, chance):
    events = market(seed, 120)
    in_order, out_of_order = AssetRuns(), AssetRuns()
    put(in_order, *events)
    put(out_of_order, *events, chance=chance)
    end = events[-1].time + 100_000
    assert [said(run) for run in settle(in_order, end, EVERYTHING, unknown)] == [
        said(run) for run in settle(out_of_order, end, EVERYTHING, unknown)
    ]


def test_what_is_kept_does_not_grow_with_the_number_of_events():
    runs = AssetRuns()
    for second in range(120):
        for number in range(300):
            one = event(second + number / 300, 1_000 + number, number=second * 300 + number, exchange=f"e{number % 14}")
            put(runs, one)
        settle(runs, BEGIN + second * 1_000, replace(PARAMETERS, settle_ms=2_000), unknown)
        assert len(runs.waiting) <= 4
        assert all(len(one.largest) == 10 for one in runs.waiting.values())
    [run] = runs.runs.values()
    assert run.count == 300 * 117
    assert len(run.seconds) <= 20
    assert len(run.largest) == 10


def test_parameters_are_those_of_the_rule():
    assert parameters_of(CascadeRule()) == CascadeParameters()


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


@pytest.mark.parametrize(("hours", "counts"), [(2.3, True), (2.5, False), (9, False)])
def test_the_day_on_which_runs_are_first_seen_counts_only_if_it_is_whole(hours, counts):
    sizes = RunSizes()
    times = [MIDNIGHT + round(hours * 3_600_000), MIDNIGHT + 20 * 3_600_000]
    for time in reversed(times):
        note(sizes, time, 10**9, 15)
    note(sizes, MIDNIGHT + DAY_MS + 20 * 3_600_000, 10**6, 15)
    assert whole_days(sizes, MIDNIGHT + DAY_MS).total == 2 * counts
    assert whole_days(sizes, MIDNIGHT + 2 * DAY_MS).total == 1 + 2 * counts


def test_later_days_are_whole_once_the_first_is_forgotten():
    sizes = RunSizes()
    for day in range(4):
        note(sizes, MIDNIGHT + day * DAY_MS + 12 * 3_600_000, 10**6, 3)
    assert (list(sizes.days), sizes.first) == ([MIDNIGHT + day * DAY_MS for day in (1, 2, 3)], 0)
    assert whole_days(sizes, MIDNIGHT + 4 * DAY_MS).total == 3
    forget(sizes, MIDNIGHT + 9 * DAY_MS, 3)
    assert sizes == RunSizes()
