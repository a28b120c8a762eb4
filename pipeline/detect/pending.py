"""What was read since the last tick, as cells of a bounded size.

Between two ticks rows are only added, so a part that is full is written once. A tick takes them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import orjson

from pipeline.windows.fold import Cell, LiquidationRow

# A record of so many rows stays well below the broker's usual limit of one megabyte.
ROWS_PER_PART: Final = 2_000

_T = TypeVar("_T")


class PendingCells(Generic[_T]):
    """The parts of one list of rows that are stored; `stored` makes a row what a cell holds, `restored` the reverse."""

    def __init__(self, stored: Callable[[_T], object], restored: Callable[[list[Any]], _T]) -> None:
        self._stored = stored
        self._restored = restored
        self._rows = 0
        self._parts = 0

    def take_all(self) -> None:
        """Take note that a tick has taken the rows."""
        self._rows = 0

    def cells(self, rows: Sequence[_T]) -> Iterator[Cell]:
        """Yield the parts that changed since the last call, by number, and delete those that are no more."""
        parts = -(-len(rows) // ROWS_PER_PART)
        if len(rows) > self._rows:
            for part in range(self._rows // ROWS_PER_PART, parts):
                some = rows[part * ROWS_PER_PART : (part + 1) * ROWS_PER_PART]
                yield b"%d" % part, orjson.dumps([self._stored(row) for row in some])
        for part in range(parts, self._parts):
            yield b"%d" % part, None
        self._rows, self._parts = len(rows), parts

    def restore(self, cells: Mapping[str, bytes]) -> list[_T]:
        """Return the rows that `cells` hold."""
        rows = [self._restored(row) for _, part in sorted(cells.items(), key=_number) for row in orjson.loads(part)]
        self._rows, self._parts = len(rows), len(cells)
        return rows


def stored_row(row: LiquidationRow) -> list[Any]:
    """Return a liquidation as a cell holds it."""
    return [row[0].hex(), *row[1:]]


def restored_row(stored: Sequence[Any]) -> LiquidationRow:
    """Return a liquidation that a cell holds."""
    event_id, *rest = stored
    return (bytes.fromhex(event_id), *rest)


def _number(cell: tuple[str, bytes]) -> int:
    return int(cell[0])
