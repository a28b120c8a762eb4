"""The rolling threshold with escalation: liquidated USD of the last hour above a bound that doubles with each passing.

Definition (`rules_and_formulas` 7; requirements S77 to S81). The sum of liquidated USD over the last `span_ms` is kept
in buckets of one second. When it is above the threshold, strictly, the rule fires at the highest doubling that was
passed, and the threshold stays at the next doubling for `memory_ms` after the last fire; then it is the base again. All
of it is in event time and whole micro-dollars.

Time passes with events only. What has left the window is dropped when the next event comes, so a late event finds the
seconds of its own window.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.detect.limits import ENDLESS

SECOND_MS = 1_000
# Of the seconds that leave the window, those of so long ahead are looked at.
_SOON_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class RollingThreshold:
    """Parameters: base in micro-dollars, times in ms.

    An incident is over when the sum has stayed under half of the base for `calm_ms`.
    """

    base_micros: int = 1_000_000_000_000
    span_ms: int = 3_600_000
    memory_ms: int = 7_200_000
    calm_ms: int = 1_800_000

    def threshold_micros(self, level: int) -> int:
        """Return the bound of a level: the base, doubled `level` times."""
        return self.base_micros << level


@dataclass(frozen=True, slots=True)
class Fire:
    """The rule fired: at which time (ms), at which level (the highest whose bound was passed), with which sum.

    `incident` is the time of the first fire of the escalation.
    """

    time: int
    level: int
    sum_micros: int
    incident: int


@dataclass(slots=True)
class RollingState:
    """What one scope remembers.

    `seconds` are the buckets' starts (ms) in order, `sums` what each holds. `now` is the latest event's time. `level`
    is the next one that can fire. `incident` is the time of the open incident's first fire, None if none is open, and
    `peak_micros` its highest sum as far as it was looked at. `calm_since` is when the sum of an open incident fell
    under half of the base, None while it is above.
    """

    seconds: list[int] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)
    total_micros: int = 0
    now: int = 0
    level: int = 0
    last_fire: int | None = None
    incident: int | None = None
    peak_micros: int = 0
    calm_since: int | None = None


class Room(NamedTuple):
    """What can come without a fire, a new beginning of calm, or a peak that would not be seen later.

    That are `micros` in all, before `until` and not before `since` (ms).
    """

    micros: int
    until: int
    since: int


# Every event matters.
NO_ROOM: Final = Room(ENDLESS, ENDLESS, ENDLESS)


def add(state: RollingState, time: int, micros: int, rule: RollingThreshold, *, fires: bool = True) -> Fire | None:
    """Take one liquidation of `micros` at event time `time` (ms); return a fire if the threshold is passed.

    A late event goes to its own second: it counts as long as that is within the window of the latest event. With
    `fires` false the sum alone is kept.
    """
    state.now = max(state.now, time)
    _expire(state, rule)
    if not _put(state, time, micros, rule):
        return None
    if 2 * state.total_micros >= rule.base_micros:
        state.calm_since = None
    _reset(state, rule)
    if not fires or state.total_micros <= rule.threshold_micros(state.level):
        return None
    level = state.level
    while state.total_micros > rule.threshold_micros(level + 1):
        level += 1
    if state.incident is None:
        state.incident, state.peak_micros = state.now, state.total_micros
    state.level, state.last_fire = level + 1, state.now
    return Fire(state.now, level, state.total_micros, state.incident)


def room_of(state: RollingState, rule: RollingThreshold) -> Room:
    """Return what can come of which nothing follows."""
    total, until = state.total_micros, ENDLESS
    micros = rule.threshold_micros(state.level) - total
    if state.level and state.last_fire is not None:
        until = state.last_fire + rule.memory_ms + 1
    if state.incident is None:
        return Room(micros, until, 0) if micros >= 0 else NO_ROOM
    if 2 * total < rule.base_micros:
        return Room((rule.base_micros - 1) // 2 - total, until, 0)
    # As long as nothing leaves, the sum only rises, so that its peak is the sum at last.
    leaves = state.seconds[0] + rule.span_ms
    if leaves > state.now + _SOON_MS:
        return Room(micros, min(until, leaves), state.seconds[0]) if micros >= 0 else NO_ROOM
    gone = bisect_right(state.seconds, state.now + _SOON_MS - rule.span_ms)
    leaving = sum([state.sums[second] for second in state.seconds[:gone]])
    micros = min(micros, state.peak_micros - total)
    if micros < 0 or 2 * (total - leaving) < rule.base_micros:
        return NO_ROOM
    return Room(micros, min(until, state.now + _SOON_MS), 0)


def add_quietly(
    state: RollingState, starts: Sequence[int], micros: Sequence[int], newest: int, rule: RollingThreshold
) -> None:
    """Take sums by second, in order, for which there is room: as `add` of each event.

    The seconds begin at `starts` (ms), each has `micros` (micro-dollars), and the newest of the events is at `newest`
    (ms).
    """
    seconds, sums = state.seconds, state.sums
    known = bisect_right(starts, seconds[-1] if seconds else state.now - rule.span_ms)
    for second, of_second in zip(starts[:known], micros[:known], strict=True):
        _put(state, second, of_second, rule)
    # Seconds after the newest lie within its window.
    seconds += starts[known:]
    sums.update(zip(starts[known:], micros[known:], strict=True))
    state.total_micros += sum(micros[known:])
    state.now = max(state.now, newest)
    if seconds and seconds[0] <= state.now - rule.span_ms:
        _expire(state, rule)
    _reset(state, rule)


def calm_due(state: RollingState, rule: RollingThreshold) -> int | None:
    """Return when (ms) the open incident is over if nothing more comes; None if none is open."""
    if state.incident is None:
        return None
    since = state.calm_since
    if since is None:
        left = state.total_micros
        for second in state.seconds:
            left -= state.sums[second]
            since = second + rule.span_ms
            if 2 * left < rule.base_micros:
                break
    return None if since is None else since + rule.calm_ms


def settle(state: RollingState, rule: RollingThreshold) -> None:
    """Make the state whole after its `sums` were read from storage."""
    left = state.now - rule.span_ms
    state.sums = {second: micros for second, micros in sorted(state.sums.items()) if second > left}
    state.seconds, state.total_micros = list(state.sums), sum(state.sums.values())


def end(state: RollingState) -> None:
    """Take note that the open incident is over; the threshold stays doubled for as long as it does."""
    state.incident, state.peak_micros, state.calm_since = None, 0, None


def _put(state: RollingState, time: int, micros: int, rule: RollingThreshold) -> bool:
    second = time - time % SECOND_MS
    if second <= state.now - rule.span_ms:
        return False
    if second in state.sums:
        state.sums[second] += micros
    else:
        state.sums[second] = micros
        if state.seconds and second < state.seconds[-1]:
            insort(state.seconds, second)
        else:
            state.seconds.append(second)
    state.total_micros += micros
    return True


def _reset(state: RollingState, rule: RollingThreshold) -> None:
    if state.last_fire is not None and state.now - state.last_fire > rule.memory_ms:
        state.level = 0


def _expire(state: RollingState, rule: RollingThreshold) -> None:
    """Drop the seconds that have left the window, and note when the sum of an incident fell under half of the base."""
    seconds = state.seconds
    if not seconds or seconds[0] > state.now - rule.span_ms:
        return
    gone = bisect_right(seconds, state.now - rule.span_ms)
    for second in seconds[:gone]:
        state.total_micros -= state.sums.pop(second)
        is_under = 2 * state.total_micros < rule.base_micros
        if is_under and state.incident is not None and state.calm_since is None:
            state.calm_since = second + rule.span_ms
    del seconds[:gone]
