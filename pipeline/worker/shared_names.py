"""Names that come again and again, each as one string object.

Strings that polars hands out are new objects in every row. Where equal names are one object, a dictionary finds them
without hashing or comparing characters, and a row costs no memory for its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Several times as many as all exchanges have contracts.
_MOST_NAMES: Final = 65_536


class SharedNames:
    """The names seen so far, at most `most` or those of one call: with more of them the older ones are forgotten."""

    def __init__(self, most: int = _MOST_NAMES) -> None:
        self._most = most
        self._names: dict[str, None] = {}
        self._enum = pl.Enum([])
        self._objects: NDArray[np.object_] = np.empty(0, dtype=np.object_)

    def __len__(self) -> int:
        return len(self._names)

    def columns(self, rows: pl.DataFrame, names: Sequence[pl.Expr]) -> list[list[str]]:
        """Return the columns `names` of `rows`, which are strings or categoricals without nulls."""
        codes = self._codes(rows, names)
        if any(column.has_nulls() for column in codes):
            self._learn(rows.select(names))
            codes = self._codes(rows, names)
        return [self._objects[column.to_numpy()].tolist() for column in codes]

    def _codes(self, rows: pl.DataFrame, names: Sequence[pl.Expr]) -> list[pl.Series]:
        """Return columns of places in `_objects`, null where a name is new."""
        return rows.select(name.cast(self._enum, strict=False).to_physical() for name in names).get_columns()

    def _learn(self, names: pl.DataFrame) -> None:
        found = dict.fromkeys(name for column in names for name in column.cast(pl.String).unique(maintain_order=True))
        known = {**self._names, **found}
        self._names = known if len(known) <= self._most else found
        self._enum = pl.Enum(list(self._names))
        self._objects = np.array(list(self._names), dtype=np.object_)
