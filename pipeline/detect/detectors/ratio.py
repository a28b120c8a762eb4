"""The ratio rule over one partition: liquidated beside traded USD of each contract and bar.

A bar is judged once it is closed and every minute of it has a closed candle, and again when a late event or another
candle changes it. Where a candle is missing the traded volume is unknown, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pipeline.detect.bar_book import is_contract
from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding
from pipeline.detect.tick_events import TickEvents
from pipeline.records import COMPLETENESS_ORDER, Position
from pipeline.windows.fold import CandleRow
from pipeline.windows.parameters import MINUTE_MS

_KIND: Final = "ratio"

BarKey = tuple[str, str, int]  # exchange, symbol, start


class RatioDetector(Detector):
    """The bars of each asset's contracts for as long as they can be corrected."""

    name = "ratio"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._rule = facts.rules.ratio
        self._interval_ms = self._rule.interval_s * 1_000
        self._interval = INTERVALS_MS.index(self._interval_ms)
        self._floor_micros = round(self._rule.floor_usd * MICROS)
        self._touched: set[tuple[str, BarKey]] = set()
        self._findings: dict[tuple[BarKey, str], Finding] = {}
        self._closed_before = 0

    def take_tick(self, events: TickEvents) -> None:  # noqa: ARG002 - the bars have them
        """Take note of closed bars that have changed."""
        for bars in self.facts.touched:
            if bars.interval == self._interval and bars.start + self._interval_ms <= self._closed_before:
                self._touch(bars.contracts, bars.start)

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
            if before // self._interval_ms < closed_before // self._interval_ms:
                self._touch_closed(before)
            self._forget()
        for asset, key in sorted(self._touched):
            if key[2] + self._interval_ms <= self._closed_before and key[2] >= self._oldest():
                self._judge(asset, key)
        self._touched = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:  # noqa: ARG002 - there are none
        """Look after the findings."""
        self._closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings[(finding.exchange, finding.symbol, finding.started), finding.position] = finding

    def _touch_closed(self, before: int) -> None:
        """Take note of all bars that were closed after `before` (ms)."""
        bars = self.facts.bars
        for start in bars.starts(self._interval):
            if before < start + self._interval_ms <= self._closed_before:
                owners = bars.owners(self._interval, start)
                self._touch([owner // 2 for owner in owners if is_contract(owner)], start)

    def _touch(self, contracts: Iterable[int], start: int) -> None:
        numbering = self.facts.numbering
        for contract in contracts:
            asset = numbering.asset_names[numbering.asset_of[contract]]
            self._touched.add((asset, (*numbering.contract_names[contract], start)))

    def _judge(self, asset: str, key: BarKey) -> None:
        exchange, symbol, start = key
        sums = self.facts.bars.sums(asset, (exchange, symbol), self._interval, start)
        traded = self.facts.candles.contract(asset, exchange, symbol)
        traded_micros = None if traded is None else traded.traded_micros(start, start + self._interval_ms)
        if sums is None or not traded_micros:
            return
        feeds = self.facts.feeds[asset]
        feed = feeds.by_contract[exchange, symbol]
        coverage = self.facts.coverage.share([feed], start, self._interval)
        is_blind = coverage < self._rule.least_coverage
        sides: tuple[tuple[Position, int, int], ...] = (("long", sums[0], sums[2]), ("short", sums[1], sums[3]))
        for position, micros, count in sides:
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
            finding.completeness = COMPLETENESS_ORDER[feeds.contracts[feed]]
            finding.details = {
                "liquidated_usd": micros / MICROS,
                "traded_usd": traded_micros / MICROS,
                "events": float(count),
            }
            self.facts.findings.say(finding)

    def _oldest(self) -> int:
        """Return the start (ms) of the oldest bar that anything can change; a candle may come after the last event."""
        parameters = self.facts.parameters
        late_ms = parameters.lateness_ms + parameters.correction_ms
        return self.facts.watermark - late_ms - self._interval_ms - MINUTE_MS

    def _forget(self) -> None:
        """Let go of what nothing can change any more."""
        oldest = self._oldest()
        for key in [key for key in self._findings if key[0][2] < oldest]:
            self.facts.findings.forget(self._findings.pop(key))
