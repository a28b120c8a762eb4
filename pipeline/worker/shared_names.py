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

    def columns(self, columns: Sequence[pl.Series]) -> list[list[str]]:
        """Return `columns`, which are strings or categoricals without nulls and have the same length."""
        codes = self._codes(columns)
        if codes.has_nulls():
            self._learn(columns)
            codes = self._codes(columns)
        by_column: list[list[str]] = self._objects[codes.to_numpy().reshape(len(columns), -1)].tolist()
        return by_column

    def _codes(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return places in `_objects`, null where a name is new; column follows upon column."""
        # `to_physical` has a cost of its own for each call, so there is one for all columns.
        return pl.concat([column.cast(self._enum, strict=False) for column in columns]).to_physical()

    def _learn(self, columns: Sequence[pl.Series]) -> None:
        found = dict.fromkeys(name for column in columns for name in column.unique(maintain_order=True).to_list())
        known = {**self._names, **found}
        self._names = known if len(known) <= self._most else found
        self._enum = pl.Enum(list(self._names))
        self._objects = np.array(list(self._names), dtype=np.object_)
