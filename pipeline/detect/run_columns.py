"""The runs of all assets of a partition by column, so that a second of the market is added to them at once.

Nearly every second of liquidations only makes a run larger: it opens nothing, ends nothing and is late for nothing. For
those this is `cascade.settle` in whole columns, with the same sums; whatever else there is goes through `settle`, for
which the numbers of an asset are put back into its `Run`s (`store`) and read again afterwards (`load`).

The run of one position of one asset has the place `2 * asset + (position is short)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.cascade import POSITIONS, SECOND_MS, AssetRuns, CascadeParameters, Run, note_first, patience_ms
from pipeline.detect.coming_seconds import SIGNS, SecondRows
from pipeline.detect.finding import Contributor, cut_largest, least_large_micros
from pipeline.detect.limits import ENDLESS
from pipeline.detect.run_sizes import DAY_MS
from pipeline.detect.tick_events import Integers
from pipeline.records import Position

# The size (micro-dollars), and the time (ms), from which an open cascade that has grown is said again.
Said = tuple[int, int]

_NOT_SAID: Final[Said] = (0, 0)
# So many events that may be among a run's largest are put aside before they are sorted.
_MOST_ASIDE: Final = 30
_ROUNDING: Final = 1e-9
# The numbers of a run, by row: first those that are fields of `Run`, too. `NEWEST` is the start (ms) of its last
# second, `EXPIRED` what of the rate is a gap old, `BOUND` the micro-dollars above which a run that is not open must be
# looked at, `LEAST_LARGE` the size from which an event is among its largest. If it is unsaid, it is said again from
# `AGAIN_FROM` micro-dollars or from the time `AGAIN_AT` (ms) on.
_FIELDS: Final = (
    "last",
    "micros",
    "count",
    "opposite_micros",
    "opposite_count",
    "partial_count",
    "completeness",
    "rate_micros",
    "peak_rate_micros",
    "peak_second",
    "peak_second_micros",
    "waves",
    "wave_height_micros",
    "wave_low_micros",
    "is_unsaid",
)
_VALUES: Final = attrgetter(*_FIELDS)
(
    _LAST, _MICROS, _COUNT, _OPPOSITE_MICROS, _OPPOSITE_COUNT, _PARTIAL, _COMPLETENESS, _RATE, _PEAK_RATE,
    _PEAK_SECOND, _PEAK_SECOND_MICROS, _WAVES, _WAVE_HEIGHT, _WAVE_LOW, _IS_UNSAID, _IS_RUN, _IS_OPEN, _IS_SAMPLED,
    _PATIENCE, _NEWEST, _EXPIRED, _BOUND, _LEAST_LARGE, _AGAIN_FROM, _AGAIN_AT,
) = range(25)  # fmt: skip
_NUMBERS: Final = _AGAIN_AT + 1


class RunColumns:
    """What `cascade.Run` counts, for the runs under way of all assets: `_numbers` has a column for each place.

    `_seconds` has the USD of each run's last seconds, those of a second in the row of its number modulo theirs;
    `_entered` is the newest of the seconds that have their row. Those up to `_expired` (of runs of usual and of sampled
    feeds) are a gap old. Prices are as in `SecondRows`. `_knows` tells of which exchanges `Run.first_on` has the first
    time; that and `Run.largest` are kept in the runs themselves, but for the events `_aside` that may be among them.
    """

    def __init__(self, parameters: CascadeParameters) -> None:
        self._parameters = parameters
        self._gaps = parameters.gap_ms, parameters.sampled_gap_ms
        # A run goes on for its patience after its last second, and the gap before that makes its rate.
        longest = max(self._gaps)
        self._kept = (longest + ceil(longest * parameters.end_gaps)) // SECOND_MS + 2
        self._expired = [0, 0]
        self._entered = 0
        self._day = 0
        self._runs: list[Run | None] = []
        self._aside: list[list[Contributor]] = []
        self._numbers: Integers = np.zeros((_NUMBERS, 0), dtype=np.int64)
        self._seconds: Integers = np.zeros((self._kept, 0), dtype=np.int64)
        self._extremes = np.zeros(0)
        self._has_grown = np.zeros(0, dtype=np.bool_)
        self._knows = np.zeros((0, 0), dtype=np.bool_)

    def grow(self, assets: int, exchanges: int) -> None:
        """Have room for so many assets, and exchanges."""
        places, known = 2 * assets, len(self._runs)
        if places > known:
            # More than asked for: every new asset would copy everything.
            room = max(places, 2 * known)
            self._runs += [None] * (room - known)
            self._aside += [[] for _ in range(room - known)]
            self._numbers = np.pad(self._numbers, ((0, 0), (0, room - known)))
            self._seconds = np.pad(self._seconds, ((0, 0), (0, room - known)))
            self._extremes = np.pad(self._extremes, (0, room - known))
            self._has_grown = np.pad(self._has_grown, (0, room - known))
        more = len(self._runs) - self._knows.shape[0], exchanges - self._knows.shape[1]
        if max(more) > 0:
            self._knows = np.pad(self._knows, ((0, more[0]), (0, more[1])))

    def load(self, asset: int, runs: AssetRuns, said: Mapping[Position, Said]) -> None:
        """Read the runs of an asset, and what was `said` of those that are open."""
        for place, position in enumerate(POSITIONS, 2 * asset):
            run = self._runs[place] = runs.runs.get(position)
            if run is None:
                self._numbers[:, place] = 0
                continue
            expired, seconds = self._expired[run.is_sampled], self._seconds[:, place]
            seconds[:] = 0
            starts = list(run.seconds)
            if starts:
                self._enter(starts[-1] // SECOND_MS)
                seconds[np.array(starts) // SECOND_MS % self._kept] = list(run.seconds.values())
            usual, day = runs.usual or (0, -1)
            bound = max(self._parameters.floor_micros, usual if day == self._day else 0)
            self._numbers[:, place] = [
                *_VALUES(run),
                1,
                run.is_cascade,
                run.is_sampled,
                patience_ms(run, self._parameters),
                starts[-1] if starts else 0,
                sum(run.seconds[start] for start in starts if start // SECOND_MS <= expired),
                ENDLESS if run.is_cascade else bound,
                least_large_micros(run.largest),
                *said.get(position, _NOT_SAID),
            ]
            self._extremes[place] = SIGNS[place % 2] * run.price_extreme
            self._knows[place] = False

    def store(self, asset: int) -> None:
        """Put the numbers back into the runs of an asset."""
        self.store_all_but_seconds(asset)
        for place in (2 * asset, 2 * asset + 1):
            run = self._runs[place]
            if run is None:
                continue
            newest, micros = int(self._numbers[_NEWEST, place]), self._seconds[:, place].tolist()
            oldest = (newest - self._gaps[run.is_sampled]) // SECOND_MS + 1
            run.seconds = {
                second * SECOND_MS: held
                for second in range(oldest, newest // SECOND_MS + 1)
                if (held := micros[second % self._kept])
            }

    def store_all_but_seconds(self, asset: int) -> None:
        """Put back what can be said of the runs of an asset."""
        for place in (2 * asset, 2 * asset + 1):
            run = self._runs[place]
            if run is None:
                continue
            for name, number in zip(_FIELDS, self._numbers[:, place].tolist(), strict=False):
                setattr(run, name, number)
            run.is_unsaid = bool(run.is_unsaid)
            run.price_extreme = float(SIGNS[place % 2] * self._extremes[place])
            if self._aside[place]:
                self._cut_largest(place)

    def load_said(self, asset: int, runs: AssetRuns, said: Mapping[Position, Said]) -> None:
        """Read what was said of the runs of an asset, of which nothing else has changed since it was stored."""
        for place, position in enumerate(POSITIONS, 2 * asset):
            run = runs.runs.get(position)
            if run is not None:
                self._numbers[_IS_UNSAID, place] = run.is_unsaid
                self._numbers[[_AGAIN_FROM, _AGAIN_AT], place] = said.get(position, _NOT_SAID)

    def ending(self, now: int) -> list[int]:
        """Let time go on to `now` (ms); return the assets of which a run may end, or become nothing."""
        numbers = self._numbers
        for sampled, gap in enumerate(self._gaps):
            last = (now - gap) // SECOND_MS
            for second in range(max(self._expired[sampled] + 1, last + 1 - self._kept), last + 1):
                is_theirs = numbers[_IS_SAMPLED] == sampled
                numbers[_EXPIRED] += self._seconds[second % self._kept] * is_theirs
            self._expired[sampled] = max(self._expired[sampled], last)
        is_over = (numbers[_LAST] + numbers[_PATIENCE] < now) & (numbers[_IS_RUN] != 0)
        least = self._parameters.end_rate * numbers[_PEAK_RATE]
        is_over |= (numbers[_RATE] - numbers[_EXPIRED] < least) & (numbers[_EXPIRED] > 0) & (numbers[_IS_OPEN] != 0)
        return _assets(is_over)

    def add(self, start: int, found: SecondRows) -> SecondRows:
        """Add the liquidations of the second from `start` (ms) to their runs, after `ending` with `start`.

        Return those of the assets for which that is more than a sum: nothing of them was added.
        """
        numbers, parameters, size = self._numbers, self._parameters, len(self._runs)
        places = found.places
        counts = np.bincount(places, minlength=size)
        micros, lasts = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        np.add.at(micros, places, found.micros)
        np.maximum.at(lasts, places, found.times)
        if start // DAY_MS * DAY_MS != self._day:
            self._day = start // DAY_MS * DAY_MS
            np.minimum(numbers[_BOUND], parameters.floor_micros, out=numbers[_BOUND], where=numbers[_IS_OPEN] == 0)

        larger = numbers[_MICROS] + micros
        is_special = numbers[_LAST] + numbers[_PATIENCE] < start + SECOND_MS
        is_special |= numbers[_NEWEST] >= start
        is_special |= (
            (larger > numbers[_BOUND])
            & (numbers[_COUNT] + counts >= parameters.least_events)
            # Whoever looks at them divides, which may round up.
            & (
                larger
                >= (parameters.least_one_sidedness - _ROUNDING) * (larger + numbers[_OPPOSITE_MICROS] + _other(micros))
            )
        )
        partial: Integers | int = 0
        if found.ranks.any():
            partial = np.bincount(places[found.ranks > 0], minlength=size)
        is_special |= (numbers[_IS_SAMPLED] != 0) & (partial != counts)
        has_some = counts > 0
        self._has_grown |= has_some
        is_special &= has_some
        is_special = np.repeat(is_special.reshape(-1, 2).any(axis=1), 2)
        is_of_special = is_special[places]
        special = found.chosen(is_of_special)
        if len(special.at):
            is_kept = ~is_special
            micros, lasts, counts, partial = micros * is_kept, lasts * is_kept, counts * is_kept, partial * is_kept
            found = found.chosen(~is_of_special)

        if found.ranks.any():
            np.maximum.at(numbers[_COMPLETENESS], found.places, found.ranks)
            numbers[_PARTIAL] += partial
        numbers[_MICROS] += micros
        numbers[_COUNT] += counts
        numbers[_OPPOSITE_MICROS] += _other(micros)
        numbers[_OPPOSITE_COUNT] += _other(counts)
        np.maximum(numbers[_LAST], lasts, out=numbers[_LAST])
        self._enter(start // SECOND_MS)
        self._seconds[start // SECOND_MS % self._kept] = micros
        _add_second(numbers, start, micros, counts > 0)
        self._note(found)
        return special

    def grown(self) -> list[int]:
        """Return the assets that had liquidations since the last call."""
        grown = _assets(self._has_grown)
        self._has_grown[:] = False
        return grown

    def due(self, now: int) -> list[int]:
        """Return the assets of which an open cascade has grown and is to be said again at `now` (ms)."""
        numbers = self._numbers
        is_due = (numbers[_MICROS] >= numbers[_AGAIN_FROM]) | (numbers[_AGAIN_AT] <= now)
        return _assets(is_due & (numbers[_IS_UNSAID] != 0))

    def _enter(self, second: int) -> None:
        """Have room for the seconds up to the one of that number."""
        for entered in range(max(self._entered, second - self._kept) + 1, second + 1):
            self._seconds[entered % self._kept] = 0
        self._entered = max(self._entered, second)

    def _note(self, found: SecondRows) -> None:
        """Take note of extreme prices, of the largest events, and of when exchanges came first."""
        places = found.places
        np.maximum.at(self._extremes, places, found.prices)
        (large,) = (found.micros >= self._numbers[_LEAST_LARGE][places]).nonzero()
        for at, place in zip(found.at[large].tolist(), places[large].tolist(), strict=True):
            row, aside = found.held[at], self._aside[place]
            aside.append((-row[7], row[0]))
            if len(aside) == _MOST_ASIDE:
                self._cut_largest(place)
        is_first = ~self._knows[places, found.exchanges]
        if is_first.any():
            self._knows[places, found.exchanges] = True
            for at, place in zip(found.at[is_first].tolist(), places[is_first].tolist(), strict=True):
                row, run = found.held[at], self._runs[place]
                if run is not None:
                    note_first(run.first_on, row[1], row[8])

    def _cut_largest(self, place: int) -> None:
        """Put the largest of the events that were put aside among the largest of their run."""
        run, aside = self._runs[place], self._aside[place]
        if run is not None:
            run.largest += aside
            cut_largest(run.largest)
            self._numbers[_LEAST_LARGE, place] = least_large_micros(run.largest)
        aside.clear()


def _add_second(numbers: Integers, start: int, micros: Integers, has_some: NDArray[np.bool_]) -> None:
    """Say what the second from `start` (ms), which brought `micros` to the runs that have some, makes of each."""
    numbers[_NEWEST][has_some] = start
    numbers[_IS_UNSAID] |= has_some & (numbers[_IS_OPEN] != 0)
    is_peak = micros > numbers[_PEAK_SECOND_MICROS]
    numbers[_PEAK_SECOND][is_peak] = start
    np.maximum(numbers[_PEAK_SECOND_MICROS], micros, out=numbers[_PEAK_SECOND_MICROS])
    rates, low, height = numbers[_RATE], numbers[_WAVE_LOW], numbers[_WAVE_HEIGHT]
    rates += micros - numbers[_EXPIRED] * has_some
    numbers[_EXPIRED][has_some] = 0
    np.maximum(numbers[_PEAK_RATE], rates, out=numbers[_PEAK_RATE])
    # As `cascade` counts waves.
    is_higher, is_lower = rates >= height, rates < low
    is_next = has_some & ~is_higher & ~is_lower & (rates > 2 * low) & (2 * low < height)
    is_higher = (is_higher & has_some) | is_next
    np.maximum(numbers[_WAVES], has_some, out=numbers[_WAVES])
    numbers[_WAVES] += is_next
    np.copyto(low, rates, where=is_higher | (is_lower & has_some))
    np.copyto(height, rates, where=is_higher)


def _other(of_places: Integers) -> Integers:
    """Return what the places of the other position have."""
    return of_places.reshape(-1, 2)[:, ::-1].ravel()


def _assets(is_chosen: NDArray[np.bool_]) -> list[int]:
    """Return the assets of which a place is chosen, in order."""
    (assets,) = (is_chosen[::2] | is_chosen[1::2]).nonzero()
    return assets.tolist()
