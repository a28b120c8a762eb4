"""Cascades: runs of liquidations of one position, across exchanges, that are large for their asset; and their end.

Definition (`rules_and_formulas` 8, requirements S31, S32, S39, S40, S45, S60, S61). A run is a chain of liquidations of
one position of an asset with gaps of at most `gap_ms`. It is a cascade once it has `least_events` distinct events, at
least `least_one_sidedness` of the USD liquidated in its time is its own, its USD is above both the floor and the
`quantile` of the asset's runs in the days before, and the price, where it is known, has moved with the forced flow by
`least_move_sd` deviations. Once open it goes on through gaps of up to `end_gaps` times the limit. It has subsided after
a longer one, or when the USD of the last gap's length is under `end_rate` of its highest.

Liquidations are summed up by second and position as they come (`Second`), in any order, and taken in the order of
seconds once time has gone on by `settle_ms`. What comes later than that is put into the run of its time where that
still is one. So an event costs a sum, whatever the market does, and what is kept of an asset does not grow with the
number of its events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from pipeline.detect.finding import MICROS, Contributor, note_largest
from pipeline.detect.limits import ENDLESS
from pipeline.detect.rules import CascadeRule
from pipeline.detect.run_sizes import DAY_MS, RunSizes, forget, note, quantile, whole_days
from pipeline.records import COMPLETENESS_ORDER, COMPLETENESS_RANKS, Completeness, Position
from pipeline.windows.fold import LiquidationRow

SECOND_MS: Final = 1_000
POSITIONS: Final[tuple[Position, Position]] = ("long", "short")
# Which of two prices is nearer to where the forced flow drives the price, and which is further from it.
_NEARER_AND_FURTHER: Final[Mapping[Position, tuple[Callable[..., float], Callable[..., float]]]] = {
    "long": (min, max),
    "short": (max, min),
}
# Ended cascades that late events can still correct; more in ten minutes are not told apart by anybody.
_MOST_ENDED: Final = 8
_KEPT_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class CascadeParameters:
    """Times in ms, money in micro-dollars; shares from 0 to 1."""

    gap_ms: int = 20_000
    sampled_gap_ms: int = 30_000
    settle_ms: int = 2_000
    least_events: int = 5
    least_one_sidedness: float = 0.65
    floor_micros: int = 100_000_000_000
    quantile: float = 0.99
    history_days: int = 14
    least_move_sd: float = 2.0
    end_gaps: float = 3.0
    end_rate: float = 0.1


def parameters_of(rule: CascadeRule) -> CascadeParameters:
    """Return the parameters in a rules file's table."""
    return CascadeParameters(
        gap_ms=round(rule.gap_s * 1_000),
        sampled_gap_ms=round(rule.sampled_gap_s * 1_000),
        settle_ms=round(rule.settle_s * 1_000),
        least_events=rule.least_events,
        least_one_sidedness=rule.least_one_sidedness,
        floor_micros=round(rule.floor_usd * MICROS),
        quantile=rule.quantile,
        history_days=rule.history_days,
        least_move_sd=rule.least_move_sd,
        end_gaps=rule.end_gaps,
        end_rate=rule.end_rate,
    )


@dataclass(slots=True)
class Second:
    """The liquidations of one position in one second; nothing in it depends on the order in which they came.

    `first` and `last` are times (ms), `price_first` is the price at `first`, `completeness` the worst rank in
    `COMPLETENESS_ORDER`. `first_on` is each exchange's first time. `largest` are the largest events.
    """

    position: Position
    first: int
    last: int
    price_first: float
    price_extreme: float
    completeness: int = 0
    micros: int = 0
    count: int = 0
    partial_count: int = 0
    first_on: dict[str, int] = field(default_factory=dict)
    largest: list[Contributor] = field(default_factory=list)

    def add(self, row: LiquidationRow) -> None:
        """Take in one more liquidation of this second and position."""
        event_id, exchange, _, _, _, _, price, micros, time, _, _, kind, _ = row
        nearer, further = _NEARER_AND_FURTHER[self.position]
        self.price_extreme = nearer(self.price_extreme, price)
        self.micros += micros
        self.count += 1
        if time > self.last:
            self.last = time
        elif time < self.first:
            self.first, self.price_first = time, price
        if time == self.first:
            # Of two at the same time the price furthest from where the flow drives it is the first.
            self.price_first = further(self.price_first, price)
        rank = COMPLETENESS_RANKS[kind]
        if rank:
            self.partial_count += 1
            self.completeness = max(self.completeness, rank)
        note_first(self.first_on, exchange, time)
        note_largest(self.largest, (-micros, event_id))


