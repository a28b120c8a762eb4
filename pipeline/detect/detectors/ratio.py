"""The ratio rule over one partition: liquidated beside traded USD of each contract and bar.

A bar is judged once it is closed and every minute of it has a closed candle, and again when a late event or another
candle changes it. Where a candle is missing the traded volume is unknown, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding
from pipeline.detect.waiting import ANY_ROOM
from pipeline.records import COMPLETENESS_ORDER, Position
from pipeline.windows.fold import CandleRow, Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

_KIND: Final = "ratio"
_RANKS: dict[str, int] = {name: rank for rank, name in enumerate(COMPLETENESS_ORDER)}

BarKey = tuple[str, str, int]  # exchange, symbol, start


@dataclass(slots=True)
class Liquidated:
    """The liquidations of one contract in one bar; `completeness` is the worst rank."""

    channel: str
    completeness: int = 0
    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0


class RatioDetector(Detector):
    """The bars of each asset's contracts for as long as they can be corrected."""

    name = "ratio"
    # Bars are judged when they are closed.
    usual_room = ANY_ROOM

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._rule = facts.rules.ratio
        self._interval_ms = self._rule.interval_s * 1_000
        self._floor_micros = round(self._rule.floor_usd * MICROS)
        self._bars: dict[str, dict[BarKey, Liquidated]] = {}
        self._touched: set[tuple[str, BarKey]] = set()
        self._changed: set[str] = set()
        self._written: set[str] = set()
        self._findings: dict[tuple[BarKey, str], Finding] = {}
        self._closed_before = 0

    def take_events(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Sum the events up by contract and bar."""
        bars = self._bars.setdefault(asset, {})
        interval = self._interval_ms
        for row in events:
            key = row[1], row[2], row[8] - row[8] % interval
            bar = bars.get(key)
            if bar is None:
                bar = bars[key] = Liquidated(row[12])
            if row[5] == "long":
                bar.long_micros += row[7]
                bar.long_count += 1
            else:
                bar.short_micros += row[7]
                bar.short_count += 1
            bar.completeness = max(bar.completeness, _RANKS[row[11]])
        self._changed.add(asset)
        # Events come by time: only where the first is of a closed bar can others be.
        for row in events:
            start = row[8] - row[8] % interval
            if start + interval > self._closed_before:
                break
            self._touched.add((asset, (row[1], row[2], start)))

    def take_candles(self, asset: str, candles: Sequence[CandleRow]) -> None:
        """Take note of the bars whose traded volume may be known now."""
        for candle in candles:
            start = candle.start - candle.start % self._interval_ms
            self._touched.add((asset, (candle.exchange, candle.symbol, start)))

    def judge(self) -> None:
        """Judge the bars that were closed since the last tick, and those that were touched."""
        closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        if closed_before > self._closed_before:
            before, self._closed_before = self._closed_before, closed_before
            for asset, bars in self._bars.items():
                self._touched.update(
                    (asset, key) for key in bars if before < key[2] + self._interval_ms <= closed_before
                )
            self._forget()
        for asset, key in sorted(self._touched):
            if key[2] + self._interval_ms <= self._closed_before:
                self._judge(asset, key)
        self._touched = set()

    def cells(self) -> Iterable[Cell]:
        """Yield the bars of the assets that changed."""
        for asset in sorted(self._changed):
            bars = self._bars.get(asset)
            if bars:
                self._written.add(asset)
                yield asset.encode(), orjson.dumps([asset, [[*key, *_values(bar)] for key, bar in bars.items()]])
            elif asset in self._written:
                self._written.remove(asset)
                yield asset.encode(), None
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        self._closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        for value in cells.values():
            asset, rows = orjson.loads(value)
            self._written.add(asset)
            self._bars[asset] = {
                (exchange, symbol, start): Liquidated(*values) for exchange, symbol, start, *values in rows
            }
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings[(finding.exchange, finding.symbol, finding.started), finding.position] = finding

    def _judge(self, asset: str, key: BarKey) -> None:
        bar = self._bars.get(asset, {}).get(key)
        exchange, symbol, start = key
        traded = self.facts.candles.contract(asset, exchange, symbol)
        traded_micros = None if traded is None else traded.traded_micros(start, start + self._interval_ms)
        if bar is None or not traded_micros:
            return
        feed = exchange, bar.channel, symbol
        coverage = self.facts.coverage.share([feed], start, INTERVALS_MS.index(self._interval_ms))
        is_blind = coverage < self._rule.least_coverage
        sides: tuple[tuple[Position, int], ...] = (("long", bar.long_micros), ("short", bar.short_micros))
        for position, micros in sides:
            finding = self._findings.get((key, position))
            ratio = micros / traded_micros
            if finding is None:
                fires = ratio > self._rule.threshold and micros >= self._floor_micros
                if not fires or (is_blind and self._rule.when_blind == "wait"):
                    continue
                finding = self._findings[key, position] = Finding(
                    kind=_KIND,
                    scope="instrument",
                    asset=asset,
                    exchange=exchange,
                    symbol=symbol,
                    position=position,
                    measure="share",
                    interval_ms=self._interval_ms,
                    started=start,
                    updated=start,
                    value=ratio,
                    threshold=self._rule.threshold,
                )
            elif finding.value == ratio:
                continue
            finding.value, finding.updated = ratio, self.facts.watermark
            finding.state, finding.ended = "closed", start + self._interval_ms
            finding.coverage, finding.degraded = coverage, is_blind
            finding.completeness = COMPLETENESS_ORDER[bar.completeness]
            finding.details = {
                "liquidated_usd": micros / MICROS,
                "traded_usd": traded_micros / MICROS,
                "events": float(bar.long_count if position == "long" else bar.short_count),
            }
            self.facts.findings.say(finding)

    def _forget(self) -> None:
        """Let go of bars that nothing can change any more."""
        parameters = self.facts.parameters
        # A candle may come some minutes after the last event that can.
        least = self.facts.watermark - parameters.lateness_ms - parameters.correction_ms - self._interval_ms - MINUTE_MS
        for asset, bars in list(self._bars.items()):
            gone = [key for key in bars if key[2] < least]
            if not gone:
                continue
            self._changed.add(asset)
            for key in gone:
                del bars[key]
                for position in ("long", "short"):
                    finding = self._findings.pop((key, position), None)
                    if finding is not None:
                        self.facts.findings.forget(finding)
            if not bars:
                del self._bars[asset]


def _values(bar: Liquidated) -> list[object]:
    return [bar.channel, bar.completeness, bar.long_micros, bar.short_micros, bar.long_count, bar.short_count]
