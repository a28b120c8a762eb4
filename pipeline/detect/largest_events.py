"""The largest liquidations of each minute, for an hour and a quarter.

While the minute can still be corrected they are those of each contract and position, then of the asset as a whole.
Cells: `ASSET/MINUTE`. Ten events are kept of each contract and position, later ten of the asset, at 60 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import orjson

from pipeline.detect.bar_book import Contract
from pipeline.detect.finding import MOST_CONTRIBUTORS, Contributor, merge_largest, note_largest
from pipeline.records import Closed
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS, WindowParameters

KEPT_MS: Final = 4_500_000

_Key = tuple[str, str, str]  # exchange, symbol, position; all empty for the asset as a whole
_Event = tuple[int, bytes, int]  # as a contributor, and its time
_Minutes = dict[int, dict[_Key, list[_Event]]]
_WHOLE: Final[_Key] = ("", "", "")


class LargestEvents:
    """The largest events of all assets of a partition."""

    def __init__(self, parameters: WindowParameters) -> None:
        self._parameters = parameters
        self._assets: dict[str, _Minutes] = {}
        self._changed: set[tuple[str, int]] = set()
        self._deleted: list[Cell] = []
        self._looked_at = 0

    def take(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Take note of events."""
        minutes = self._assets.get(asset)
        if minutes is None:
            minutes = self._assets[asset] = {}
        minute, by_key = -1, {}
        for row in events:
            time = row[8]
            if time - time % MINUTE_MS != minute:
                minute = time - time % MINUTE_MS
                by_key = minutes.setdefault(minute, {})
                self._changed.add((asset, minute))
            key = (row[1], row[2], row[5])
            largest = by_key.get(key)
            if largest is None:
                by_key[key] = [(-row[7], row[0], time)]
            elif len(largest) < MOST_CONTRIBUTORS or -row[7] <= largest[-1][0]:
                note_largest(largest, (-row[7], row[0], time))

    def of(self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int) -> list[Contributor]:
        """Return the largest events from `begin` to before `end` (ms), of a contract or of the whole asset.

        Of a contract or a position, only minutes are known that can still be corrected.
        """
        return merge_largest(self._found(asset, contract, position, begin, end))

    def forget(self, watermark: int) -> None:
        """Keep less of the minutes that can no longer be corrected; done once a minute."""
        now = watermark - watermark % MINUTE_MS
        if now <= self._looked_at:
            return
        self._looked_at = now
        for asset, minutes in list(self._assets.items()):
            for minute in [minute for minute in minutes if self._parameters.is_expired(minute, now)]:
                if minute < now - KEPT_MS:
                    del minutes[minute]
                    self._changed.discard((asset, minute))
                    self._deleted.append((_name(asset, minute), None))
                elif _WHOLE not in minutes[minute]:
                    events = sorted(event for largest in minutes[minute].values() for event in largest)
                    minutes[minute] = {_WHOLE: events[:MOST_CONTRIBUTORS]}
                    self._changed.add((asset, minute))
            if not minutes:
                del self._assets[asset]

    def cells(self) -> Iterable[Cell]:
        """Yield the minutes that changed since the last call, and delete those that are forgotten."""
        yield from self._deleted
        self._deleted = []
        for asset, minute in sorted(self._changed):
            stored = [
                [*key, [[micros, event_id.hex(), time] for micros, event_id, time in largest]]
                for key, largest in self._assets[asset][minute].items()
            ]
            yield _name(asset, minute), orjson.dumps([asset, minute, stored])
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for value in cells.values():
            asset, minute, stored = orjson.loads(value)
            self._assets.setdefault(asset, {})[minute] = {
                (exchange, symbol, position): [(micros, bytes.fromhex(one), time) for micros, one, time in largest]
                for exchange, symbol, position, largest in stored
            }

    def _found(
        self, asset: str, contract: Contract | None, position: Closed, begin: int, end: int
    ) -> Iterator[Contributor]:
        minutes = self._assets.get(asset, {})
        for minute in [minute for minute in minutes if begin - MINUTE_MS < minute < end]:
            for (exchange, symbol, own), largest in minutes[minute].items():
                if position in (own, "both") and (contract is None or contract == (exchange, symbol)):
                    yield from [(micros, one) for micros, one, time in largest if begin <= time < end]


def _name(asset: str, minute: int) -> bytes:
    return b"%s/%d" % (asset.encode(), minute)