def note_first(first_on: dict[str, int], exchange: str, time: int) -> None:
    """Take note of a time (ms) of an exchange, if it is its first."""
    if time < first_on.get(exchange, ENDLESS):
        first_on[exchange] = time


@dataclass(slots=True)
class Run:
    """A run so far.

    `seconds` are the run's USD by second, in order, within the last gap's length, from which `rate_micros` (their sum)
    and `peak_rate_micros` are kept; `peak_second` is the second with the most USD. `waves` counts the times the rate
    rose again after it had fallen under half of the last height. `largest` are the largest events.
    `threshold_micros` is the bound that it passed when it opened and `moved_sd` how far the price had moved then, None
    where that was unknown. `opened` is when it became a cascade, `ended` when it had subsided (ms).
    `revision` is the one in which it was last said, and `is_unsaid` tells that it has changed since.
    """

    position: Position
    begin: int
    last: int
    price_first: float
    price_extreme: float
    micros: int = 0
    count: int = 0
    opposite_micros: int = 0
    opposite_count: int = 0
    partial_count: int = 0
    completeness: int = 0
    first_on: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, int] = field(default_factory=dict)
    rate_micros: int = 0
    peak_rate_micros: int = 0
    peak_second: int = 0
    peak_second_micros: int = 0
    waves: int = 0
    wave_height_micros: int = 0
    wave_low_micros: int = 0
    largest: list[Contributor] = field(default_factory=list)
    opened: int | None = None
    threshold_micros: int = 0
    moved_sd: float | None = None
    ended: int | None = None
    ended_by_rate: bool = False
    revision: int = 0
    is_unsaid: bool = False

    @property
    def is_cascade(self) -> bool:
        """Tell whether it has been found to be one."""
        return self.opened is not None

    @property
    def is_sampled(self) -> bool:
        """Tell whether all of it is of feeds that show only a part."""
        return self.partial_count == self.count

    @property
    def one_sidedness(self) -> float:
        """Return the run's share of the USD liquidated in its time, both positions together; 1 of nothing."""
        both = self.micros + self.opposite_micros
        return self.micros / both if both else 1.0

    @property
    def worst_completeness(self) -> Completeness:
        """Return the class of the least complete feed in it."""
        return COMPLETENESS_ORDER[self.completeness]

    @property
    def exchanges(self) -> list[str]:
        """Return the exchanges in the order of their first liquidation in it; of two at the same time by name."""
        return sorted(self.first_on, key=lambda exchange: (self.first_on[exchange], exchange))


# By second (ms) and position, as they come.
Waiting = dict[tuple[int, Position], Second]
# How many deviations the price has moved with the forced flow since the run began, None where that is unknown.
Moved = Callable[[Run], float | None]
# Whether the feeds were listened to enough for the run to be judged.
Judged = Callable[[Run], bool]


@dataclass(slots=True)
class AssetRuns:
    """What one asset remembers.

    `waiting` are the seconds that are not taken yet, `settled` the time (ms) up to which they are. `runs` are under
    way, `ended` those cascades that late events can still correct. `usual` is the bound by history (micro-dollars) and
    the day (ms) for which it was found, None when it is to be found anew. `changed_days` (ms) are those of `sizes` that
    are to be stored.
    """

    waiting: Waiting = field(default_factory=dict)
    settled: int = 0
    runs: dict[Position, Run] = field(default_factory=dict)
    ended: list[Run] = field(default_factory=list)
    sizes: RunSizes = field(default_factory=RunSizes)
    usual: tuple[int, int] | None = None
    changed_days: set[int] = field(default_factory=set)

    def take(self, row: LiquidationRow) -> None:
        """Take in a liquidation, each once, in any order."""
        position, price, time = POSITIONS[row[5] != "long"], row[6], row[8]
        key = time - time % SECOND_MS, position
        known = self.waiting.get(key)
        if known is None:
            known = self.waiting[key] = Second(position, time, time, price, price)
        known.add(row)

    @property
    def is_idle(self) -> bool:
        """Tell whether time alone changes nothing any more."""
        return not (self.waiting or self.runs or self.ended)


def settled_before(now: int, parameters: CascadeParameters) -> int:
    """Return the start (ms) of the second before which at `now` (ms) all seconds are taken."""
    until = now - parameters.settle_ms
    return until - until % SECOND_MS


def settle(
    runs: AssetRuns, now: int, parameters: CascadeParameters, moved: Moved, judged: Judged = lambda _run: True
) -> list[Run]:
    """Let time go on to `now` (ms); return the cascades that opened, grew or ended.

    The sequence of `now` may have any steps: what is found in the end is the same.
    """
    until = settled_before(now, parameters)
    if until <= runs.settled:
        return []
    changed: list[Run] = []
    for start in sorted({start for start, _ in runs.waiting if start < until}):
        if start > runs.settled and runs.runs:
            changed += _end(runs, start, parameters)
        changed += _take_second(runs, start, parameters, moved, judged)
    if runs.runs:
        changed += _end(runs, until, parameters)
    runs.settled = until
    if runs.ended:
        forget_ended(runs, until)
    return list({id(run): run for run in changed}.values()) if changed else changed


