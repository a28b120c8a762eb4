"""The liquidations of one tick by column, so that rules can add up all assets of a partition at once.

Assets, contracts, exchanges and feeds get numbers in the order in which a partition first sees them. Numbers live in
memory only: nothing that is stored or said depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.records import COMPLETENESS_RANKS
from pipeline.windows.fold import LiquidationRow

Integers = NDArray[np.int64]

Contract = tuple[str, str]  # exchange, symbol


@dataclass(frozen=True, slots=True)
class TickEvents:
    """Liquidations in the order of the log, as `rows` and as columns of the same length.

    `assets`, `contracts`, `feeds` (a contract on a channel) and `exchanges` are numbers of `Numbering`. `micros` are
    micro-dollars, `times` ms, `ranks` those of completeness.
    """

    rows: Sequence[LiquidationRow]
    assets: Integers
    contracts: Integers
    feeds: Integers
    exchanges: Integers
    is_long: NDArray[np.bool_]
    prices: NDArray[np.float64]
    micros: Integers
    times: Integers
    ranks: Integers


@dataclass(slots=True)
class Numbering:
    """What the numbers stand for.

    `contract_names` has exchange and symbol, `asset_of` the number of each contract's asset, `contracts_of` the
    numbers of each asset's contracts.
    """

    asset_names: list[str] = field(default_factory=list)
    contract_names: list[Contract] = field(default_factory=list)
    exchange_names: list[str] = field(default_factory=list)
    asset_of: list[int] = field(default_factory=list)
    contracts_of: list[list[int]] = field(default_factory=list)
    _assets: dict[str, int] = field(default_factory=dict)
    _exchanges: dict[str, int] = field(default_factory=dict)
    _contracts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _feeds: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    # By feed: its contract, its asset and its exchange.
    _of_feed: Integers = field(default_factory=lambda: np.zeros((3, 0), dtype=np.int64))

    def asset(self, name: str) -> int:
        """Return the number of an asset, which may be new."""
        number = self._assets.get(name)
        if number is None:
            number = self._assets[name] = len(self.asset_names)
            self.asset_names.append(name)
            self.contracts_of.append([])
        return number

    @property
    def feeds(self) -> int:
        """Return how many feeds there are."""
        return len(self._feeds)

    def contract(self, asset: str, exchange: str, symbol: str) -> int:
        """Return the number of a contract, which may be new."""
        key = asset, exchange, symbol
        number = self._contracts.get(key)
        if number is None:
            number = self._contracts[key] = len(self.contract_names)
            of_asset = self.asset(asset)
            self.contract_names.append((exchange, symbol))
            self.asset_of.append(of_asset)
            self.contracts_of[of_asset].append(number)
        return number

    def events(self, rows: Sequence[LiquidationRow]) -> TickEvents:
        """Return `rows`, of which there must be some, by column."""
        _, exchanges, symbols, _, assets, positions, prices, micros, times, _, _, kinds, channels = zip(
            *rows, strict=True
        )
        known, keys = self._feeds, list(zip(assets, exchanges, symbols, channels, strict=True))
        try:
            found = [known[key] for key in keys]
        except KeyError:
            found = [self._feed(key) for key in keys]
        feeds = np.array(found, dtype=np.int64)
        contract_of, asset_of, exchange_of = self._of_feed
        return TickEvents(
            rows,
            asset_of[feeds],
            contract_of[feeds],
            feeds,
            exchange_of[feeds],
            np.array([position == "long" for position in positions], dtype=np.bool_),
            np.array(prices, dtype=np.float64),
            np.array(micros, dtype=np.int64),
            np.array(times, dtype=np.int64),
            np.array([COMPLETENESS_RANKS[kind] for kind in kinds], dtype=np.int64),
        )

    def _feed(self, key: tuple[str, str, str, str]) -> int:
        """Return the number of a feed, which may be new."""
        number = self._feeds.get(key)
        if number is None:
            number = self._feeds[key] = len(self._feeds)
            asset, exchange, symbol, _ = key
            of_exchange = self._exchanges.get(exchange)
            if of_exchange is None:
                of_exchange = self._exchanges[exchange] = len(self.exchange_names)
                self.exchange_names.append(exchange)
            contract = self.contract(asset, exchange, symbol)
            numbers = np.array([[contract], [self.asset_of[contract]], [of_exchange]], dtype=np.int64)
            self._of_feed = np.concatenate([self._of_feed, numbers], axis=1)
        return number


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in groups of equal keys: `order` sorts them, and group after group begins at `begins` there."""

    order: Integers
    begins: Integers

    @property
    def counts(self) -> Integers:
        """Return each group's number of rows."""
        return np.append(self.begins[1:], len(self.order)) - self.begins

    def sums(self, values: Integers) -> Integers:
        """Return each group's sum."""
        return np.add.reduceat(values[self.order], self.begins)

    def most(self, values: Integers) -> Integers:
        """Return each group's maximum."""
        return np.maximum.reduceat(values[self.order], self.begins)

    def firsts(self, values: Integers) -> list[int]:
        """Return of each group the value of its first row."""
        return values[self.order[self.begins]].tolist()  # type: ignore[no-any-return]


def groups_of(*keys: Integers) -> Groups:
    """Return the groups of rows, of which there must be some, with equal `keys`, ordered by the first key first."""
    order = np.lexsort(keys[::-1])
    is_first = np.zeros(len(order), dtype=np.bool_)
    is_first[0] = True
    for key in keys:
        ordered = key[order]
        is_first[1:] |= ordered[1:] != ordered[:-1]
    return Groups(order, np.flatnonzero(is_first))


def distinct(values: Integers) -> list[int]:
    """Return the values that are there, in order; of the minutes of a tick there are one or two."""
    if not len(values):
        return []
    least, most = int(values.min()), int(values.max())
    return [least] if least == most else np.unique(values).tolist()


def grown(rows: Integers, count: int, fill: int | Integers) -> Integers:
    """Return `rows` with at least `count` of them; those that are new hold `fill`."""
    if len(rows) >= count:
        return rows
    return np.concatenate([rows, np.full((count - len(rows), *rows.shape[1:]), fill, dtype=np.int64)])
