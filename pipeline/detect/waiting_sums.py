"""Liquidations that wait because nothing follows from them for the rolling threshold of their asset.

Beside each asset stands the room that it has (`pipeline.detect.rolling_threshold.Room`). As long as what comes has
room, a tick is added to what has come with a few additions for all assets; only what has none is looked at event by
event. Rooms are found when an asset is looked at, and are no state: what they skip changes nothing but the sums, and
those are brought up to date before they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.limits import ENDLESS
from pipeline.detect.rolling_threshold import SECOND_MS, Room
from pipeline.detect.tick_events import Integers, TickEvents, groups_of, grown

Chosen = NDArray[np.bool_]
_NONE: Final = np.zeros(0, dtype=np.int64)


class AssetSums(NamedTuple):
    """What waited of one asset, by its number: seconds' starts (ms), in order, their micro-dollars, the newest time."""

    asset: int
    starts: Sequence[int]
    micros: Sequence[int]
    newest: int


class WaitingSums:
    """What waits of all assets of a partition; an asset that is not known has room for `least_micros`."""

    def __init__(self, least_micros: int) -> None:
        self._least = least_micros
        # By asset: what has come since its room was found, its newest time, and the room.
        self._micros = self._newest = self._room = self._until = self._since = _NONE
        # Numbers of assets, times (ms) and micro-dollars of what waits, a row each.
        self._waiting: list[Integers] = []

    def passed(self, events: TickEvents) -> Chosen | None:
        """Count the events of a tick; return which assets, by number, have no room for theirs, None if all have."""
        assets = events.assets
        self._grow(int(assets.max()) + 1)
        np.add.at(self._micros, assets, events.micros)
        np.maximum.at(self._newest, assets, events.times)
        passed: Chosen = (self._micros > self._room) | (self._newest >= self._until)
        passed[assets[events.times < self._since[assets]]] = True
        return passed if passed.any() else None

    def put(self, events: TickEvents, without: Chosen | None = None) -> None:
        """Have the events of a tick wait, `without` those of some assets."""
        columns = np.array((events.assets, events.times, events.micros))
        if without is not None:
            columns = columns.compress(~without[events.assets], axis=1)
        self._waiting.append(columns)

    def take(self, assets: Chosen | None = None) -> Iterator[AssetSums]:
        """Return what waits, of all assets or of some, which does not wait any more."""
        if not self._waiting:
            return
        columns = np.concatenate(self._waiting, axis=1)
        self._waiting = []
        if assets is not None:
            is_chosen = assets[columns[0]]
            self._waiting = [columns.compress(~is_chosen, axis=1)]
            columns = columns.compress(is_chosen, axis=1)
        numbers, times, micros = columns
        if not len(numbers):
            return
        seconds = times - times % SECOND_MS
        groups = groups_of(numbers, seconds)
        found = zip(
            groups.firsts(numbers),
            groups.firsts(seconds),
            groups.sums(micros).tolist(),
            groups.most(times).tolist(),
            strict=True,
        )
        for asset, of_asset in groupby(found, itemgetter(0)):
            _, starts, sums, newest = zip(*of_asset, strict=True)
            yield AssetSums(asset, starts, sums, newest[-1])

    def chosen(self, assets: list[int]) -> Chosen:
        """Return some assets, by number, as `take` takes them."""
        self._grow(max(assets) + 1)
        chosen = np.zeros(len(self._micros), dtype=np.bool_)
        chosen[assets] = True
        return chosen

    def set_room(self, asset: int, room: Room, newest: int) -> None:
        """Say what room an asset has, of which all up to `newest` (ms) was looked at."""
        self._grow(asset + 1)
        self._micros[asset], self._newest[asset] = 0, newest
        self._room[asset], self._until[asset], self._since[asset] = room

    def _grow(self, count: int) -> None:
        if len(self._micros) >= count:
            return
        self._micros, self._newest = grown(self._micros, count, 0), grown(self._newest, count, 0)
        self._room, self._until = grown(self._room, count, self._least), grown(self._until, count, ENDLESS)
        self._since = grown(self._since, count, 0)