def forget_ended(runs: AssetRuns, until: int) -> None:
    """Forget the cascades that at `until` (ms) are over for so long that late events no longer correct them."""
    kept = [run for run in runs.ended if run.ended is not None and run.ended > until - _KEPT_MS]
    runs.ended = kept[-_MOST_ENDED:]


def take_late(
    runs: AssetRuns, parameters: CascadeParameters, moved: Moved, judged: Judged = lambda _run: True
) -> list[Run]:
    """Take what waits of seconds that are settled, without letting time go on; return as `settle`."""
    changed: list[Run] = []
    for start in sorted({start for start, _ in runs.waiting}):
        changed += _take_second(runs, start, parameters, moved, judged)
    return changed


def _take_second(runs: AssetRuns, start: int, parameters: CascadeParameters, moved: Moved, judged: Judged) -> list[Run]:
    """Add what waits of the second from `start` (ms) to the runs; return the cascades that opened, grew or ended."""
    changed: list[Run] = []
    longs, shorts = runs.waiting.pop((start, "long"), None), runs.waiting.pop((start, "short"), None)
    if longs is None or shorts is None:
        seconds = [second for second in (longs, shorts) if second is not None]
    else:
        seconds = [shorts, longs] if shorts.first < longs.first else [longs, shorts]
    grown = [_place(runs, second, start, parameters, changed) for second in seconds]
    if len(runs.runs) > 1:
        _oppose(runs, seconds)
    for run in grown:
        if run is None:
            continue
        if run.opened is None:
            _judge(runs, run, parameters, moved, judged)
        if run.opened is not None:
            changed.append(run)
    return changed


def _place(
    runs: AssetRuns, second: Second, start: int, parameters: CascadeParameters, changed: list[Run]
) -> Run | None:
    """Add `second`, which began at `start`, to the run it belongs to, and return that; None if it is one of its own."""
    run = runs.runs.get(second.position)
    if run is not None and second.first > (over := run.last + patience_ms(run, parameters)):
        changed += _finish(runs, run, over, parameters)
        run = None
    # A late second may belong to what is over, or lie before the run under way.
    if runs.ended and (run is None or second.last < run.begin):
        past = _past(runs, second, parameters)
        if past is not None:
            _sum(past, second)
            return past
    if run is None:
        run = runs.runs[second.position] = Run(
            second.position, second.first, second.first, second.price_first, second.price_first
        )
    elif second.last < run.begin - _gap_ms(run, parameters):
        _count(runs, second.last, second.micros, parameters)
        return None
    _add(run, second, start, parameters)
    return run


def _oppose(runs: AssetRuns, seconds: list[Second]) -> None:
    """Count the seconds, which are added to their runs, in the runs of the other position that go on at their time."""
    for second in seconds:
        for run in runs.runs.values():
            if run.position != second.position and second.last >= run.begin - run.begin % SECOND_MS:
                run.opposite_micros += second.micros
                run.opposite_count += second.count


def _past(runs: AssetRuns, second: Second, parameters: CascadeParameters) -> Run | None:
    """Return the ended cascade in the time of which `second` lies, None if there is none."""
    for run in runs.ended:
        begin = run.begin - _gap_ms(run, parameters)
        if run.position == second.position and run.ended is not None and begin <= second.first < run.ended:
            return run
    return None


def _add(run: Run, second: Second, start: int, parameters: CascadeParameters) -> None:
    _sum(run, second)
    if second.first < run.begin and run.opened is None:
        run.begin, run.price_first = second.first, second.price_first
    run.last = max(run.last, second.last)
    seconds, micros = run.seconds, second.micros
    newest = next(reversed(seconds), start)
    gap = _gap_ms(run, parameters)
    if start > newest - gap:
        held = seconds.get(start, 0) + micros
        seconds[start] = held
        if start < newest:
            run.seconds = seconds = dict(sorted(seconds.items()))
        run.rate_micros += micros
        before = max(start, newest) - gap
        while (oldest := next(iter(seconds))) <= before:
            run.rate_micros -= seconds.pop(oldest)
        run.peak_rate_micros = max(run.peak_rate_micros, run.rate_micros)
        _note_wave(run)
    else:
        held = micros
    if held > run.peak_second_micros:
        run.peak_second, run.peak_second_micros = start, held


