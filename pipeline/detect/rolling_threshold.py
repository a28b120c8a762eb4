"""The rolling threshold with escalation: liquidated USD of the last hour above a bound that doubles with each passing.

Definition (`rules_and_formulas` 7; requirements S77 to S81). The sum of liquidated USD over the last `span_ms` is kept
in buckets of one second. When it is above the threshold, strictly, the rule fires at the highest doubling that was
passed, and the threshold stays at the next doubling for `memory_ms` after the last fire; then it is the base again. All
of it is in event time and whole micro-dollars.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

SECOND_MS = 1_000


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
    """The rule fired: at which time (ms), at which level (the highest whose bound was passed), with which sum."""

    time: int
    level: int
    sum_micros: int
    incident: int


@dataclass(frozen=True, slots=True)
class Calm:
    """An incident is over since `time` (ms): the sum has been under half of the base for long enough."""

    time: int
    incident: int


@dataclass(slots=True)
class RollingState:
    """What one scope remembers.

    `seconds` are the buckets' starts (ms) in order, `sums` what each holds. `now` is the latest event's time. `level`
    is the next one that can fire. `incident` counts the escalations, and `is_open` says whether the last one goes on.
    `calm_since` is when the sum fell under half of the base, None while it is above.
    """

    seconds: list[int] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)
    total_micros: int = 0
    now: int = 0
    level: int = 0
    last_fire: int | None = None
    incident: int = 0
    is_open: bool = False
    calm_since: int | None = None


def add(state: RollingState, time: int, micros: int, rule: RollingThreshold) -> Fire | None:
    """Take one liquidation of `micros` at event time `time` (ms); return a fire if the threshold is passed.

    A late event goes to its own second: it counts as long as that is within the window of the latest event. Events are
    taken in the order of the log.
    """
    state.now = max(state.now, time)
    _expire(state, state.now, rule)
    second = time - time % SECOND_MS
    if second <= state.now - rule.span_ms:
        return None
    if second in state.sums:
        state.sums[second] += micros
    else:
        state.sums[second] = micros
        if state.seconds and second < state.seconds[-1]:
            insort(state.seconds, second)
        else:
            state.seconds.append(second)
    state.total_micros += micros
    if 2 * state.total_micros >= rule.base_micros:
        state.calm_since = None
    if state.last_fire is not None and state.now - state.last_fire > rule.memory_ms:
        state.level = 0
    if state.total_micros <= rule.threshold_micros(state.level):
        return None
    level = state.level
    while state.total_micros > rule.threshold_micros(level + 1):
        level += 1
    if not state.is_open:
        state.is_open = True
        state.incident += 1
    state.level, state.last_fire = level + 1, state.now
    return Fire(state.now, level, state.total_micros, state.incident)


def move(state: RollingState, watermark: int, rule: RollingThreshold) -> Calm | None:
    """Let time pass up to `watermark` (ms); return the end of the open incident if it has come."""
    _expire(state, watermark, rule)
    if not state.is_open or state.calm_since is None or watermark < state.calm_since + rule.calm_ms:
        return None
    state.is_open = False
    return Calm(state.calm_since + rule.calm_ms, state.incident)


def _expire(state: RollingState, now: int, rule: RollingThreshold) -> None:
    """Drop the seconds that have left the window at `now`, and note when the sum fell under half of the base."""
    gone = bisect_right(state.seconds, now - rule.span_ms)
    if not gone:
        return
    for second in _first(state.seconds, gone):
        state.total_micros -= state.sums.pop(second)
        if state.calm_since is None and 2 * state.total_micros < rule.base_micros:
            state.calm_since = second + rule.span_ms
    del state.seconds[:gone]


def _first(seconds: list[int], count: int) -> Iterator[int]:
    for place in range(count):
        yield seconds[place]
