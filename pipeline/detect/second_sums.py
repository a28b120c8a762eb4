"""Liquidations summed up by asset, position and second, many at once: what runs of liquidations are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.finding import MOST_CONTRIBUTORS, Contributor
from pipeline.detect.tick_events import Integers, TickEvents
from pipeline.records import Position

SECOND_MS: Final = 1_000
POSITIONS: Final[tuple[Position, Position]] = ("long", "short")
# Which of two prices is nearer to where the forced flow drives the price, and which is further from it.
NEARER_AND_FURTHER: Final[Mapping[Position, tuple[Callable[..., float], Callable[..., float]]]] = {
    "long": (min, max),
    "short": (max, min),
}
_NO_ASSET: Final = -1
_COLUMNS: Final = 6


@dataclass(slots=True)
class Second:
    """The liquidations of one position in one second; nothing in it depends on the order in which they came.

    `first` and `last` are times (ms), `price_first` is the price at `first` (of several the one furthest from where the
    flow drives it), `completeness` the worst rank in `COMPLETENESS_ORDER`. `first_on` is each exchange's first time.
    `largest` are the largest events.
    """

    position: Position
    first: int
    last: int
    price_first: float
    price_extreme: float
    completeness: int
    micros: int
    count: int
    partial_count: int
    first_on: dict[str, int]
    largest: list[Contributor]

    def add(self, other: Second) -> None:
        """Take in other liquidations of this second and position."""
        nearer, further = NEARER_AND_FURTHER[self.position]
        self.price_extreme = nearer(self.price_extreme, other.price_extreme)
        if other.first < self.first:
            self.first, self.price_first = other.first, other.price_first
        elif other.first == self.first:
            self.price_first = further(self.price_first, other.price_first)
        self.last = max(self.last, other.last)
        self.completeness = max(self.completeness, other.completeness)
        self.micros += other.micros
        self.count += other.count
        self.partial_count += other.partial_count
        note_first(self.first_on, other.first_on)
        self.largest = sorted(self.largest + other.largest)[:MOST_CONTRIBUTORS]


def note_first(known: dict[str, int], first_on: Mapping[str, int]) -> None:
    """Put each exchange's first time into `known` where it is earlier than what is there, or nothing is."""
    for exchange, time in first_on.items():
        if exchange not in known or time < known[exchange]:
            known[exchange] = time


class UnsummedEvents:
    """The liquidations of the last ticks that are not summed up yet."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        self._columns = np.empty((_COLUMNS, 0), dtype=np.int64)
        self._prices = np.empty(0, dtype=np.float64)

    def __len__(self) -> int:
        """Return how many places are in use; those of what was summed up are free once everything is."""
        return len(self._ids)

    def put(self, events: TickEvents) -> None:
        """Keep the liquidations of one more tick."""
        begin = len(self._ids)
        self._ids += [row[0] for row in events.rows]
        end = len(self._ids)
        if end > len(self._prices):
            more = end
            self._columns = np.pad(self._columns, ((0, 0), (0, more)))
            self._prices = np.pad(self._prices, (0, more))
        columns = self._columns[:, begin:end]
        columns[0] = events.assets
        columns[1] = ~events.is_long
        columns[2] = events.times
        columns[3] = events.micros
        columns[4] = events.ranks
        columns[5] = events.exchanges
        self._prices[begin:end] = events.prices

    def sum_up(self, wanted: NDArray[np.bool_], exchange_names: Sequence[str]) -> Iterator[tuple[int, int, Second]]:
        """Yield, and keep no longer, the seconds of the assets whose numbers are `wanted`: asset, start (ms), sums."""
        used = self._columns[0, : len(self._ids)]
        # The last, which stands for what was summed up, is not wanted.
        places = np.flatnonzero(np.append(wanted, False)[used])
        if not len(places):
            return
        columns, prices = self._columns[:, places], self._prices[places]
        ids = [self._ids[place] for place in places.tolist()]
        used[places] = _NO_ASSET
        yield from _seconds(columns, prices, ids, exchange_names)

    def sum_up_all(self, exchange_names: Sequence[str]) -> Iterator[tuple[int, int, Second]]:
        """Yield the seconds of all assets, and keep nothing."""
        used = self._columns[0, : len(self._ids)]
        places = np.flatnonzero(used != _NO_ASSET)
        columns, prices = self._columns[:, places], self._prices[places]
        ids = [self._ids[place] for place in places.tolist()]
        self._ids = []
        if ids:
            yield from _seconds(columns, prices, ids, exchange_names)


def seconds_of(events: TickEvents, exchange_names: Sequence[str]) -> Iterator[tuple[int, int, Second]]:
    """Yield asset, start (ms) and sums of each second and position in `events`, of which there must be some."""
    unsummed = UnsummedEvents()
    unsummed.put(events)
    return unsummed.sum_up_all(exchange_names)


def _seconds(
    columns: Integers, prices: NDArray[np.float64], ids: Sequence[bytes], exchange_names: Sequence[str]
) -> Iterator[tuple[int, int, Second]]:
    # By asset and position, the latest first.
    order = np.lexsort((-columns[2], columns[1], columns[0]))
    columns = columns[:, order]
    assets, is_short, times, micros, ranks, exchanges = columns
    starts = times - times % SECOND_MS
    keys = np.stack((assets, is_short, starts))
    begins = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    ends = np.append(begins[1:], len(times))
    firsts = times[ends - 1]
    # Prices of which the lowest is nearest to where the forced flow drives the price.
    sides = 1.0 - 2.0 * is_short
    driven = prices[order] * sides
    is_first = times == np.repeat(firsts, ends - begins)
    first_prices = np.maximum.reduceat(np.where(is_first, driven, -np.inf), begins) * sides[begins]
    extreme_prices = np.minimum.reduceat(driven, begins) * sides[begins]
    of_group = keys[:, begins].tolist()
    sums = np.add.reduceat(np.stack((micros, ranks > 0)), begins, axis=1).tolist()
    names = [exchange_names[number] for number in exchanges.tolist()]
    contributors = list(zip((-micros).tolist(), [ids[place] for place in order.tolist()], strict=True))
    all_times = times.tolist()
    for asset, short, start, begin, end, first, last, price_first, price_extreme, rank, total, partial_count in zip(
        *of_group,
        begins.tolist(),
        ends.tolist(),
        firsts.tolist(),
        times[begins].tolist(),
        first_prices.tolist(),
        extreme_prices.tolist(),
        np.maximum.reduceat(ranks, begins).tolist(),
        *sums,
        strict=True,
    ):
        yield (
            asset,
            start,
            Second(
                POSITIONS[short],
                first,
                last,
                price_first,
                price_extreme,
                rank,
                total,
                end - begin,
                partial_count,
                # Of several times of an exchange the last one written, which is the first in time, stays.
                dict(zip(names[begin:end], all_times[begin:end], strict=True)),
                sorted(contributors[begin:end])[:MOST_CONTRIBUTORS],
            ),
        )
