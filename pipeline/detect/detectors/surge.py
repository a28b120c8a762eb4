"""Surges of each contract and each asset: a bar becomes a row when it passes its bound, and closes with the bar.

A bar is judged at each tick that brought events for it. What it is judged against is worked out once, and again only
when a bar before it was corrected or its coverage became known better: nothing of that is state. A finding keeps the
bound that it passed. While the bar is open it is said again when its value has grown by half; then once when the bar
is closed, and at each late event after that.

Most events change nothing: beside each bar stand the sums up to which nothing can happen (`pipeline.detect.limits`),
and only what has passed one of them is looked at. Where that is much, limits are found in columns
(`pipeline.detect.surge_columns`) for all bars of a start.

Cells: with `min_value_usd` bars that are made without the small events; and with a scorer or a season that look further
back those of `pipeline.detect.surge_history`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.detect.bar_book import BarBook, Owner, TouchedBars, is_contract, with_events
from pipeline.detect.coverage_history import INTERVALS_MS, Feeds, Starts
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete, merge_largest
from pipeline.detect.limits import ENDLESS, NOTHING, VALUES_OF_SUMS, Limits
from pipeline.detect.scorers import Baseline
from pipeline.detect.surge import COUNTS, SERIES, Series, Sums, baselines_of, scorer_of, unit_of, values_of
from pipeline.detect.surge_columns import limits_below, safe_bounds
from pipeline.detect.surge_history import SurgeHistory, is_of_history
from pipeline.detect.tick_events import Contract, Integers, TickEvents
from pipeline.windows.fold import Cell
from pipeline.windows.parameters import MINUTE_MS

_KIND: Final = "surge"
# An open row is said again when its value has grown by this factor since it was said last.
_GROWTH: Final = 1.5
# From so many bars of one start on columns cost less than looking at each.
_MANY: Final = 8
# Limits for all cost as much as looking at this share of the bars.
_SHARE: Final = 1 / 16
_EMPTY: Final[Sums] = (0, 0, 0, 0)
_POSITIONS: Final = [position for _, position in SERIES[:COUNTS]]
_Bar = tuple[str, Contract | None, int, int]  # asset, contract (None: the asset), number of the interval, start


@dataclass(slots=True)
class _Watch:
    """What is known of one contract's or asset's latest bar of one interval; all of it can be worked out again.

    `covered` are the bars that it is judged against, `baselines` what was found in them, by series.
    """

    start: int = -1
    covered: Starts = ()
    baselines: list[Baseline] = field(default_factory=list)


def _watches() -> tuple[_Watch, ...]:
    return tuple(_Watch() for _ in INTERVALS_MS)


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
        self._own = (
            BarBook(facts.numbering, facts.parameters, facts.bars.kept_bars, least_micros) if least_micros else None
        )
        self._book = facts.bars if self._own is None else self._own
        looks_back = rule.scorer == "quantile" or rule.season != "none"
        self._history = SurgeHistory(facts, self._book, self._scorer, self._feeds) if looks_back else None
        # What the history has not taken in yet must be among the bars before.
        correctable = (facts.parameters.lateness_ms + facts.parameters.correction_ms) // MINUTE_MS + 3
        self._bars_before = max(rule.period, correctable) if rule.scorer == "quantile" else rule.period
        # A bar below the floor passes no bound. What a history has found may change within a bar, so all is looked at.
        self._limits = Limits(self._floor_micros - 1 if self._history is None else -1)
        # Columns find the bounds of the default scorer alone.
        self._has_columns = rule.scorer == "mean_sd" and rule.baseline == "exclusive" and self._history is None
        self._unjudged = [number for number in range(len(SERIES)) if number not in self._series]
        # By interval: the latest start (ms) whose bars were looked at, and how many were since all of them got limits.
        self._looked_at = [(-1, 0)] * len(INTERVALS_MS)
        self._epoch = facts.coverage.epoch
        self._watches: defaultdict[Owner, tuple[_Watch, ...]] = defaultdict(_watches)
        self._open: dict[_Bar, dict[Series, Finding]] = {}
        self._ahead: dict[_Bar, None] = {}
        self._closing: defaultdict[int, dict[_Bar, None]] = defaultdict(dict)
        self._expiring: defaultdict[int, dict[_Bar, None]] = defaultdict(dict)

    def take_tick(self, events: TickEvents) -> None:
        """Judge the bars that have new events, as far as they have passed a limit."""
        touched = self.facts.touched if self._own is None else self._own.take_tick(events)
        touched = [bars for bars in touched if bars.interval in self._intervals]
        if self.facts.coverage.epoch != self._epoch:
            self._epoch = self.facts.coverage.epoch
            self._limits.clear()
        self._put_right(touched)
        if self._history is not None:
            self._go_on(self._history, touched)
        for bars in touched:
            for owner, row in self._passed(bars):
                if self._of_contracts if is_contract(owner) else self._of_assets:
                    self._look_at((*self._book.name(owner), bars.interval, bars.start), owner, row)

    def judge(self) -> None:
        """Judge bars that have begun now, close those that are over, and let go what can change no more."""
        watermark = self.facts.watermark
        if self._history is not None and self._history.go_on_all():
            self._watches.clear()
        for bar in [bar for bar in self._ahead if bar[3] <= watermark]:
            del self._ahead[bar]
            self._judge_bar(bar, self._watch(bar), self._sums(bar))
        for due in [due for due in self._closing if due <= watermark]:
            for bar in self._closing.pop(due):
                self._close(bar)
        for due in [due for due in self._expiring if due <= watermark]:
            for bar in self._expiring.pop(due):
                for finding in self._open.pop(bar).values():
                    self.facts.findings.forget(finding)
        if self._own is not None:
            self._own.forget(watermark)
        self._limits.forget(watermark, self.facts.parameters)

    def cells(self) -> Iterable[Cell]:
        """Yield the bars without small events, and what the history has taken in."""
        if self._own is not None:
            yield from self._own.cells()
        if self._history is not None:
            yield from self._history.cells()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint, and look after the findings."""
        if self._own is not None:
            own = {name: value for name, value in cells.items() if not is_of_history(name)}
            self._own.restore(own, self.facts.watermark)
        if self._history is not None:
            self._history.restore(cells)
        for finding in self.facts.findings.of_kind(_KIND):
            contract = (finding.exchange, finding.symbol) if finding.scope == "instrument" else None
            interval = INTERVALS_MS.index(finding.interval_ms)
            self._look_after((finding.asset, contract, interval, finding.started), finding)
        # What lies ahead of the watermark waits to be judged.
        for interval in self._intervals:
            for start in [one for one in self._book.starts(interval) if one > self.facts.watermark]:
                for owner in self._book.owners(interval, start):
                    if self._of_contracts if is_contract(owner) else self._of_assets:
                        self._ahead[*self._book.name(owner), interval, start] = None

    def _put_right(self, touched: Iterable[TouchedBars]) -> None:
        """Have worked out again what rests on a bar that was corrected, or on channels that are no longer all."""
        for asset in self.facts.other_feeds:
            owner = self._book.owner(asset, None)
            self._limits.reset(np.array([owner], dtype=np.int64))
            self._watches.pop(owner, None)
        for bars in touched:
            if self._book.goes_on_after(bars.interval, bars.start):
                self._limits.reset(bars.owners, bars.interval, after=bars.start)
                for owner in bars.owners.tolist():
                    watch = self._watches[owner][bars.interval]
                    if bars.start < watch.start:
                        watch.start = -1

    def _go_on(self, history: SurgeHistory, touched: Sequence[TouchedBars]) -> None:
        bars = [(*self._book.name(owner), one.interval, one.start) for one in touched for owner in one.owners.tolist()]
        history.touch(bars)
        for asset in sorted({bar[0] for bar in bars}):
            history.go_on(asset)

    def _close(self, bar: _Bar) -> None:
        for finding in self._open[bar].values():
            if finding.state == "open":
                self._say(bar, finding)
        # A late event is said however little it adds.
        asset, contract, interval, start = bar
        self._limits.set(interval, start, self._book.owner(asset, contract), NOTHING)

    def _passed(self, bars: TouchedBars) -> Iterable[tuple[Owner, Sums]]:
        """Return whose bars have passed a limit, with their sums; where these are many, columns find limits first."""
        interval, start, owners = bars.interval, bars.start, bars.owners
        live = self._book.live(interval, start)
        sums = live.take(owners, axis=0)
        places = self._limits.passed(interval, start, owners, sums)
        if not len(places):
            return ()
        if self._has_columns and start <= self.facts.watermark:
            if self._is_time_for_all(interval, start, len(places), len(live)):
                everybody = with_events(live)
                self._above(interval, start, everybody, live.take(everybody, axis=0))
                places = self._limits.passed(interval, start, owners, sums)
            elif len(places) >= _MANY:
                places = places[self._above(interval, start, owners[places], sums[places])]
        return zip(owners[places].tolist(), sums[places].tolist(), strict=True)

    def _is_time_for_all(self, interval: int, start: int, passed: int, rows: int) -> bool:
        """Tell whether so many have passed limits of bars from `start`, of `rows` there are, that all get new ones."""
        latest, before = self._looked_at[interval]
        if start < latest or start > self.facts.parameters.closed_before(self.facts.watermark):
            return False
        looked_at = passed + (before if start == latest else 0)
        is_time = looked_at >= max(_MANY, rows * _SHARE)
        self._looked_at[interval] = start, 0 if is_time else looked_at
        return is_time

    def _above(self, interval: int, start: int, owners: Integers, sums: Integers) -> Integers:
        """Return the places of those `owners` whose bars may have something to say; give the others limits."""
        known = [self._book.owner(*bar[:2]) for bar in self._open if bar[2:] == (interval, start)]
        has_finding = np.isin(owners, known)
        values = sums @ VALUES_OF_SUMS
        is_above = np.zeros(len(owners), dtype=np.bool_)
        for (covered, is_final), places in self._by_covered(interval, start, owners).items():
            bounds = safe_bounds(self._book.columns(interval, covered, owners[places]), self._rule.k)
            bounds[:, self._unjudged] = ENDLESS
            limits = limits_below(values[places], bounds, self._floor_micros, self._rule.least_events)
            is_above[places] = (values[places] > limits).any(axis=1)
            if is_final:
                without = ~has_finding[places]
                self._limits.set_all(interval, start, owners[places][without], limits[without])
        return (is_above | has_finding).nonzero()[0]

    def _by_covered(self, interval: int, start: int, owners: Integers) -> Mapping[tuple[Starts, bool], list[int]]:
        """Return the places of `owners` by the bars that theirs are judged against, and whether these stay the same."""
        rule, coverage = self._rule, self.facts.coverage
        by_feeds: defaultdict[Feeds, list[int]] = defaultdict(list)
        for place, owner in enumerate(owners.tolist()):
            by_feeds[self._feeds(*self._book.name(owner))].append(place)
        found: defaultdict[tuple[Starts, bool], list[int]] = defaultdict(list)
        for feeds, places in by_feeds.items():
            covered = coverage.covered_before(feeds, start, interval, self._bars_before, rule.least_coverage)
            found[covered, coverage.is_final(feeds, interval)] += places
        return found

    def _look_at(self, bar: _Bar, owner: Owner, sums: Sums) -> None:
        """Judge a bar that has new events, and say up to which sums it need not be looked at again."""
        _, _, interval, start = bar
        if start > self.facts.watermark:
            self._ahead[bar] = None
            return
        watch = self._watch(bar)
        self._judge_bar(bar, watch, sums)
        if self._history is None and self._holds(bar):
            self._limits.set(interval, start, owner, self._limits_of(bar, watch, values_of(sums)))

    def _judge_bar(self, bar: _Bar, watch: _Watch, sums: Sums) -> None:
        """Find what a bar has passed."""
        self._prepare(bar, watch, sums)
        self._judge_values(bar, watch, values_of(sums))

    def _prepare(self, bar: _Bar, watch: _Watch, sums: Sums) -> None:
        """Have what a bar is judged against be what is known now."""
        asset, contract, interval, start = bar
        rule, coverage, feeds = self._rule, self.facts.coverage, self._feeds(asset, contract)
        covered = coverage.covered_before(feeds, start, interval, self._bars_before, rule.least_coverage)
        if watch.start != start or watch.covered is not covered or rule.baseline == "inclusive":
            watch.start, watch.covered = start, covered
            watch.baselines = self._baselines(bar, sums, covered)

    def _holds(self, bar: _Bar) -> bool:
        """Tell whether what a bar is judged against stays the same while the epoch does."""
        asset, contract, interval, _ = bar
        return self._rule.baseline != "inclusive" and self.facts.coverage.is_final(
            self._feeds(asset, contract), interval
        )

    def _baselines(self, bar: _Bar, sums: Sums, covered: Starts) -> list[Baseline]:
        """Return what a bar is judged against, found in the covered bars before it."""
        if self._history is not None:
            return self._history.baselines(bar, sums, covered)
        asset, contract, interval, _ = bar
        read = self._book.reader(asset, contract, interval)
        return baselines_of(sums, [read(one) or _EMPTY for one in covered], self._rule, self._scorer)

    def _sums(self, bar: _Bar) -> Sums:
        asset, contract, interval, start = bar
        return self._book.sums(asset, contract, interval, start) or _EMPTY

    def _watch(self, bar: _Bar) -> _Watch:
        """Return the watch of a bar; an older bar than the latest gets one that is not kept."""
        asset, contract, interval, start = bar
        watch = self._watches[self._book.owner(asset, contract)][interval]
        return _Watch() if start < watch.start else watch

    def _judge_values(self, bar: _Bar, watch: _Watch, values: Sequence[int]) -> None:
        """Say what each series of a bar has passed, or how it has grown."""
        known = self._open.get(bar, {})
        for number in self._series:
            value, unit, baseline = values[number], unit_of(number), watch.baselines[number]
            finding, position = known.get(SERIES[number]), number % COUNTS
            if finding is not None:
                said = round(finding.value * unit)
                if value >= said * _GROWTH or (finding.state == "closed" and value != said):
                    self._say(bar, finding)
            elif (
                baseline.threshold is not None
                and value / unit > baseline.threshold
                and values[position] >= self._floor_micros
                and values[position + COUNTS] >= self._rule.least_events
            ):
                self._fire(bar, number, value / unit, baseline)

    def _limits_of(self, bar: _Bar, watch: _Watch, values: Sequence[int]) -> list[int]:
        """Return how far each sum of a bar can rise before anything more happens."""
        known = self._open.get(bar, {})
        floor, least = self._floor_micros - 1, self._rule.least_events - 1
        limits = [ENDLESS] * len(SERIES)
        for number in self._series:
            place, limit, unit = number, ENDLESS, unit_of(number)
            value, threshold, finding = values[number], watch.baselines[number].threshold, known.get(SERIES[number])
            position = number % COUNTS
            if finding is not None:
                said = round(finding.value * unit)
                limit = said if finding.state == "closed" else math.ceil(said * _GROWTH) - 1
            elif threshold is not None and value / unit <= threshold:
                # One less, because the product is rounded.
                limit = (
                    math.floor(threshold * unit) if number >= COUNTS else max(floor, math.floor(threshold * unit) - 1)
                )
            elif threshold is not None and values[position] <= floor:
                place, limit = position, floor
            elif threshold is not None and values[position + COUNTS] <= least:
                place, limit = position + COUNTS, least
            elif threshold is not None:
                limit = value
            limits[place] = min(limits[place], limit)
        return limits

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
        values = values_of(self._sums(bar))
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
