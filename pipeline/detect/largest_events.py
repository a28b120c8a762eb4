"""The largest liquidations of the last hour and a quarter.

Of a minute that can still be corrected they are the ten of each contract and position. Of the minutes before, the ten
of each contract and position in each hour are kept while that hour's bar can be corrected; and of the asset as a whole
those that can still be among the ten largest since any time: an event that ten later ones have reached cannot.

Cells: `minute/MINUTE/NUMBER` with those that were found in a minute since the checkpoint before, which become one when
the minute is over, `hour/HOUR/ASSET/EXCHANGE/SYMBOL/POSITION`, `whole/ASSET`; some 50 bytes for each event. A busy
asset has up to ten minutes of ten events for each contract and position, one or two hours of as many, and some sixty as
a whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from pipeline.detect.bar_book import HOUR_MS
from pipeline.detect.finding import (
    MOST_CONTRIBUTORS,
    Contributor,
    cut_largest,
    ids_stored,
    least_large_micros,
    merge_largest,
    stored_ids,
)
from pipeline.detect.tick_events import Contract, Integers, Numbering, TickEvents, grown
from pipeline.records import Closed, Position
from pipeline.windows.fold import Cell
from pipeline.windows.parameters import MINUTE_MS, WindowParameters

KEPT_MS: Final = 4_500_000

_POSITIONS: Final[tuple[Position, Position]] = ("short", "long")
# So many events are kept before it is found which of them are the ten largest.
_MOST_UNCUT: Final = 20
_NO_BOUNDS: Final = np.zeros(0, dtype=np.int64)
_NO_CELLS: Final = range(0)
_Key = tuple[str, str, str]  # exchange, symbol, position
_Event = tuple[int, bytes, int]  # as a contributor, and its time
_ByKey = dict[_Key, list[_Event]]
_HourKey = tuple[int, _Key]


class _Columns(NamedTuple):
    """Events by column: twice the number of the contract, and one more for longs; micro-dollars, times (ms), ids."""

    keys: Integers
    micros: Integers
    times: Integers
    ids: list[bytes]


@dataclass(slots=True)
class _Minute:
    """The largest events of a minute that can still be corrected.

    `largest` has those of each contract and position, by the keys of `_Columns`: in order and ten at most, but where a
    key is in `uncut`, others that came may follow. What has less micro-dollars than `bounds` of its key is none of
    them. `new` are the events that no checkpoint has written, `written` those that one has, `cells` the numbers of
    their cells.
    """

    bounds: Integers = field(default_factory=lambda: _NO_BOUNDS)
    largest: defaultdict[int, list[_Event]] = field(default_factory=lambda: defaultdict(list))
    uncut: set[int] = field(default_factory=set)
    new: list[_Columns] = field(default_factory=list)
    written: list[_Columns] = field(default_factory=list)
    cells: range = _NO_CELLS

    def note(self, events: _Columns) -> None:
        """Take note of events that can be among the largest."""
        keys, largest = events.keys.tolist(), self.largest
        self.uncut.update(keys)
        found = zip((-events.micros).tolist(), events.ids, events.times.tolist(), strict=True)
        for key, event in zip(keys, found, strict=True):
            of_key = largest[key]
            of_key.append(event)
            if len(of_key) > _MOST_UNCUT:
                self._cut(key)

    def cut(self, keys: Iterable[int] | None = None) -> None:
        """Keep only the ten largest, of some contracts and positions or of all."""
        uncut = self.uncut if keys is None else self.uncut.intersection(keys)
        for key in uncut:
            self._cut(key)
        self.uncut -= uncut

    def take_new(self) -> _Columns | None:
        """Return what is to be written, which is not new any more; None if it is nothing."""
        if not self.new:
            return None
        self.cut()
        *columns, ids = zip(*self.new, strict=True)
        keys, micros, times = map(np.concatenate, columns)
        all_ids = list(chain.from_iterable(ids))
        kept = (micros >= self.bounds[keys]).nonzero()[0]
        taken = _Columns(keys[kept], micros[kept], times[kept], [all_ids[place] for place in kept.tolist()])
        self.new = []
        self.written.append(taken)
        return taken if taken.ids else None

    def renew(self) -> None:
        """Have all of the largest written once more."""
        self.new, self.written = [*self.written, *self.new], []

    def _cut(self, key: int) -> None:
        cut_largest(self.largest[key])
        self.bounds[key] = least_large_micros(self.largest[key])


@dataclass(slots=True)
class _Asset:
    """The largest events of one asset, of the minutes before those that can still be corrected.

    In `whole`, in the order of time, each event has the number of later ones that reached it. What is written anew with
    the next checkpoint is in `changed_hours` and `whole_changed`.
    """

    hours: dict[int, _ByKey] = field(default_factory=dict)
    whole: list[tuple[_Event, int]] = field(default_factory=list)
    changed_hours: set[_HourKey] = field(default_factory=set)
    whole_changed: bool = False


class LargestEvents:
    """The largest events of all assets of a partition."""

    def __init__(self, numbering: Numbering, parameters: WindowParameters) -> None:
        self._numbering = numbering
        self._parameters = parameters
        self._minutes: dict[int, _Minute] = {}
        self._assets: dict[str, _Asset] = {}
        self._changed: set[str] = set()
        self._deleted: list[Cell] = []
        self._looked_at = 0

    def take_tick(self, events: TickEvents) -> None:
        """Take note of the events of a tick: those that can be among the largest of their minute."""
        keys = 2 * events.contracts + events.is_long
        for start, places in events.minutes:
            minute = self._minute(start)
            of_minute, micros = keys[places], events.micros[places]
            large = (micros >= minute.bounds[of_minute]).nonzero()[0]
            if not len(large):
                continue
            found, rows = large if isinstance(places, slice) else places[large], events.rows
            ids = [rows[place][0] for place in found.tolist()]
            new = _Columns(of_minute[large], micros[large], events.times[found], ids)
            minute.note(new)
            minute.new.append(new)

    def of(self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int) -> list[Contributor]:
        """Return the largest events from `begin` to before `end` (ms), of a contract or of the whole asset.

        They are exact for a bar that can still be corrected, and of the asset as a whole for any time up to now.
        """
        asked = asset, contract, position, begin, end
        largest = merge_largest(*self._of_minutes(*asked), *self._before(*asked))
        return [(micros, event_id) for micros, event_id, _ in largest]

    def forget(self, watermark: int) -> None:
        """Keep less of the minutes that can no longer be corrected; done once a minute."""
        now = watermark - watermark % MINUTE_MS
        if now <= self._looked_at:
            return
        self._looked_at = now
        self._forget_minutes(now)
        for asset, known in list(self._assets.items()):
            for hour in [hour for hour in known.hours if self._parameters.is_expired(hour + HOUR_MS - MINUTE_MS, now)]:
                for key in known.hours.pop(hour):
                    known.changed_hours.discard((hour, key))
                    self._deleted.append((_hour_name(asset, hour, key), None))
            if known.whole and known.whole[0][0][2] < now - KEPT_MS:
                known.whole = [one for one in known.whole if one[0][2] >= now - KEPT_MS]
                known.whole_changed = True
                self._changed.add(asset)
                if not known.whole:
                    self._deleted.append((_whole_name(asset), None))
            if not (known.hours or known.whole):
                del self._assets[asset]
                self._changed.discard(asset)

    def cells(self) -> Iterable[Cell]:
        """Yield what changed since the last call, and delete what is forgotten."""
        yield from self._deleted
        self._deleted = []
        for start, minute in self._minutes.items():
            new = minute.take_new()
            if new is not None:
                number = minute.cells.stop
                yield _minute_name(start, number), self._stored_minute(start, new)
                minute.cells = range(minute.cells.start, number + 1)
        for asset in sorted(self._changed):
            known = self._assets[asset]
            for hour, key in sorted(known.changed_hours):
                value = ["hour", asset, hour, *key, *_stored(known.hours[hour][key])]
                yield _hour_name(asset, hour, key), orjson.dumps(value)
            if known.whole_changed and known.whole:
                reached = [count for _, count in known.whole]
                value = ["whole", asset, reached, *_stored([event for event, _ in known.whole])]
                yield _whole_name(asset), orjson.dumps(value)
            known.changed_hours, known.whole_changed = set(), False
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for name, value in cells.items():
            kind, *rest = orjson.loads(value)
            if kind == "minute":
                self._restore_minute(int(name.rpartition("/")[2]), *rest)
            elif kind == "hour":
                asset, hour, exchange, symbol, position, *events = rest
                self._asset(asset).hours.setdefault(hour, {})[exchange, symbol, position] = _restored(*events)
            else:
                asset, reached, *events = rest
                self._asset(asset).whole = list(zip(_restored(*events), reached, strict=True))

    def _forget_minutes(self, now: int) -> None:
        for start in sorted(one for one in self._minutes if self._parameters.is_expired(one, now)):
            minute = self._minutes.pop(start)
            self._deleted += [(_minute_name(start, number), None) for number in minute.cells]
            self._put_away(start, minute)
        for start, minute in self._minutes.items():
            # What was among the largest for a while only is written no more.
            if len(minute.cells) > 1:
                self._deleted += [(_minute_name(start, number), None) for number in minute.cells]
                minute.cells = minute.cells[len(minute.cells) :]
                minute.renew()

    def _stored_minute(self, start: int, events: _Columns) -> bytes:
        """Return events of a minute as a cell holds them: whose they are, by place among all that have some."""
        numbering = self._numbering
        owners, whose = np.unique(events.keys, return_inverse=True)
        names = [
            [numbering.asset_names[numbering.asset_of[key // 2]], *numbering.contract_names[key // 2], key % 2]
            for key in owners.tolist()
        ]
        columns = [whose.tolist(), events.micros.tolist(), events.times.tolist(), stored_ids(events.ids)]
        return orjson.dumps(["minute", start, names, *columns])

    def _restore_minute(
        self,
        number: int,
        start: int,
        names: Sequence[Any],
        whose: Sequence[int],
        micros: Sequence[int],
        times: Sequence[int],
        ids: str,
    ) -> None:
        keys = np.array([2 * self._numbering.contract(*contract) + is_long for *contract, is_long in names])
        minute = self._minute(start)
        events = _Columns(keys[whose], np.array(micros), np.array(times), ids_stored(ids))
        minute.note(events)
        minute.written.append(events)
        first = min(number, minute.cells.start) if minute.cells else number
        minute.cells = range(first, max(number + 1, minute.cells.stop))

    def _minute(self, start: int) -> _Minute:
        """Return a minute, which may be new, with a bound for all contracts that there are."""
        minute = self._minutes.get(start)
        if minute is None:
            minute = self._minutes[start] = _Minute()
        minute.bounds = grown(minute.bounds, 2 * len(self._numbering.contract_names), 0)
        return minute

    def _asset(self, asset: str) -> _Asset:
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        return known

    def _put_away(self, start: int, minute: _Minute) -> None:
        """Keep less of a minute that can no longer be corrected."""
        numbering, hour = self._numbering, start - start % HOUR_MS
        by_asset: defaultdict[str, list[_Event]] = defaultdict(list)
        minute.cut()
        for number, largest in minute.largest.items():
            asset = numbering.asset_names[numbering.asset_of[number // 2]]
            by_asset[asset] += largest
            known, key = self._asset(asset), (*numbering.contract_names[number // 2], _POSITIONS[number % 2])
            of_hour = known.hours.setdefault(hour, {})
            of_hour[key] = sorted([*of_hour.get(key, ()), *largest])[:MOST_CONTRIBUTORS]
            known.changed_hours.add((hour, key))
        for asset, events in by_asset.items():
            known = self._asset(asset)
            known.whole = _reached(known.whole, events)
            known.whole_changed = True
            self._changed.add(asset)

    def _of_minutes(
        self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int
    ) -> Iterator[list[_Event]]:
        """Yield what there is in the minutes that can still be corrected, each list in order."""
        numbering = self._numbering
        if contract is None:
            contracts = numbering.contracts_of[numbering.asset(asset)]
        else:
            contracts = [numbering.contract(asset, *contract)]
        keys = [
            2 * number + is_long
            for number in contracts
            for is_long, own in enumerate(_POSITIONS)
            if position in (own, "both")
        ]
        for start, minute in self._minutes.items():
            if begin - MINUTE_MS < start < end:
                minute.cut(keys)
                lists = [minute.largest[key] for key in keys if key in minute.largest]
                is_whole = begin <= start and start + MINUTE_MS <= end
                yield from lists if is_whole else _between(lists, begin, end)

    def _before(
        self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int
    ) -> Iterator[list[_Event]]:
        """Yield what there is of the minutes before those, each list in order."""
        known = self._assets.get(asset)
        if known is None:
            return
        for hour, by_key in known.hours.items():
            if begin - HOUR_MS < hour < end:
                lists = [
                    largest
                    for (exchange, symbol, own), largest in by_key.items()
                    if position in (own, "both") and (contract is None or contract == (exchange, symbol))
                ]
                yield from _between(lists, begin, end)
        if contract is None and position == "both":
            yield sorted([event for event, _ in known.whole if begin <= event[2] < end])


def _reached(whole: Iterable[tuple[_Event, int]], events: Iterable[_Event]) -> list[tuple[_Event, int]]:
    """Return the `whole` of an asset with `events`, which came later, without what ten later ones have reached."""
    in_order = sorted(events)
    counted = [(one, count + bisect_left(in_order, one)) for one, count in whole]
    new: list[tuple[_Event, int]] = []
    later: list[_Event] = []
    for event in sorted(in_order, key=itemgetter(2, 0, 1), reverse=True):
        count = bisect_left(later, event)
        if count < MOST_CONTRIBUTORS:
            new.append((event, count))
            later.insert(count, event)
            del later[MOST_CONTRIBUTORS:]
    return [(one, count) for one, count in counted if count < MOST_CONTRIBUTORS] + new[::-1]


def _between(lists: Iterable[list[_Event]], begin: int, end: int) -> list[list[_Event]]:
    """Return of each list the events from `begin` to before `end` (ms)."""
    return [[event for event in events if begin <= event[2] < end] for events in lists]


def _stored(events: Sequence[_Event]) -> list[Any]:
    return [[one[0] for one in events], [one[2] for one in events], stored_ids(one[1] for one in events)]


def _restored(micros: Sequence[int], times: Sequence[int], ids: str) -> list[_Event]:
    return [(one, event_id, time) for one, event_id, time in zip(micros, ids_stored(ids), times, strict=True)]


def _minute_name(start: int, number: int) -> bytes:
    return b"minute/%d/%d" % (start, number)


def _hour_name(asset: str, hour: int, key: _Key) -> bytes:
    return "/".join(("hour", str(hour), asset, *key)).encode()


def _whole_name(asset: str) -> bytes:
    return b"whole/%s" % asset.encode()
