"""Bars of one, five and sixty minutes of each contract and asset, for as far back as rules look.

Only bars with events are kept. They are sums of what was folded into the fold's minutes, so a late event corrects them
too. Cells: `ASSET/INTERVAL/START` with one bar of an asset, by contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

HOUR_MS: Final = 3_600_000

Contract = tuple[str, str]  # exchange, symbol
# Micro-dollars of longs and of shorts, number of longs and of shorts.
Sums = list[int]


@dataclass(frozen=True, slots=True)
class Bars:
    """The three bars of a contract, and of its asset, that one minute belongs to."""

    contract: Contract
    minute: int
    starts: tuple[int, ...]
    of_contract: tuple[Sums, ...]
    of_asset: tuple[Sums, ...]


@dataclass(slots=True)
class AssetBars:
    """The bars of one asset by start, for each of `INTERVALS_MS`: of each contract, and of all together.

    `latest` are the bars into which the last event of each contract went, `changed` the minutes of events that no
    checkpoint has written.
    """

    contracts: tuple[dict[int, dict[Contract, Sums]], ...] = field(default_factory=lambda: ({}, {}, {}))
    totals: tuple[dict[int, Sums], ...] = field(default_factory=lambda: ({}, {}, {}))
    latest: dict[Contract, Bars] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def of(self, contract: Contract | None, interval: int, start: int) -> Sums | None:
        """Return the bar of a contract, or of the asset; None if it has no events."""
        if contract is None:
            return self.totals[interval].get(start)
        bar = self.contracts[interval].get(start)
        return None if bar is None else bar.get(contract)

    def reader(self, contract: Contract | None, interval: int) -> Callable[[int], Sums | None]:
        """Return how to read the bars of a contract, or of the asset, by start."""
        if contract is None:
            return self.totals[interval].get
        bars = self.contracts[interval]
        return lambda start: None if (bar := bars.get(start)) is None else bar.get(contract)


class BarBook:
    """The bars of all assets of a partition, made of events of at least `least_micros`."""

    def __init__(self, kept_bars: int, least_micros: int = 0) -> None:
        self.kept_bars = kept_bars
        self._least = least_micros
        self._assets: dict[str, AssetBars] = {}
        self._changed: set[str] = set()
        self._deleted: list[bytes] = []
        self._looked_at = 0
        self.forgotten: list[str] = []

    def bars(self, asset: str) -> AssetBars:
        """Return an asset's bars."""
        bars = self._assets.get(asset)
        if bars is None:
            bars = self._assets[asset] = AssetBars()
        return bars

    def sums(self, asset: str, contract: Contract | None, interval: int, start: int) -> Sums | None:
        """Return a bar of a contract, or of the asset; None if it has no events."""
        bars = self._assets.get(asset)
        return None if bars is None else bars.of(contract, interval, start)

    def assets(self) -> Iterable[tuple[str, AssetBars]]:
        """Return the bars of all assets, by asset."""
        return self._assets.items()

    def take(self, asset: str, events: Sequence[LiquidationRow]) -> list[Bars]:
        """Add events to their bars; return the bars that have changed, those of each minute and contract once."""
        bars = self.bars(asset)
        latest = bars.latest
        touched: dict[int, Bars] = {}
        least = self._least
        for row in events:
            micros = row[7]
            if micros < least:
                continue
            time = row[8]
            minute = time - time % MINUTE_MS
            contract = (row[1], row[2])
            found = latest.get(contract)
            if found is None or found.minute != minute:
                found = latest[contract] = self._enter(asset, bars, contract, minute)
            touched[id(found)] = found
            minute_sums, five_sums, hour_sums = found.of_contract
            minute_total, five_total, hour_total = found.of_asset
            if row[5] == "long":
                minute_sums[0] += micros
                minute_sums[2] += 1
                five_sums[0] += micros
                five_sums[2] += 1
                hour_sums[0] += micros
                hour_sums[2] += 1
                minute_total[0] += micros
                minute_total[2] += 1
                five_total[0] += micros
                five_total[2] += 1
                hour_total[0] += micros
                hour_total[2] += 1
            else:
                minute_sums[1] += micros
                minute_sums[3] += 1
                five_sums[1] += micros
                five_sums[3] += 1
                hour_sums[1] += micros
                hour_sums[3] += 1
                minute_total[1] += micros
                minute_total[3] += 1
                five_total[1] += micros
                five_total[3] += 1
                hour_total[1] += micros
                hour_total[3] += 1
        if touched:
            self._changed.add(asset)
            bars.changed.update([found.minute for found in touched.values()])
        return list(touched.values())

    def forget(self, watermark: int) -> None:
        """Forget assets all of whose bars are too old to be looked at; done once an hour, `forgotten` names them."""
        self.forgotten = []
        hour = watermark - watermark % HOUR_MS
        if hour <= self._looked_at:
            return
        self._looked_at = hour
        gone_before = watermark - (self.kept_bars + 1) * INTERVALS_MS[-1]
        for asset in [asset for asset, bars in self._assets.items() if max(bars.totals[-1], default=0) < gone_before]:
            self.forgotten.append(asset)
            for interval, known in enumerate(self._assets.pop(asset).totals):
                self._deleted += [_name(asset, interval, start) for start in known]
            self._changed.discard(asset)

    def cells(self) -> Iterable[Cell]:
        """Yield the bars that changed since the last call, and delete those that are too old."""
        for name in self._deleted:
            yield name, None
        self._deleted = []
        for asset in sorted(self._changed):
            bars = self._assets[asset]
            for interval, length in enumerate(INTERVALS_MS):
                for start in sorted({minute - minute % length for minute in bars.changed}):
                    stored = [[*contract, *sums] for contract, sums in bars.contracts[interval].get(start, {}).items()]
                    if stored:
                        yield _name(asset, interval, start), orjson.dumps([asset, interval, start, stored])
            bars.changed = set()
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for value in cells.values():
            asset, interval, start, stored = orjson.loads(value)
            bars = self.bars(asset)
            bar: dict[Contract, Sums] = {(exchange, symbol): sums for exchange, symbol, *sums in stored}
            bars.contracts[interval][start] = bar
            bars.totals[interval][start] = [sum(column) for column in zip(*bar.values(), strict=True)]

    def _enter(self, asset: str, bars: AssetBars, contract: Contract, minute: int) -> Bars:
        """Return the bars that `minute` belongs to; those that are not there are made."""
        starts = tuple([minute - minute % length for length in INTERVALS_MS])
        of_contract, of_asset = [], []
        for interval, start in enumerate(starts):
            total = bars.totals[interval].get(start)
            if total is None:
                total = self._new_bar(asset, bars, interval, start)
            of_asset.append(total)
            of_contract.append(bars.contracts[interval][start].setdefault(contract, [0, 0, 0, 0]))
        return Bars(contract, minute, starts, tuple(of_contract), tuple(of_asset))

    def _new_bar(self, asset: str, bars: AssetBars, interval: int, start: int) -> Sums:
        totals, contracts = bars.totals[interval], bars.contracts[interval]
        oldest = start - self.kept_bars * INTERVALS_MS[interval]
        for old in [known for known in totals if known < oldest]:
            del totals[old], contracts[old]
            self._deleted.append(_name(asset, interval, old))
        contracts[start] = {}
        total = totals[start] = [0, 0, 0, 0]
        return total


def _name(asset: str, interval: int, start: int) -> bytes:
    return b"%s/%d/%d" % (asset.encode(), interval, start)
