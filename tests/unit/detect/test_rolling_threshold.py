"""The rolling threshold: the edge cases of its definition, and properties against a plain recomputation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.rolling_threshold import (
    Fire,
    RollingState,
    RollingThreshold,
    add,
    add_quietly,
    calm_due,
    end,
    room_of,
)

USD = 1_000_000
MILLION = 1_000_000 * USD
HOUR = 3_600_000
BEGIN = 1_700_000_000_000
RULE = RollingThreshold()


def fires(*events, state=None):
    state = state or RollingState()
    return [fire for time, micros in events if (fire := add(state, BEGIN + time, micros, RULE))]


def levels(*events, state=None):
    return [fire.level for fire in fires(*events, state=state)]


def test_exactly_the_threshold_does_not_fire():
    assert fires((0, MILLION)) == []
    assert fires((0, MILLION + 1)) == [Fire(BEGIN, 0, MILLION + 1, BEGIN)]


def test_one_large_event_fires_once_at_the_highest_level_passed():
    state = RollingState()
    assert fires((0, 81 * MILLION // 10), state=state) == [Fire(BEGIN, 3, 81 * MILLION // 10, BEGIN)]
    assert RULE.threshold_micros(state.level) == 16 * MILLION


def test_exactly_two_millions_fire_at_the_base_and_the_next_bound_is_two_millions():
    state = RollingState()
    assert levels((0, 2 * MILLION), state=state) == [0]
    assert RULE.threshold_micros(state.level) == 2 * MILLION


def test_two_hours_after_a_fire_the_threshold_is_still_doubled_and_a_millisecond_later_it_is_not():
    first = (0, 3 * MILLION // 2)
    assert levels(first, (2 * HOUR, 3 * MILLION // 2)) == [0]
    assert levels(first, (2 * HOUR + 1, 3 * MILLION // 2)) == [0, 0]


def test_an_event_exactly_an_hour_old_has_left():
    half = 6 * MILLION // 10
    assert levels((0, half), (HOUR, half)) == []
    assert levels((0, half), (HOUR - 1, half)) == [0]


def test_it_doubles_each_time_it_is_passed():
    assert levels(*[(minute * 60_000, 11 * MILLION // 10) for minute in range(8)]) == [0, 1, 2, 3]


def test_a_late_event_goes_to_its_own_second():
    state = RollingState()
    assert levels((HOUR, 7 * MILLION // 10), state=state) == []
    # Exactly an hour before the latest: it has left already.
    assert levels((0, 7 * MILLION // 10), state=state) == []
    assert levels((1_000, 4 * MILLION // 10), state=state) == [0]
    # One second later the late one is gone.
    add(state, BEGIN + HOUR + 1_000, 1, RULE)
    assert state.total_micros == 7 * MILLION // 10 + 1


def test_an_incident_is_over_when_the_sum_was_calm_for_long_enough():
    state = RollingState()
    assert calm_due(state, RULE) is None
    add(state, BEGIN, 2 * MILLION, RULE)
    calm = BEGIN + HOUR + RULE.calm_ms
    assert calm_due(state, RULE) == calm
    end(state)
    assert calm_due(state, RULE) is None
    # The next fire is another incident; the threshold is still doubled.
    assert fires((HOUR + RULE.calm_ms + 1, 3 * MILLION), state=state) == [
        Fire(calm + 1, 1, 3 * MILLION, calm + 1),
    ]


def test_a_new_rise_begins_the_calm_again():
    state = RollingState()
    add(state, BEGIN, 2 * MILLION, RULE)
    add(state, BEGIN + HOUR + 60_000, MILLION // 2, RULE)
    assert calm_due(state, RULE) == BEGIN + 2 * HOUR + 60_000 + RULE.calm_ms
    assert state.peak_micros == 2 * MILLION


def test_less_than_half_of_the_base_does_not_begin_it_again():
    state = RollingState()
    add(state, BEGIN, 2 * MILLION, RULE)
    add(state, BEGIN + HOUR + 60_000, MILLION // 2 - 1, RULE)
    assert calm_due(state, RULE) == BEGIN + HOUR + RULE.calm_ms


EVENTS = st.lists(
    st.tuples(st.integers(0, 5 * HOUR), st.integers(1, 3 * MILLION)),
    max_size=40,
)


def plainly(events):
    """Return the fires of the definition, summing everything anew for each event."""
    seen, level, last, found, latest = [], 0, None, [], 0
    for time, micros in events:
        latest = max(latest, BEGIN + time)
        seen.append((BEGIN + time, micros))
        if BEGIN + time - (BEGIN + time) % 1_000 <= latest - HOUR:
            continue
        total = sum(size for when, size in seen if when - when % 1_000 > latest - HOUR)
        if last is not None and latest - last > 2 * HOUR:
            level = 0
        passed = [step for step in range(level, 40) if total > MILLION * 2**step]
        if passed:
            found.append((latest, passed[-1], total))
            level, last = passed[-1] + 1, latest
    return found


@given(EVENTS)
def test_it_is_the_definition(events):
    assert [(fire.time, fire.level, fire.sum_micros) for fire in fires(*events)] == plainly(events)


@given(EVENTS, st.lists(st.integers(1, 4), min_size=40, max_size=40), st.booleans(), st.booleans())
def test_what_has_room_can_be_added_later_by_second(events, sizes, in_order, dense):
    events = [(BEGIN + (time // 20 if dense else time), micros) for time, micros in events]
    if in_order:
        events.sort()
    singly, together, room, waiting = RollingState(), RollingState(), room_of(RollingState(), RULE), []
    came = 0

    def settle_what_waits():
        by_second: dict[int, int] = {}
        for time, micros in sorted(waiting):
            by_second[time - time % 1_000] = by_second.get(time - time % 1_000, 0) + micros
        if waiting:
            newest = max(time for time, _ in waiting)
            add_quietly(together, list(by_second), list(by_second.values()), newest, RULE)
            together.peak_micros = peak_of(together)
        waiting.clear()

    while events:
        size = sizes.pop()
        some, events = events[:size], events[size:]
        fired = [fire for time, micros in some if (fire := add(singly, time, micros, RULE))]
        singly.peak_micros = peak_of(singly)
        came += sum(micros for _, micros in some)
        times = [time for time, _ in some]
        if came <= room.micros and max(times) < room.until and min(times) >= room.since:
            assert not fired
            waiting += some
            continue
        settle_what_waits()
        fired_later = [fire for time, micros in some if (fire := add(together, time, micros, RULE))]
        assert fired_later == fired
        together.peak_micros = peak_of(together)
        room, came = room_of(together, RULE), 0
        assert together == singly
    settle_what_waits()
    assert together == singly


def peak_of(state):
    """Return the peak as it is at the end of a tick."""
    return state.peak_micros if state.incident is None else max(state.peak_micros, state.total_micros)
