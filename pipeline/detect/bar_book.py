"""Bars of one, five and sixty minutes of each contract and asset, for as far back as rules look.

Only bars with events are kept. They are sums of what was folded into the fold's minutes, so a late event corrects them
too. A bar that can still change is a row in an array of all bars of its start, so that a tick adds all its events with
a few additions; when nothing can change it any more, only those with events are kept of that array.

Cells: `ASSET/INTERVAL/START` with one bar of an asset, by contract.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.tick_events import Contract, Integers, Numbering, TickEvents, grown
from pipeline.windows.fold import Cell
from pipeline.windows.parameters import MINUTE_MS, WindowParameters

HOUR_MS: Final = 3_600_000

# Micro-dollars of longs and of shorts, number of longs and of shorts.
Sums = list[int]
# An asset or a contract, by its place in the arrays: twice the asset's number, or twice the contract's and one more.
Owner = int
_COLUMNS: Final = 4
_COUNTS: Final = 2
_EMPTY: Final = (0,) * _COLUMNS
_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_BARS: Final = np.zeros((0, _COLUMNS), dtype=np.int64)


def of_asset(number: int) -> Owner:
    """Return the place of an asset's bars."""
    return 2 * number


def of_contract(number: int) -> Owner:
    """Return the place of a contract's bars."""
    return 2 * number + 1


def is_contract(owner: Owner) -> bool:
    """Tell a contract's place from an asset's."""
    return bool(owner % 2)


def with_events(bars: Integers) -> Integers:
    """Return who has events, of an array with a row for each owner."""
    return (bars[:, _COUNTS] + bars[:, _COUNTS + 1]).nonzero()[0]


