"""Cascades: runs of liquidations of one position, across exchanges, that are large for their asset; and their end.

Definition (`rules_and_formulas` 8, requirements S31, S32, S39, S40, S45, S60, S61). A run is a chain of liquidations of
one position of an asset with gaps of at most `gap_ms`. It is a cascade once it has `least_events` distinct events, at
least `least_one_sidedness` of the USD liquidated in its time is its own, its USD is above both the floor and the
`quantile` of the asset's runs in the history, and the price, where it is known, has moved with the forced flow by
`least_move_sd` deviations. Once open it goes on through gaps of up to `end_gaps` times the limit. It has subsided after
a longer one, or when the USD of the last gap's length is under `end_rate` of its highest.

Events come in the order of their times: the caller holds them back until the watermark has passed them by the
lateness. What comes later than that is added by `late`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.detect.run_sizes import RunSizes, note, quantile
from pipeline.records import Position

SECOND_MS = 1_000
_MOST_CONTRIBUTORS = 10


@dataclass(frozen=True, slots=True)
class CascadeParameters:
    """Times in ms, money in micro-dollars; shares from 0 to 1."""

    gap_ms: int = 20_000
    sampled_gap_ms: int = 30_000
    least_events: int = 5
    least_one_sidedness: float = 0.65
    floor_micros: int = 100_000_000_000
    quantile: float = 0.99
    history_days: int = 14
    least_move_sd: float = 2.0
    end_gaps: float = 3.0
    end_rate: float = 0.1


@dataclass(frozen=True, slots=True)
class Forced:
    """One liquidation as the rule reads it: time (ms), value, and whether its feed shows only a sample."""

    time: int
    event_id: bytes
    exchange: str
    position: Position
    micros: int
    price: float
    sampled: bool


@dataclass(slots=True)
class Run:
    """A run so far.

    `first_on` is each exchange's first time. `seconds` are the run's USD by second within the last gap's length, from
    which `rate_micros` (their sum) and `peak_rate_micros` are kept; `peak_second` is the second with the most USD.
    `waves` counts the times the rate rose again after it had fallen under half of the last height. `largest` are the
    largest events (micros, id). `threshold_micros` is the bound that it passed when it opened, 0 before.
    """

    position: Position
    begin: int
    last: int
    micros: int = 0
    count: int = 0
    opposite_micros: int = 0
    opposite_count: int = 0
    all_sampled: bool = True
    price_first: float = 0.0
    price_extreme: float = 0.0
    price_last: float = 0.0
    first_on: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, int] = field(default_factory=dict)
    rate_micros: int = 0
    peak_rate_micros: int = 0
    peak_second: int = 0
    peak_second_micros: int = 0
    waves: int = 0
    wave_height_micros: int = 0
    wave_low_micros: int = 0
    largest: list[tuple[int, bytes]] = field(default_factory=list)
    is_open: bool = False
    opened: int = 0
    threshold_micros: int = 0
    revision: int = 0

    @property
    def one_sidedness(self) -> float:
        """Return the run's share of the USD liquidated in its time, both positions together."""
        return self.micros / (self.micros + self.opposite_micros)


@dataclass(slots=True)
class AssetRuns:
    """What one asset remembers: the runs under way by position, and how large its runs were."""

    runs: dict[Position, Run] = field(default_factory=dict)
    sizes: RunSizes = field(default_factory=RunSizes)


@dataclass(frozen=True, slots=True)
class Change:
    """A cascade opened, grew or ended (`ended` in ms, with the reason). The run is as it was at that moment."""

    run: Run
    ended: int | None = None
    reason: str = ""


# How many deviations the price has moved with the forced flow from `begin` to `now` (ms), or None where it is unknown.
Moved = Callable[[Position, int, int], float | None]


def take(runs: AssetRuns, forced: Forced, parameters: CascadeParameters, moved: Moved) -> list[Change]:
    """Take the next liquidation in the order of times; return what changed."""
    changes = advance(runs, forced.time, parameters)
    run = runs.runs.get(forced.position)
    if run is None:
        run = runs.runs[forced.position] = Run(forced.position, forced.time, forced.time)
        run.price_first = run.price_extreme = forced.price
    _add(run, forced, parameters)
    for other in runs.runs.values():
        if other is not run:
            other.opposite_micros += forced.micros
            other.opposite_count += 1
    if not run.is_open and _is_cascade(runs, run, parameters, moved):
        run.is_open, run.opened = True, forced.time
    if run.is_open:
        run.revision += 1
        changes.append(Change(run))
    return changes


