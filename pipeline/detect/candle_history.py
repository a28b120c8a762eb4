"""The closed candles of the last hour, by asset and contract: what was traded, and how the price has moved.

Candles are heard in the order of the log; of two of one minute the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from statistics import stdev
from typing import Final

import orjson

from pipeline.records import Position
from pipeline.windows.fold import CandleRow, Cell
from pipeline.windows.parameters import MINUTE_MS

# The reference contract of an asset is the one most traded in so many minutes.
REFERENCE_MINUTES: Final = 60
# Returns from which a deviation is taken, and how few are too few.
_MOST_RETURNS: Final = 30
_LEAST_RETURNS: Final = 10

ContractKey = tuple[str, str]  # exchange, symbol


@dataclass(slots=True)
class Traded:
    """The candles of one contract by the minute's start (ms): closing price and traded micro-dollars."""

    minutes: dict[int, tuple[float, int]] = field(default_factory=dict)

    def set_minute(self, start: int, close: float, micros: int, kept_ms: int) -> None:
        """Take in a candle, and forget what is `kept_ms` older than it."""
        if start not in self.minutes:
            for old in [known for known in self.minutes if known <= start - kept_ms]:
                del self.minutes[old]
        self.minutes[start] = close, micros

    def traded_micros(self, start: int, end: int) -> int | None:
        """Return the micro-dollars traded from `start` to `end` (ms), None unless every minute is known."""
        total = 0
        for minute in range(start, end, MINUTE_MS):
            known = self.minutes.get(minute)
            if known is None:
                return None
            total += known[1]
        return total


class CandleHistory:
    """The candles of one partition's assets."""

    def __init__(self, kept_ms: int) -> None:
        self._kept_ms = kept_ms
        self._assets: dict[str, dict[ContractKey, Traded]] = {}
        self._changed: set[tuple[str, ContractKey]] = set()

    def take(self, asset: str, candles: Iterable[CandleRow]) -> None:
        """Take in closed candles of one asset."""
        contracts = self._assets.setdefault(asset, {})
        for candle in candles:
            key = candle.exchange, candle.symbol
            traded = contracts.get(key)
            if traded is None:
                traded = contracts[key] = Traded()
            traded.set_minute(candle.start, candle.close, candle.volume_micros, self._kept_ms)
            self._changed.add((asset, key))

    def contract(self, asset: str, exchange: str, symbol: str) -> Traded | None:
        """Return the candles of a contract, None if it has had none."""
        return self._assets.get(asset, {}).get((exchange, symbol))

    def reference(self, asset: str, begin: int) -> Traded | None:
        """Return the contract with the most traded USD in the sixty minutes before the minute of `begin` (ms).

        Ties go by name. None where no contract has a candle in that time. The view `cascades` chooses in the same way.
        """
        end = begin - begin % MINUTE_MS
        hour = range(end - REFERENCE_MINUTES * MINUTE_MS, end)
        best: tuple[int, ContractKey] | None = None
        for key, traded in self._assets.get(asset, {}).items():
            micros = sum([traded_micros for start, (_, traded_micros) in traded.minutes.items() if start in hour])
            if micros and (best is None or (micros, key) > best):
                best = micros, key
        return None if best is None else self._assets[asset][best[1]]

    def moved_sd(self, asset: str, position: Position, begin: int) -> float | None:
        """Return how far the price has moved with the forced flow since `begin` (ms), in deviations; None if unknown.

        The price is that of the reference contract: from the last close before the minute of `begin` to the latest one
        known. A deviation is the sample standard deviation of the one-minute log returns before, of the last 30, times
        the square root of the minutes in between (`rules_and_formulas` 8).
        """
        reference = self.reference(asset, begin)
        if reference is None:
            return None
        minute = begin - begin % MINUTE_MS
        before = sorted(start for start in reference.minutes if start < minute)
        latest = max(reference.minutes)
        if not before or latest < minute:
            return None
        closes = reference.minutes
        returns = [
            log(closes[start][0] / closes[start - MINUTE_MS][0])
            for start in before[-_MOST_RETURNS:]
            if start - MINUTE_MS in closes
        ]
        deviation = stdev(returns) if len(returns) >= _LEAST_RETURNS else 0.0
        if not deviation:
            return None
        move = log(closes[latest][0] / closes[before[-1]][0])
        minutes = (latest - before[-1]) / MINUTE_MS
        return (-move if position == "long" else move) / (deviation * sqrt(minutes))

    def cells(self) -> Iterable[Cell]:
        """Yield what changed since the last call, by contract."""
        for asset, (exchange, symbol) in sorted(self._changed):
            minutes = self._assets[asset][exchange, symbol].minutes
            closes, micros = [known[0] for known in minutes.values()], [known[1] for known in minutes.values()]
            value = [asset, exchange, symbol, [start // MINUTE_MS for start in minutes], closes, micros]
            yield f"{asset}/{exchange}/{symbol}".encode(), orjson.dumps(value)
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in what `cells` holds."""
        for value in cells.values():
            asset, exchange, symbol, starts, closes, micros = orjson.loads(value)
            self._assets.setdefault(asset, {})[exchange, symbol] = Traded(_minutes(starts, closes, micros))


def _minutes(starts: Sequence[int], closes: Sequence[float], micros: Sequence[int]) -> dict[int, tuple[float, int]]:
    return {start * MINUTE_MS: (close, traded) for start, close, traded in zip(starts, closes, micros, strict=True)}