def _sum(run: Run, second: Second) -> None:
    run.micros += second.micros
    run.count += second.count
    run.partial_count += second.partial_count
    run.completeness = max(run.completeness, second.completeness)
    nearer, further = _NEARER_AND_FURTHER[run.position]
    run.price_extreme = nearer(run.price_extreme, second.price_extreme)
    if second.first == run.begin:
        run.price_first = further(run.price_first, second.price_first)
    for exchange, time in second.first_on.items():
        note_first(run.first_on, exchange, time)
    for one in second.largest:
        if not note_largest(run.largest, one):
            break


def _note_wave(run: Run) -> None:
    """Count a wave when the rate has doubled from a low that was under half of the wave before."""
    rate, low = run.rate_micros, run.wave_low_micros
    if not run.waves:
        run.waves = 1
    if rate >= run.wave_height_micros:
        run.wave_height_micros = run.wave_low_micros = rate
    elif rate < low:
        run.wave_low_micros = rate
    elif rate > 2 * low and 2 * low < run.wave_height_micros:
        run.waves += 1
        run.wave_height_micros = run.wave_low_micros = rate


def _judge(runs: AssetRuns, run: Run, parameters: CascadeParameters, moved: Moved, judged: Judged) -> None:
    """Open the run if it is a cascade now."""
    if run.count < parameters.least_events or run.micros <= parameters.floor_micros:
        return
    if run.one_sidedness < parameters.least_one_sidedness:
        return
    usual = _usual_micros(runs, run.last, parameters)
    if run.micros <= usual:
        return
    deviations = moved(run)
    if (deviations is not None and deviations < parameters.least_move_sd) or not judged(run):
        return
    run.opened, run.moved_sd = run.last, deviations
    run.threshold_micros = max(parameters.floor_micros, usual)


def _usual_micros(runs: AssetRuns, time: int, parameters: CascadeParameters) -> int:
    """Return the size that all but the largest runs of the whole days before the day of `time` (ms) have."""
    day = time - time % DAY_MS
    if runs.usual is None or runs.usual[1] != day:
        forget(runs.sizes, day, parameters.history_days + 1)
        # The day itself is left out: the runs of a crash must not raise the bound for those that follow.
        before = whole_days(runs.sizes, day)
        # Of fewer runs than this the quantile is no more than the largest.
        least = ceil(1 / (1 - parameters.quantile)) if parameters.quantile < 1 else 1
        runs.usual = quantile(before, parameters.quantile) if before.total >= least else 0, day
    return runs.usual[0]


def _end(runs: AssetRuns, now: int, parameters: CascadeParameters) -> list[Run]:
    """End what has subsided by `now` (ms), forget runs that became nothing; return the cascades among them."""
    ended: list[Run] = []
    for run in tuple(runs.runs.values()):
        if run.opened is None:
            if now > run.last + _gap_ms(run, parameters):
                _finish(runs, run, run.last, parameters)
            continue
        faded = _faded_at(run, now, parameters)
        silent = run.last + patience_ms(run, parameters)
        if faded is not None or silent < now:
            time = silent if faded is None else min(silent, faded)
            run.ended_by_rate = time == faded
            ended += _finish(runs, run, time, parameters)
    return ended


def _faded_at(run: Run, now: int, parameters: CascadeParameters) -> int | None:
    """Return when the USD of the last gap's length fell under its share of the peak, up to `now`, or None."""
    gap = _gap_ms(run, parameters)
    rate, least = run.rate_micros, parameters.end_rate * run.peak_rate_micros
    for second, micros in run.seconds.items():
        if second + gap > now:
            return None
        rate -= micros
        if rate < least:
            return second + gap
    return None


def _finish(runs: AssetRuns, run: Run, time: int, parameters: CascadeParameters) -> list[Run]:
    del runs.runs[run.position]
    _count(runs, run.last, run.micros, parameters)
    if not run.is_cascade:
        return []
    run.ended = max(time, run.begin)
    run.seconds = {}
    runs.ended.append(run)
    return [run]


def _count(runs: AssetRuns, time: int, micros: int, parameters: CascadeParameters) -> None:
    day = time - time % DAY_MS
    note(runs.sizes, time, micros, parameters.history_days + 1)
    runs.changed_days.add(day)
    if runs.usual is not None and day < runs.usual[1]:
        runs.usual = None


def _gap_ms(run: Run, parameters: CascadeParameters) -> int:
    return parameters.sampled_gap_ms if run.is_sampled else parameters.gap_ms


def patience_ms(run: Run, parameters: CascadeParameters) -> int:
    """Return after how long without an event the run is over."""
    gap = _gap_ms(run, parameters)
    return gap if run.opened is None else round(gap * parameters.end_gaps)