def late(runs: AssetRuns, forced: Forced) -> list[Change]:
    """Add a liquidation that came after its time was settled to the open cascade it belongs to, if there is one."""
    run = runs.runs.get(forced.position)
    if run is None or not run.is_open or not run.begin <= forced.time <= run.last:
        return []
    run.micros += forced.micros
    run.count += 1
    _note_largest(run, forced)
    run.first_on[forced.exchange] = min(forced.time, run.first_on.get(forced.exchange, forced.time))
    run.revision += 1
    return [Change(run)]


def advance(runs: AssetRuns, now: int, parameters: CascadeParameters) -> list[Change]:
    """Let time pass up to `now` (ms): end what has subsided, forget runs that became nothing."""
    changes: list[Change] = []
    for run in list(runs.runs.values()):
        patience = _patience_ms(run, parameters)
        faded = _faded_at(run, now, parameters) if run.is_open else None
        silent = run.last + patience if now > run.last + patience else None
        ended = min((time for time in (faded, silent) if time is not None), default=None)
        if ended is None:
            continue
        _finish(runs, run, parameters)
        if run.is_open:
            run.revision += 1
            changes.append(Change(run, ended, "rate" if ended == faded else "gap"))
    return changes


def _add(run: Run, forced: Forced, parameters: CascadeParameters) -> None:
    run.last = forced.time
    run.micros += forced.micros
    run.count += 1
    run.all_sampled = run.all_sampled and forced.sampled
    run.price_last = forced.price
    lower = run.position == "long"
    run.price_extreme = min(run.price_extreme, forced.price) if lower else max(run.price_extreme, forced.price)
    run.first_on.setdefault(forced.exchange, forced.time)
    _note_largest(run, forced)
    second = forced.time - forced.time % SECOND_MS
    _forget_seconds(run, second - _gap_ms(run, parameters))
    held = run.seconds[second] = run.seconds.get(second, 0) + forced.micros
    run.rate_micros += forced.micros
    run.peak_rate_micros = max(run.peak_rate_micros, run.rate_micros)
    if held > run.peak_second_micros:
        run.peak_second, run.peak_second_micros = second, held
    _note_wave(run)


def _note_wave(run: Run) -> None:
    """Count a wave when the rate has doubled from a low that was under half of the wave before."""
    if not run.waves:
        run.waves = 1
    if run.rate_micros >= run.wave_height_micros:
        run.wave_height_micros = run.wave_low_micros = run.rate_micros
    elif run.rate_micros < run.wave_low_micros:
        run.wave_low_micros = run.rate_micros
    elif 2 * run.wave_low_micros < run.wave_height_micros and run.rate_micros > 2 * run.wave_low_micros:
        run.waves += 1
        run.wave_height_micros = run.wave_low_micros = run.rate_micros


def _note_largest(run: Run, forced: Forced) -> None:
    run.largest.append((forced.micros, forced.event_id))
    run.largest.sort(reverse=True)
    del run.largest[_MOST_CONTRIBUTORS:]


def _forget_seconds(run: Run, before: int) -> None:
    for second in [known for known in run.seconds if known <= before]:
        run.rate_micros -= run.seconds.pop(second)


def _faded_at(run: Run, now: int, parameters: CascadeParameters) -> int | None:
    """Return when the USD of the last gap's length fell under its share of the peak, up to `now`, or None."""
    gap = _gap_ms(run, parameters)
    rate = run.rate_micros
    for second in sorted(run.seconds):
        if second + gap > now:
            return None
        rate -= run.seconds[second]
        if rate < parameters.end_rate * run.peak_rate_micros:
            return second + gap
    return None


def _is_cascade(runs: AssetRuns, run: Run, parameters: CascadeParameters, moved: Moved) -> bool:
    if run.count < parameters.least_events or run.one_sidedness < parameters.least_one_sidedness:
        return False
    if run.micros <= parameters.floor_micros:
        return False
    usual = quantile(runs.sizes, parameters.quantile)
    if run.micros <= usual:
        return False
    deviations = moved(run.position, run.begin, run.last)
    if deviations is not None and deviations < parameters.least_move_sd:
        return False
    run.threshold_micros = max(parameters.floor_micros, usual)
    return True


def _gap_ms(run: Run, parameters: CascadeParameters) -> int:
    return parameters.sampled_gap_ms if run.all_sampled else parameters.gap_ms


def _patience_ms(run: Run, parameters: CascadeParameters) -> int:
    """Return after how long without an event the run is over."""
    gap = _gap_ms(run, parameters)
    return round(gap * parameters.end_gaps) if run.is_open else gap


def _finish(runs: AssetRuns, run: Run, parameters: CascadeParameters) -> None:
    del runs.runs[run.position]
    if run.count >= parameters.least_events:
        note(runs.sizes, run.last, run.micros, parameters.history_days)