@dataclass(frozen=True, slots=True)
class TouchedBars:
    """The bars of one interval (by number) and start (ms) that have new events: their `owners`, ascending."""

    interval: int
    start: int
    owners: Integers

    @property
    def contracts(self) -> list[int]:
        """Return the numbers of the contracts among the owners."""
        owners = self.owners
        return (owners[owners % 2 == 1] // 2).tolist()  # type: ignore[no-any-return]


class BarBook:
    """The bars of all assets of a partition, made of events of at least `least_micros`."""

    def __init__(
        self, numbering: Numbering, parameters: WindowParameters, kept_bars: int, least_micros: int = 0
    ) -> None:
        self._numbering = numbering
        self._parameters = parameters
        self.kept_bars = kept_bars
        self._least = least_micros
        self._live: tuple[dict[int, Integers], ...] = tuple({} for _ in INTERVALS_MS)
        self._past: tuple[dict[int, dict[Owner, Sums]], ...] = tuple({} for _ in INTERVALS_MS)
        # By minute, 1 for each asset with events that no checkpoint has written.
        self._changed: dict[int, Integers] = {}
        self._deleted: list[bytes] = []
        self._looked_at = 0

    def take_tick(self, events: TickEvents) -> list[TouchedBars]:
        """Add the events of a tick; return the bars that have changed, by interval and start."""
        contracts, assets, micros, columns = events.contracts, events.assets, events.micros, 1 - events.is_long
        touched: dict[tuple[int, int], Integers] = {}
        for minute, places in events.minutes:
            chosen = [column[places] for column in (contracts, assets, columns, micros)]
            if self._least:
                counted = chosen[-1] >= self._least
                if not counted.any():
                    continue
                chosen = [column[counted] for column in chosen]
            added = self._added(*chosen)
            owners = with_events(added)
            for interval, length in enumerate(INTERVALS_MS):
                start = minute - minute % length
                bars = self._bars(interval, start)
                bars += added
                known = touched.get((interval, start))
                touched[interval, start] = owners if known is None else np.union1d(known, owners)
            changed = self._changed[minute] = grown(
                self._changed.get(minute, _NONE), len(self._numbering.asset_names), 0
            )
            changed[chosen[1]] = 1
        return [TouchedBars(interval, start, owners) for (interval, start), owners in sorted(touched.items())]

    def live(self, interval: int, start: int) -> Integers:
        """Return the bars from `start` (ms) that can still change, and have been touched: a row for each owner."""
        return self._live[interval][start]

    def goes_on_after(self, interval: int, start: int) -> bool:
        """Tell whether there are later bars than that from `start` (ms), which can still change."""
        return max(self._live[interval]) > start

    def starts(self, interval: int) -> list[int]:
        """Return the starts (ms) of all bars of an interval, in order."""
        return sorted({*self._past[interval], *self._live[interval]})

    def owners(self, interval: int, start: int) -> list[Owner]:
        """Return who has events in the bar from `start` (ms)."""
        past = self._past[interval].get(start)
        return list(past) if past is not None else with_events(self._live[interval][start]).tolist()

    def sums(self, asset: str, contract: Contract | None, interval: int, start: int) -> Sums | None:
        """Return a bar of a contract, or of the asset; None if it has no events."""
        return self.reader(asset, contract, interval)(start)

    def reader(self, asset: str, contract: Contract | None, interval: int) -> Callable[[int], Sums | None]:
        """Return how to read the bars of a contract, or of the asset, by start."""
        owner = self.owner(asset, contract)
        live, past = self._live[interval], self._past[interval]

        def read(start: int) -> Sums | None:
            by_owner = past.get(start)
            return _row(live.get(start), owner) if by_owner is None else by_owner.get(owner)

        return read

    def columns(self, interval: int, starts: Sequence[int], owners: Integers) -> Integers:
        """Return the bars of some starts (ms): for each start, a row for each of the `owners`."""
        found = np.zeros((len(starts), len(owners), _COLUMNS), dtype=np.int64)
        for number, start in enumerate(starts):
            past = self._past[interval].get(start)
            if past is not None:
                found[number] = [past.get(owner, _EMPTY) for owner in owners.tolist()]
            elif start in self._live[interval]:
                found[number] = self._bars(interval, start).take(owners, axis=0)
        return found

    def owner(self, asset: str, contract: Contract | None) -> Owner:
        """Return the place of the bars of a contract, or of the asset."""
        if contract is None:
            return of_asset(self._numbering.asset(asset))
        return of_contract(self._numbering.contract(asset, *contract))

    def name(self, owner: Owner) -> tuple[str, Contract | None]:
        """Return whose bars are at a place: an asset, and a contract if they are its own."""
        numbering, number = self._numbering, owner // 2
        if is_contract(owner):
            return numbering.asset_names[numbering.asset_of[number]], numbering.contract_names[number]
        return numbering.asset_names[number], None

    def forget(self, watermark: int) -> None:
        """Keep less of what can change no more, and forget what nobody looks at any more; done once a minute."""
        minute = watermark - watermark % MINUTE_MS
        if minute <= self._looked_at:
            return
        self._looked_at = minute
        for interval, length in enumerate(INTERVALS_MS):
            live, past = self._live[interval], self._past[interval]
            for start in [one for one in live if self._parameters.is_expired(one + length - MINUTE_MS, watermark)]:
                past[start] = _of_those_with_events(live.pop(start))
            # A bar that can still be corrected looks back, too.
            late_ms = self._parameters.lateness_ms + self._parameters.correction_ms
            oldest = minute - late_ms - (self.kept_bars + 1) * length
            for start in [one for one in past if one < oldest]:
                assets = [owner // 2 for owner in past.pop(start) if not is_contract(owner)]
                self._deleted += [_name(self._numbering.asset_names[asset], interval, start) for asset in assets]

    def cells(self) -> Iterator[Cell]:
        """Yield the bars that changed since the last call, and delete those that are too old."""
        for gone in self._deleted:
            yield gone, None
        self._deleted = []
        changed, self._changed = self._changed, {}
        bars: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for minute, is_changed in changed.items():
            assets = is_changed.nonzero()[0].tolist()
            for interval, length in enumerate(INTERVALS_MS):
                bars[interval, minute - minute % length].update(assets)
        for interval, start in sorted(bars):
            for asset, stored in self._stored(interval, start, sorted(bars[interval, start])).items():
                name = self._numbering.asset_names[asset]
                yield _name(name, interval, start), orjson.dumps([name, interval, start, stored])

    def restore(self, cells: Mapping[str, bytes], watermark: int) -> None:
        """Take in the cells of a checkpoint that was taken at `watermark` (ms)."""
        for value in cells.values():
            asset, interval, start, stored = orjson.loads(value)
            bars = {self.owner(asset, (exchange, symbol)): sums for exchange, symbol, *sums in stored}
            bars[self.owner(asset, None)] = [sum(column) for column in zip(*bars.values(), strict=True)]
            self._past[interval].setdefault(start, {}).update(bars)
        for interval, length in enumerate(INTERVALS_MS):
            past = self._past[interval]
            for start in [one for one in past if not self._parameters.is_expired(one + length - MINUTE_MS, watermark)]:
                by_owner = past.pop(start)
                live = self._bars(interval, start)
                live[list(by_owner)] = list(by_owner.values())

    def _added(self, contracts: Integers, assets: Integers, columns: Integers, micros: Integers) -> Integers:
        """Return the sums of some events, a row for each owner."""
        added = np.zeros((self._size(), _COLUMNS), dtype=np.int64)
        micros_of = added.reshape(-1)
        counts_of = micros_of[_COUNTS:]
        for owners in (of_contract(0) + 2 * contracts, 2 * assets):
            places = owners * _COLUMNS + columns
            np.add.at(micros_of, places, micros)
            np.add.at(counts_of, places, 1)
        return added

    def _bars(self, interval: int, start: int) -> Integers:
        """Return the array of the bars from `start` (ms), with a row for every owner there is."""
        live = self._live[interval]
        bars = live[start] = grown(live.get(start, _NO_BARS), self._size(), 0)
        return bars

    def _size(self) -> int:
        """Return how many rows there are for owners: every asset has a contract, so assets are never more."""
        return 2 * len(self._numbering.contract_names)

    def _stored(self, interval: int, start: int, assets: Iterable[int]) -> dict[int, list[list[str | int]]]:
        """Return the bars of the contracts of each asset that has some, by the asset's number."""
        numbering = self._numbering
        contracts = [contract for asset in assets for contract in numbering.contracts_of[asset]]
        owners = np.array([of_contract(contract) for contract in contracts], dtype=np.int64)
        stored: defaultdict[int, list[list[str | int]]] = defaultdict(list)
        for contract, sums in zip(contracts, self.columns(interval, [start], owners)[0].tolist(), strict=True):
            if sums[_COUNTS] or sums[_COUNTS + 1]:
                stored[numbering.asset_of[contract]].append([*numbering.contract_names[contract], *sums])
        return stored


def _row(bars: Integers | None, owner: Owner) -> Sums | None:
    if bars is None or owner >= len(bars):
        return None
    sums: Sums = bars[owner].tolist()
    return sums if sums[_COUNTS] or sums[_COUNTS + 1] else None


def _of_those_with_events(bars: Integers) -> dict[Owner, Sums]:
    owners = with_events(bars)
    return dict(zip(owners.tolist(), bars[owners].tolist(), strict=True))


def _name(asset: str, interval: int, start: int) -> bytes:
    return b"%s/%d/%d" % (asset.encode(), interval, start)
