"""Surges of each contract and each asset: a bar becomes a row when it passes its bound, and closes with the bar.

A bar is judged at each tick that brought events for it. What it is judged against is worked out once, and again only
when a bar before it was corrected or its coverage became known better: nothing of that is state. A finding keeps the
bound that it passed. While the bar is open it is said again when its value has grown by half; then once when the bar
is closed, and at each late event after that.

Most events change nothing: the least sums at which something could happen are kept beside each bar (`_Watch.limits`),
and only what passes one of them is looked at.

Cells: none but those of the findings, except with `min_value_usd`: then bars are made without the small events; and
with a scorer or a season that look further back (`pipeline.detect.surge_history`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.detect.bar_book import BarBook, Bars, Contract
from pipeline.detect.coverage_history import INTERVALS_MS, Feeds, Starts
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete, merge_largest
from pipeline.detect.scorers import Baseline
from pipeline.detect.surge import COUNTS, SERIES, Series, Sums, baselines_of, scorer_of, unit_of, values_of
from pipeline.detect.surge_history import SurgeHistory, is_of_history
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

_KIND: Final = "surge"
# An open row is said again when its value has grown by this factor since it was said last.
_GROWTH: Final = 1.5
_EMPTY: Final[Sums] = (0, 0, 0, 0)
_POSITIONS: Final = [position for _, position in SERIES[:COUNTS]]
_Bar = tuple[str, Contract | None, int, int]  # asset, contract (None: the asset), number of the interval, start


@dataclass(slots=True)
class _Watch:
    """What is known of one contract's or asset's latest bar of one interval; all of it can be worked out again.

    `covered` are the bars that it is judged against, `baselines` what was found in them, by series.
    `limits` are micro-dollars of long, short and both, then numbers of events: unless one is passed, nothing can
    happen. They hold while `epoch` is that of the coverage.
    """

    start: int = -1
    epoch: int = -1
    covered: Starts = ()
    baselines: list[Baseline] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def is_quiet(self, start: int, epoch: int, sums: Sums) -> bool:
        """Tell whether the bar can be passed over."""
        if self.start != start or self.epoch != epoch:
            return False
        longs, shorts, long_count, short_count = sums
        limits = self.limits
        return (
            longs <= limits[0]
            and shorts <= limits[1]
            and longs + shorts <= limits[2]
            and long_count <= limits[3]
            and short_count <= limits[4]
            and long_count + short_count <= limits[5]
        )


def _watches() -> tuple[_Watch, ...]:
    return tuple(_Watch() for _ in INTERVALS_MS)


@dataclass(slots=True)
class _Asset:
    """One asset's watches, by interval.

    `newest` is the latest minute with events, `channels` are those that its own coverage was taken from.
    """

    channels: Feeds = ()
    newest: int = 0
    total: tuple[_Watch, ...] = field(default_factory=_watches)
    contracts: dict[Contract, tuple[_Watch, ...]] = field(default_factory=dict)

    def of(self, contract: Contract | None) -> tuple[_Watch, ...]:
        """Return the watches of a contract, or of the asset."""
        if contract is None:
            return self.total
        found = self.contracts.get(contract)
        if found is None:
            found = self.contracts[contract] = _watches()
        return found


class SurgeDetector(Detector):
    """The rule for all contracts and assets of a partition."""

    name = _KIND

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._rule = rule = facts.rules.surge
        self._scorer = scorer_of(rule)
        self._floor_micros = round(rule.floor_usd * MICROS)
        self._intervals = [number for number, length in enumerate(INTERVALS_MS) if length // 1_000 in rule.intervals_s]
        self._series = [
            number
            for number, (measure, position) in enumerate(SERIES)
            if measure in rule.measures and position in rule.positions
        ]
        self._of_contracts, self._of_assets = "instrument" in rule.scopes, "asset" in rule.scopes
        least_micros = round(rule.min_value_usd * MICROS)
        self._own = BarBook(facts.bars.kept_bars, least_micros) if least_micros else None
        self._book = facts.bars if self._own is None else self._own
        looks_back = rule.scorer == "quantile" or rule.season != "none"
        self._history = SurgeHistory(facts, self._book, self._scorer, self._feeds) if looks_back else None
        # What the history has not taken in yet must be among the bars before.
        correctable = (facts.parameters.lateness_ms + facts.parameters.correction_ms) // MINUTE_MS + 3
        self._bars_before = max(rule.period, correctable) if rule.scorer == "quantile" else rule.period
        self._assets: dict[str, _Asset] = {}
        self._open: dict[_Bar, dict[Series, Finding]] = {}
        self._ahead: dict[_Bar, None] = {}
        self._closing: defaultdict[int, dict[_Bar, None]] = defaultdict(dict)
        self._expiring: defaultdict[int, dict[_Bar, None]] = defaultdict(dict)

    def take_events(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Judge the bars that have new events."""
        touched = self.facts.touched if self._own is None else self._own.take(asset, events)
        if not touched:
            return
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        self._put_right(asset, known, touched)
        if self._history is not None:
            self._history.touch(self._bars_of(asset, touched))
            self._history.go_on(asset)
        epoch, floor, least = self.facts.coverage.epoch, self._floor_micros, self._rule.least_events
        totals: dict[tuple[int, int], Sums] = {}
        for bars in touched:
            starts, of_contract, of_asset = bars.starts, bars.of_contract, bars.of_asset
            watches = known.of(bars.contract)
            for interval in self._intervals:
                start, sums = starts[interval], of_contract[interval]
                totals[interval, start] = of_asset[interval]
                if (
                    sums[0] + sums[1] >= floor
                    and sums[2] + sums[3] >= least
                    and not watches[interval].is_quiet(start, epoch, sums)
                    and self._of_contracts
                ):
                    self._judge_bar((asset, bars.contract, interval, start))
        for (interval, start), total in totals.items():
            if (
                total[0] + total[1] >= floor
                and total[2] + total[3] >= least
                and not known.total[interval].is_quiet(start, epoch, total)
                and self._of_assets
            ):
                self._judge_bar((asset, None, interval, start))

    def judge(self) -> None:
        """Judge bars that have begun now, close those that are over, and let go what can change no more."""
        watermark = self.facts.watermark
        if self._history is not None and self._history.go_on_all():
            self._assets = {}
        for bar in [bar for bar in self._ahead if bar[3] <= watermark]:
            del self._ahead[bar]
            self._judge_bar(bar)
        for due in [due for due in self._closing if due <= watermark]:
            for bar in self._closing.pop(due):
                self._close(bar)
        for due in [due for due in self._expiring if due <= watermark]:
            for bar in self._expiring.pop(due):
                for finding in self._open.pop(bar).values():
                    self.facts.findings.forget(finding)
        if self._own is not None:
            self._own.forget(watermark)
        for asset in self.facts.bars.forgotten:
            self._assets.pop(asset, None)

    def cells(self) -> Iterable[Cell]:
        """Yield the bars without small events, and what is kept for longer, if there are such."""
        if self._own is not None:
            yield from self._own.cells()
        if self._history is not None:
            yield from self._history.cells()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint, and look after the findings."""
        if self._own is not None:
            self._own.restore({name: value for name, value in cells.items() if not is_of_history(name)})
        if self._history is not None:
            self._history.restore(cells)
        for finding in self.facts.findings.of_kind(_KIND):
            contract = (finding.exchange, finding.symbol) if finding.scope == "instrument" else None
            interval = INTERVALS_MS.index(finding.interval_ms)
            self._look_after((finding.asset, contract, interval, finding.started), finding)
        # What lies ahead of the watermark waits to be judged.
        for asset, bars in self._book.assets():
            for interval in self._intervals:
                for start in [start for start in bars.totals[interval] if start > self.facts.watermark]:
                    if self._of_contracts:
                        for contract in bars.contracts[interval][start]:
                            self._ahead[asset, contract, interval, start] = None
                    if self._of_assets:
                        self._ahead[asset, None, interval, start] = None

    def _put_right(self, asset: str, known: _Asset, touched: Iterable[Bars]) -> None:
        """Have worked out again what rests on a bar that was corrected, or on channels that are no longer all."""
        channels = self.facts.feeds[asset].channels
        if known.channels is not channels:
            known.channels = channels
            for watch in known.total:
                watch.start = -1
        for bars in touched:
            if bars.minute >= known.newest:
                known.newest = bars.minute
                continue
            for watches in (known.of(bars.contract), known.total):
                for watch, start in zip(watches, bars.starts, strict=True):
                    if start < watch.start:
                        watch.start = -1

    def _close(self, bar: _Bar) -> None:
        for finding in self._open[bar].values():
            if finding.state == "open":
                self._say(bar, finding)
        # A late event is said however little it adds.
        asset, contract, interval, _ = bar
        if asset in self._assets:
            watch = self._assets[asset].of(contract)[interval]
            watch.epoch, watch.limits = -1, []

    def _judge_bar(self, bar: _Bar) -> None:
        """Find what a bar that has the least USD and events has passed, and what must be passed for anything more."""
        asset, contract, interval, start = bar
        if start > self.facts.watermark:
            self._ahead[bar] = None
            return
        bars = self._book.bars(asset)
        sums = bars.of(contract, interval, start)
        if sums is None:
            return
        rule, coverage, feeds = self._rule, self.facts.coverage, self._feeds(asset, contract)
        covered = coverage.covered_before(feeds, start, interval, self._bars_before, rule.least_coverage)
        watch = self._watch(bar)
        if watch.start != start or watch.covered is not covered:
            watch.start, watch.covered, watch.limits = start, covered, []
            watch.baselines = self._baselines(bar, sums, covered)
        elif rule.baseline == "inclusive":
            watch.baselines = self._baselines(bar, sums, covered)
        watch.epoch = coverage.epoch
        if not watch.limits or rule.baseline == "inclusive" or not watch.is_quiet(start, watch.epoch, sums):
            watch.limits = self._judge_values(bar, watch, values_of(sums))
        if rule.baseline == "inclusive" or not coverage.is_final(feeds, interval):
            watch.epoch = -1

    def _baselines(self, bar: _Bar, sums: Sums, covered: Starts) -> list[Baseline]:
        """Return what a bar is judged against, found in the covered bars before it."""
        if self._history is not None:
            return self._history.baselines(bar, sums, covered)
        asset, contract, interval, _ = bar
        read = self._book.bars(asset).reader(contract, interval)
        return baselines_of(sums, [read(one) or _EMPTY for one in covered], self._rule, self._scorer)

    def _bars_of(self, asset: str, touched: Iterable[Bars]) -> Iterable[_Bar]:
        for bars in touched:
            for interval in self._intervals:
                if self._of_contracts:
                    yield asset, bars.contract, interval, bars.starts[interval]
                if self._of_assets:
                    yield asset, None, interval, bars.starts[interval]

    def _watch(self, bar: _Bar) -> _Watch:
        """Return the watch of a bar; an older bar than the latest gets one that is not kept."""
        asset, contract, interval, start = bar
        watch = self._assets.setdefault(asset, _Asset()).of(contract)[interval]
        return _Watch() if start < watch.start else watch

    def _judge_values(self, bar: _Bar, watch: _Watch, values: Sequence[int]) -> list[float]:
        """Judge each series of a bar; return how far each sum can rise before anything more happens."""
        known = self._open.get(bar, {})
        limits = [math.inf] * len(SERIES)
        for number in self._series:
            place, limit = number, math.inf
            value, threshold, finding = values[number], watch.baselines[number].threshold, known.get(SERIES[number])
            if finding is not None:
                limit = self._grow(bar, finding, value, unit_of(number))
            elif threshold is not None and value / unit_of(number) <= threshold:
                # One less, because the product is rounded.
                limit = math.floor(threshold * unit_of(number)) - (number < COUNTS)
            elif threshold is not None:
                position = number % COUNTS
                if values[position] < self._floor_micros:
                    place, limit = position, self._floor_micros - 1
                elif values[position + COUNTS] < self._rule.least_events:
                    place, limit = position + COUNTS, self._rule.least_events - 1
                else:
                    self._fire(bar, number, value / unit_of(number), watch.baselines[number])
                    limit = value
            limits[place] = min(limits[place], limit)
        return limits

    def _grow(self, bar: _Bar, finding: Finding, value: int, unit: int) -> int:
        """Say a row again if there is reason to; return up to which value there is none."""
        said = round(finding.value * unit)
        if value >= said * _GROWTH or (finding.state == "closed" and value != said):
            self._say(bar, finding)
            said = value
        return said if finding.state == "closed" else math.ceil(said * _GROWTH) - 1

    def _fire(self, bar: _Bar, number: int, value: float, baseline: Baseline) -> None:
        """Open a row, unless the rule waits because the bar is not covered well enough."""
        asset, contract, interval, start = bar
        rule, (measure, position) = self._rule, SERIES[number]
        if rule.when_blind == "wait" and self._coverage(bar) < rule.least_coverage:
            return
        has_season = rule.season != "none"
        finding = Finding(
            kind=_KIND,
            scope="asset" if contract is None else "instrument",
            asset=asset,
            exchange="" if contract is None else contract[0],
            symbol="" if contract is None else contract[1],
            position=position,
            measure=measure,
            interval_ms=INTERVALS_MS[interval],
            started=start,
            updated=start,
            value=value,
            threshold=baseline.threshold or 0.0,
            baseline_mean=baseline.mean,
            baseline_sd=baseline.sd,
            baseline_n=baseline.n,
            details={"found": float(self.facts.watermark)} | ({"season": baseline.season} if has_season else {}),
        )
        self._say(bar, finding)
        self._look_after(bar, finding)

    def _say(self, bar: _Bar, finding: Finding) -> None:
        """Bring a finding up to its bar as it is now, and say it."""
        asset, contract, interval, start = bar
        facts, rule = self.facts, self._rule
        sums = self._book.bars(asset).of(contract, interval, start) or _EMPTY
        values = values_of(sums)
        place = _POSITIONS.index(finding.position)
        micros, count = values[place], values[place + COUNTS]
        feeds, end = facts.feeds[asset], start + INTERVALS_MS[interval]
        ranks = feeds.contracts.values() if contract is None else [feeds.contracts[feeds.by_contract[contract]]]
        finding.value = micros / MICROS if finding.measure == "usd" else float(count)
        finding.details |= {"usd": micros / MICROS, "events": float(count)}
        finding.coverage = self._coverage(bar)
        finding.completeness = least_complete(ranks)
        finding.degraded = (
            finding.coverage < rule.least_coverage
            or finding.baseline_n < rule.period
            or (finding.measure == "count" and finding.completeness != "full")
        )
        finding.largest = merge_largest(
            finding.largest, facts.largest.of(asset, contract, finding.position, start, end)
        )
        if facts.watermark >= end + facts.parameters.lateness_ms:
            finding.close(end)
        else:
            finding.updated = min(facts.watermark, end)
        facts.findings.say(finding)

    def _look_after(self, bar: _Bar, finding: Finding) -> None:
        known = self._open.get(bar)
        if known is None:
            known = self._open[bar] = {}
        known["usd" if finding.measure == "usd" else "count", finding.position] = finding
        parameters = self.facts.parameters
        closed = bar[3] + finding.interval_ms + parameters.lateness_ms
        if finding.state == "open":
            self._closing[closed][bar] = None
        self._expiring[closed + parameters.correction_ms][bar] = None

    def _feeds(self, asset: str, contract: Contract | None) -> Feeds:
        feeds = self.facts.feeds[asset]
        return feeds.channels if contract is None else (self.facts.coverage.feed(feeds.by_contract[contract]),)

    def _coverage(self, bar: _Bar) -> float:
        asset, contract, interval, start = bar
        return self.facts.coverage.share(self._feeds(asset, contract), start, interval)
