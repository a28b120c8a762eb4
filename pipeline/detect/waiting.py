"""Liquidations that no rule has to see yet: most change nothing until more of them have come.

When an asset's liquidations are given to the detectors, each says how much may come before it must see more: its
`Room`, of the asset and of each contract. What stays within the room of all of them, and is of a contract and a minute
that have one, is put aside with what came before it, and given to the detectors together. So a rule finds what it would
have found at every tick, at the same tick, and work is done when there is something to find.

Cells: `ASSET` with the room that is left and the liquidations put aside, at most `MOST_EVENTS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from pipeline.detect.bar_book import Contract
from pipeline.detect.pending import restored_row, stored_row
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

# A cell of so many liquidations is about 10 kB.
MOST_EVENTS: Final = 64
ENDLESS: Final = 1 << 62


# Micro-dollars and events that may come.
Amounts = tuple[float, float]


class Room(NamedTuple):
    """How much of an asset need not be seen: micro-dollars and events; and when (ms) all there is must be.

    `contracts` has the same of those contracts of which less than that may come.
    """

    micros: float
    events: float
    due: int
    contracts: Mapping[Contract, Amounts] = {}


NO_ROOM: Final = Room(0, 0, 0)
ANY_ROOM: Final = Room(ENDLESS, ENDLESS, ENDLESS)


def least_room(rooms: Iterable[Room]) -> Room:
    """Return the room that is within all of `rooms`."""
    micros: float = ENDLESS
    events: float = ENDLESS
    due = ENDLESS
    contracts: dict[Contract, Amounts] = {}
    for room in rooms:
        if room is ANY_ROOM:
            continue
        micros, events, due = min(micros, room.micros), min(events, room.events), min(due, room.due)
        for contract, (own_micros, own_events) in room.contracts.items():
            known = contracts.get(contract, (ENDLESS, ENDLESS))
            contracts[contract] = min(own_micros, known[0]), min(own_events, known[1])
    return Room(micros, events, due, contracts)


@dataclass(slots=True)
class _Asset:
    """What is left of the room for events in the minute from `minute` to before `end` (ms), of the contracts named."""

    minute: int
    end: int
    micros: int
    events: int
    due: int
    contracts: dict[Contract, list[int]] = field(default_factory=dict)
    rows: list[LiquidationRow] = field(default_factory=list)


class WaitingEvents:
    """What waits, of all assets of a partition."""

    def __init__(self) -> None:
        self._assets: dict[str, _Asset] = {}
        self._waiting: set[str] = set()
        self._changed: set[str] = set()

    def take(self, asset: str, rows: list[LiquidationRow], watermark: int) -> list[LiquidationRow]:
        """Put `rows` aside; return what must be seen now, in no order: all there is of the asset, or nothing."""
        known = self._assets.get(asset)
        if known is None:
            return rows
        self._changed.add(asset)
        known.events -= len(rows)
        waits = known.events >= 0 and known.due > watermark
        if waits:
            minute, end, contracts = known.minute, known.end, known.contracts
            for row in rows:
                micros = row[7]
                left = contracts.get((row[1], row[2]))
                if left is None or not minute <= row[8] < end:
                    waits = False
                    break
                left[0] -= micros
                left[1] -= 1
                known.micros -= micros
                if left[0] < 0 or left[1] < 0 or known.micros < 0:
                    waits = False
                    break
        known.rows += rows
        if waits:
            self._waiting.add(asset)
            return []
        return self._release(asset, known)

    def due(self, watermark: int) -> list[tuple[str, list[LiquidationRow]]]:
        """Return the assets whose liquidations must be seen at `watermark`, and these."""
        due = [asset for asset in self._waiting if self._assets[asset].due <= watermark]
        return [(asset, self._release(asset, self._assets[asset])) for asset in due]

    def clear(self) -> list[tuple[str, list[LiquidationRow]]]:
        """Return all assets with liquidations that wait, and these; no room is left anywhere."""
        waiting = [(asset, self._assets[asset].rows) for asset in self._waiting]
        self._changed.update(self._assets)
        self._waiting, self._assets = set(), {}
        return waiting

    def forget(self, assets: Iterable[str]) -> None:
        """Forget the room of assets of which nothing waits."""
        for asset in assets:
            if self._assets.pop(asset, None) is not None:
                self._changed.add(asset)

    def set_room(self, asset: str, minute: int, contracts: Iterable[Contract], room: Room) -> None:
        """Say how much of an asset may wait, after all of it was seen: events in the minute from `minute` (ms).

        `contracts` are those that were seen in that minute now; others have what they had before.
        """
        self._changed.add(asset)
        known = self._assets.get(asset)
        if known is None or known.minute != minute:
            known = self._assets[asset] = _Asset(minute, minute + MINUTE_MS, 0, 0, 0)
        known.micros, known.events, known.due = int(room.micros), int(min(room.events, MOST_EVENTS)), room.due
        for contract in contracts:
            micros, events = room.contracts.get(contract, ANY_ROOM[:2])
            known.contracts[contract] = [int(micros), int(min(events, MOST_EVENTS))]

    def cells(self) -> Iterator[Cell]:
        """Yield what changed since the last call."""
        for asset in sorted(self._changed):
            known = self._assets.get(asset)
            if known is None:
                yield asset.encode(), None
                continue
            contracts = [[*contract, *left] for contract, left in known.contracts.items()]
            rows = [stored_row(row) for row in known.rows]
            value = [asset, known.minute, known.micros, known.events, known.due, contracts, rows]
            yield asset.encode(), orjson.dumps(value)
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for value in cells.values():
            asset, minute, micros, events, due, contracts, rows = orjson.loads(value)
            known = self._assets[asset] = _Asset(minute, minute + MINUTE_MS, micros, events, due)
            known.contracts = {(exchange, symbol): left for exchange, symbol, *left in contracts}
            known.rows = [restored_row(row) for row in rows]
            if known.rows:
                self._waiting.add(asset)

    def _release(self, asset: str, known: _Asset) -> list[LiquidationRow]:
        self._waiting.discard(asset)
        self._changed.add(asset)
        rows, known.rows = known.rows, []
        return rows
