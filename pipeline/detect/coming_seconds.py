"""Liquidations that wait until the second of their event time is over, by column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.cascade import SECOND_MS
from pipeline.detect.pending import PendingCells, restored_row, stored_row
from pipeline.detect.tick_events import Integers, Numbering, TickEvents
from pipeline.windows.fold import Cell, LiquidationRow

# By which prices of longs and of shorts are multiplied, so that the highest is nearest to where the flow drives it.
SIGNS: Final = np.array([-1.0, 1.0])

# For each liquidation that is coming so many may be held, so that they need not be moved at each tick.
_MOST_HELD: Final = 4


@dataclass(frozen=True, slots=True)
class SecondRows:
    """Liquidations by column, and where their rows are.

    `places` are two numbers for each asset, of its longs and of its shorts; `prices` are multiplied by their `SIGNS`;
    `held` are the rows of these liquidations and others, `at` the places of these among them.
    """

    held: Sequence[LiquidationRow]
    prices: NDArray[np.float64]
    numbers: Integers

    @classmethod
    def of(cls, events: TickEvents) -> Self:
        """Return the liquidations of a tick."""
        is_short = 1 - events.is_long
        at = np.arange(len(events.rows))
        numbers = [2 * events.assets + is_short, events.exchanges, events.micros, events.times, events.ranks, at]
        prices = np.array([row[6] for row in events.rows], dtype=np.float64)
        return cls(events.rows, prices * SIGNS[is_short], np.array(numbers))

    @property
    def rows(self) -> Sequence[LiquidationRow]:
        """Return them one by one."""
        if len(self.at) == len(self.held):
            return self.held
        return list(map(self.held.__getitem__, self.at.tolist()))

    @property
    def places(self) -> Integers:
        """Return the places of their runs."""
        return self.numbers[0]  # type: ignore[no-any-return]

    @property
    def exchanges(self) -> Integers:
        """Return the numbers of their exchanges."""
        return self.numbers[1]  # type: ignore[no-any-return]

    @property
    def micros(self) -> Integers:
        """Return their micro-dollars."""
        return self.numbers[2]  # type: ignore[no-any-return]

    @property
    def times(self) -> Integers:
        """Return their event times (ms)."""
        return self.numbers[3]  # type: ignore[no-any-return]

    @property
    def ranks(self) -> Integers:
        """Return their ranks of completeness."""
        return self.numbers[4]  # type: ignore[no-any-return]

    @property
    def at(self) -> Integers:
        """Return the places of their rows in `held`."""
        return self.numbers[5]  # type: ignore[no-any-return]

    def chosen(self, is_chosen: NDArray[np.bool_]) -> Self:
        """Return some of them."""
        (places,) = is_chosen.nonzero()
        return type(self)(self.held, self.prices[places], self.numbers.take(places, axis=1))

    def with_more(self, other: Self) -> Self:
        """Return both together."""
        numbers = np.concatenate([self.numbers, other.numbers], axis=1)
        numbers[5, len(self.at) :] += len(self.held)
        return type(self)([*self.held, *other.held], np.concatenate([self.prices, other.prices]), numbers)

    def trimmed(self) -> Self:
        """Return the same, with few others held."""
        if len(self.held) <= _MOST_HELD * len(self.at):
            return self
        numbers = self.numbers.copy()
        numbers[5] = np.arange(len(self.at))
        return type(self)(self.rows, self.prices, numbers)


class ComingSeconds:
    """The liquidations of the seconds from `settled` (ms) on.

    What came at a tick is one cell, or more if it is much, named by the tick's watermark; it is written once, and
    deleted when all of it is settled.
    """

    def __init__(self) -> None:
        self.settled = 0
        self._coming: SecondRows | None = None
        # By tick: the last event time (ms), and the rows.
        self._ticks: dict[int, tuple[int, Sequence[LiquidationRow]]] = {}
        self._cells: dict[int, PendingCells[LiquidationRow]] = {}

    def put(self, tick: int, events: TickEvents) -> SecondRows | None:
        """Put aside what came at the tick with that watermark (ms); return what is too late for its second."""
        found, late = SecondRows.of(events), None
        is_late = found.times < self.settled
        if is_late.any():
            late, found = found.chosen(is_late), found.chosen(~is_late)
        if len(found.times):
            self._coming = found if self._coming is None else self._coming.with_more(found)
            self._ticks[tick] = int(found.times.max()), found.rows
        return late

    def take(self, until: int) -> Iterator[tuple[int, SecondRows]]:
        """Yield the seconds before `until` (ms) that have some, in order, by their starts (ms)."""
        coming, self._coming = self._coming, None
        self.settled = until
        self._ticks = {tick: came for tick, came in self._ticks.items() if came[0] >= until}
        if coming is None:
            return
        is_over = coming.times < until
        if not is_over.all():
            self._coming, coming = coming.chosen(~is_over).trimmed(), coming.chosen(is_over)
        starts = coming.times - coming.times % SECOND_MS
        for start in np.unique(starts).tolist():
            yield start, coming.chosen(starts == start)

    def cells(self) -> Iterator[Cell]:
        """Yield the cells that changed since the last call, by their names."""
        for tick, (_, rows) in self._ticks.items():
            parts = self._cells.setdefault(tick, PendingCells(stored_row, restored_row))
            yield from _named(tick, parts.cells(rows))
        for tick in sorted(self._cells.keys() - self._ticks.keys()):
            yield from _named(tick, self._cells.pop(tick).cells([]))

    def restore(self, cells: Mapping[tuple[int, str], bytes], numbering: Numbering) -> None:
        """Take in cells, by tick and part."""
        by_tick: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
        for (tick, part), value in sorted(cells.items()):
            by_tick[tick][part] = value
        for tick, parts in by_tick.items():
            stored = self._cells[tick] = PendingCells(stored_row, restored_row)
            rows = stored.restore(parts)
            # What is settled already was taken, and is no news.
            self.put(tick, numbering.events(rows))
            self._ticks[tick] = max(row[8] for row in rows), rows


def _named(tick: int, cells: Iterable[Cell]) -> Iterator[Cell]:
    for part, value in cells:
        yield b"%d/%s" % (tick, part), value
