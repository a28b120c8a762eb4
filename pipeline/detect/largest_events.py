"""The largest liquidations of the last hour and a quarter.

Of a minute that can still be corrected they are the ten of each contract and position. Of the minutes before, the ten
of each contract and position in each hour are kept while that hour's bar can be corrected; and of the asset as a whole
those that can still be among the ten largest since any time: an event that ten later ones have reached cannot.

Cells: `ASSET/MINUTE`, `ASSET/HOUR/EXCHANGE/SYMBOL/POSITION`, `ASSET/whole`, 45 bytes for each event. A busy asset has
up to ten minutes of ten events for each contract and position, one or two hours of as many, and some sixty as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from pipeline.detect.bar_book import HOUR_MS
from pipeline.detect.finding import (
    MOST_CONTRIBUTORS,
    Contributor,
    ids_stored,
    merge_largest,
    note_largest,
    stored_ids,
)
from pipeline.detect.tick_events import Contract, Integers, TickEvents, distinct, grown
from pipeline.records import Closed
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS, WindowParameters

KEPT_MS: Final = 4_500_000

_NO_BOUNDS: Final = np.zeros(0, dtype=np.int64)
_Key = tuple[str, str, str]  # exchange, symbol, position
_Event = tuple[int, bytes, int]  # as a contributor, and its time
_ByKey = dict[_Key, list[_Event]]
_HourKey = tuple[int, _Key]


@dataclass(slots=True)
class _Asset:
    """The largest events of one asset.

    `minutes` can still be corrected; `hours` and `whole` are of those before. In `whole`, in the order of time, each
    event has the number of later ones that reached it. What is written anew with the next checkpoint is in `changed`.
    """

    minutes: dict[int, _ByKey] = field(default_factory=dict)
    hours: dict[int, _ByKey] = field(default_factory=dict)
    whole: list[tuple[_Event, int]] = field(default_factory=list)
    changed_minutes: set[int] = field(default_factory=set)
    changed_hours: set[_HourKey] = field(default_factory=set)
    whole_changed: bool = False


class LargestEvents:
    """The largest events of all assets of a partition."""

    def __init__(self, parameters: WindowParameters) -> None:
        self._parameters = parameters
        self._assets: dict[str, _Asset] = {}
        self._changed: set[str] = set()
        self._deleted: list[Cell] = []
        self._looked_at = 0
        # By minute, contract and position the micro-dollars of the tenth largest: what has less is none of them.
        self._bounds: dict[int, Integers] = {}

    def take_tick(self, events: TickEvents) -> None:
        """Take note of the events of a tick: those that can be among the largest of their minute."""
        minutes, keys = events.times - events.times % MINUTE_MS, 2 * events.contracts + events.is_long
        for minute in distinct(minutes):
            bounds = self._bounds[minute] = grown(self._bounds.get(minute, _NO_BOUNDS), int(keys.max()) + 1, 0)
            is_large = (minutes == minute) & (events.micros >= bounds[keys])
            for place in np.flatnonzero(is_large).tolist():
                bounds[keys[place]] = self._note(minute, events.rows[place])

    def of(self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int) -> list[Contributor]:
        """Return the largest events from `begin` to before `end` (ms), of a contract or of the whole asset.

        They are exact for a bar that can still be corrected, and of the asset as a whole for any time up to now.
        """
        known = self._assets.get(asset)
        return [] if known is None else merge_largest(_found(known, contract, position, begin, end))

    def forget(self, watermark: int) -> None:
        """Keep less of the minutes that can no longer be corrected; done once a minute."""
        now = watermark - watermark % MINUTE_MS
        if now <= self._looked_at:
            return
        self._looked_at = now
        for minute in [one for one in self._bounds if self._parameters.is_expired(one, now)]:
            del self._bounds[minute]
        for asset, known in list(self._assets.items()):
            for minute in sorted(minute for minute in known.minutes if self._parameters.is_expired(minute, now)):
                self._deleted.append((_name(asset, minute), None))
                known.changed_minutes.discard(minute)
                self._put_away(asset, known, minute, known.minutes.pop(minute))
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
            if not (known.minutes or known.hours or known.whole):
                del self._assets[asset]
                self._changed.discard(asset)

    def cells(self) -> Iterable[Cell]:
        """Yield what changed since the last call, and delete what is forgotten."""
        yield from self._deleted
        self._deleted = []
        for asset in sorted(self._changed):
            known = self._assets[asset]
            for minute in sorted(known.changed_minutes):
                stored = [[*key, *_stored(largest)] for key, largest in known.minutes[minute].items()]
                yield _name(asset, minute), orjson.dumps(["minute", asset, minute, stored])
            for hour, key in sorted(known.changed_hours):
                value = ["hour", asset, hour, *key, *_stored(known.hours[hour][key])]
                yield _hour_name(asset, hour, key), orjson.dumps(value)
            if known.whole_changed and known.whole:
                reached = [count for _, count in known.whole]
                value = ["whole", asset, reached, *_stored([event for event, _ in known.whole])]
                yield _whole_name(asset), orjson.dumps(value)
            known.changed_minutes, known.changed_hours, known.whole_changed = set(), set(), False
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for value in cells.values():
            kind, asset, *rest = orjson.loads(value)
            known = self._asset(asset)
            if kind == "minute":
                minute, stored = rest
                known.minutes[minute] = {
                    (exchange, symbol, position): _restored(*events) for exchange, symbol, position, *events in stored
                }
            elif kind == "hour":
                hour, exchange, symbol, position, *events = rest
                known.hours.setdefault(hour, {})[exchange, symbol, position] = _restored(*events)
            else:
                reached, *events = rest
                known.whole = list(zip(_restored(*events), reached, strict=True))

    def _note(self, minute: int, row: LiquidationRow) -> int:
        """Take note of one event; return how many micro-dollars another of its kind must have to count."""
        event_id, exchange, symbol, _, asset, position, _, micros, time, _, _, _, _ = row
        known = self._asset(asset)
        largest = known.minutes.setdefault(minute, {}).setdefault((exchange, symbol, position), [])
        event = (-micros, event_id, time)
        if len(largest) < MOST_CONTRIBUTORS or event < largest[-1]:
            note_largest(largest, event)
            known.changed_minutes.add(minute)
            self._changed.add(asset)
        return -largest[-1][0] if len(largest) == MOST_CONTRIBUTORS else 0

    def _asset(self, asset: str) -> _Asset:
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        return known

    def _put_away(self, asset: str, known: _Asset, minute: int, by_key: _ByKey) -> None:
        hour = minute - minute % HOUR_MS
        of_hour = known.hours.setdefault(hour, {})
        for key, largest in by_key.items():
            of_hour[key] = sorted([*of_hour.get(key, ()), *largest])[:MOST_CONTRIBUTORS]
            known.changed_hours.add((hour, key))
        for event in sorted((event for largest in by_key.values() for event in largest), key=lambda one: one[2]):
            counted = [(one, count + (event[:2] < one[:2])) for one, count in known.whole]
            known.whole = [(one, count) for one, count in counted if count < MOST_CONTRIBUTORS]
            known.whole.append((event, 0))
        known.whole_changed = True
        self._changed.add(asset)


def _found(known: _Asset, contract: Contract | None, position: Closed, begin: int, end: int) -> Iterator[Contributor]:
    minutes = [known.minutes[minute] for minute in known.minutes if begin - MINUTE_MS < minute < end]
    hours = [known.hours[hour] for hour in known.hours if begin - HOUR_MS < hour < end]
    for by_key in (*minutes, *hours):
        for (exchange, symbol, own), largest in by_key.items():
            if position in (own, "both") and (contract is None or contract == (exchange, symbol)):
                yield from [(micros, one) for micros, one, time in largest if begin <= time < end]
    if contract is None and position == "both":
        yield from [(micros, one) for (micros, one, time), _ in known.whole if begin <= time < end]


def _stored(events: Sequence[_Event]) -> list[Any]:
    return [[one[0] for one in events], [one[2] for one in events], stored_ids(one[1] for one in events)]


def _restored(micros: Sequence[int], times: Sequence[int], ids: str) -> list[_Event]:
    return [(one, event_id, time) for one, event_id, time in zip(micros, ids_stored(ids), times, strict=True)]


def _name(asset: str, minute: int) -> bytes:
    return b"%s/%d" % (asset.encode(), minute)


def _hour_name(asset: str, hour: int, key: _Key) -> bytes:
    return "/".join((asset, str(hour), *key)).encode()


def _whole_name(asset: str) -> bytes:
    return b"%s/whole" % asset.encode()
