"""The liquidations of one tick by column, so that rules can add up all assets of a partition at once.

Assets, contracts, exchanges and feeds get numbers in the order in which a partition first sees them. Numbers live in
memory only: nothing that is stored or said depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.records import COMPLETENESS_RANKS
from pipeline.windows.fold import LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

Integers = NDArray[np.int64]

Contract = tuple[str, str]  # exchange, symbol
Places = slice | Integers

_EVERYWHERE: Final = slice(None)
# Asset, exchange, symbol, channel, position, completeness: liquidations that are equal in these are of one kind.
_Kind = tuple[str, str, str, str, str, str]
_KIND_OF: Final[Callable[[LiquidationRow], _Kind]] = itemgetter(4, 1, 2, 12, 5, 11)
_MICROS_OF: Final[Callable[[LiquidationRow], int]] = itemgetter(7)
_TIME_OF: Final[Callable[[LiquidationRow], int]] = itemgetter(8)
_KIND_NUMBERS: Final = 6


@dataclass(frozen=True, slots=True)
class TickEvents:
    """Liquidations in the order of the log, as `rows` and as columns of the same length.

    `assets`, `contracts`, `feeds` (a contract on a channel) and `exchanges` are numbers of `Numbering`. `is_long` is 1
    or 0, `micros` are micro-dollars, `times` ms, `ranks` those of completeness. `minutes` are the starts (ms) of the
    minutes that have events, in order, each with the places of its events.
    """

    rows: Sequence[LiquidationRow]
    assets: Integers
    contracts: Integers
    feeds: Integers
    exchanges: Integers
    is_long: Integers
    ranks: Integers
    micros: Integers
    times: Integers
    minutes: list[tuple[int, Places]]


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
    _kinds: dict[_Kind, int] = field(default_factory=dict)
    # By kind: what `TickEvents` has of it, from assets to ranks.
    _of_kind: Integers = field(default_factory=lambda: np.zeros((_KIND_NUMBERS, 0), dtype=np.int64))

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
        try:
            kinds = _column(map(self._kinds.__getitem__, map(_KIND_OF, rows)), rows)
        except KeyError:
            kinds = _column(map(self._kind, map(_KIND_OF, rows)), rows)
        micros, times = _column(map(_MICROS_OF, rows), rows), _column(map(_TIME_OF, rows), rows)
        assets, contracts, feeds, exchanges, is_long, ranks = self._of_kind.take(kinds, axis=1)
        minutes = _by_minute(times)
        return TickEvents(rows, assets, contracts, feeds, exchanges, is_long, ranks, micros, times, minutes)

    def _kind(self, key: _Kind) -> int:
        """Return the number of a kind, which may be new."""
        number = self._kinds.get(key)
        if number is None:
            number = self._kinds[key] = len(self._kinds)
            asset, exchange, symbol, channel, position, completeness = key
            contract = self.contract(asset, exchange, symbol)
            feed = self._feeds.setdefault((asset, exchange, symbol, channel), len(self._feeds))
            of_exchange = self._exchanges.get(exchange)
            if of_exchange is None:
                of_exchange = self._exchanges[exchange] = len(self.exchange_names)
                self.exchange_names.append(exchange)
            is_long, rank = int(position == "long"), COMPLETENESS_RANKS[completeness]
            numbers = (self.asset_of[contract], contract, feed, of_exchange, is_long, rank)
            self._of_kind = np.column_stack((self._of_kind, numbers))
        return number


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in groups of equal keys: `order` sorts them, and group after group begins at `begins` there.

    Within a group rows have no order.
    """

    order: Integers
    begins: Integers

    @property
    def counts(self) -> Integers:
        """Return each group's number of rows."""
        return np.concatenate((self.begins[1:], (len(self.order),))) - self.begins

    def sums(self, values: Integers) -> Integers:
        """Return each group's sum."""
        return np.add.reduceat(values[self.order], self.begins)

    def most(self, values: Integers) -> Integers:
        """Return each group's maximum."""
        return np.maximum.reduceat(values[self.order], self.begins)

    def firsts(self, values: Integers) -> list[int]:
        """Return of each group the value of its first row."""
        return values[self.order[self.begins]].tolist()  # type: ignore[no-any-return]


def groups_of(first: Integers, second: Integers) -> Groups:
    """Return the groups of rows, of which there must be some, with equal keys, ordered by the `first` of them first.

    Keys are not negative, and the product of the largest of both is below 2**63.
    """
    keys = first * (second.max() + 1) + second
    order = keys.argsort()
    ordered = keys[order]
    is_first = np.ones(len(order), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return Groups(order, is_first.nonzero()[0])


def _column(values: Iterable[int], rows: Sequence[LiquidationRow]) -> Integers:
    return np.fromiter(values, dtype=np.int64, count=len(rows))


def _by_minute(times: Integers) -> list[tuple[int, Places]]:
    """Return the minutes (ms) of `times` (ms), each with the places of its own."""
    first, last = int(times.min()) // MINUTE_MS, int(times.max()) // MINUTE_MS
    if first == last:
        return [(first * MINUTE_MS, _EVERYWHERE)]
    minutes = times // MINUTE_MS
    return [(minute * MINUTE_MS, (minutes == minute).nonzero()[0]) for minute in np.unique(minutes).tolist()]


def grown(rows: Integers, count: int, fill: int | Integers) -> Integers:
    """Return `rows` with at least `count` of them; those that are new hold `fill`."""
    if len(rows) >= count:
        return rows
    return np.concatenate([rows, np.full((count - len(rows), *rows.shape[1:]), fill, dtype=np.int64)])
