"""Surges of each contract and each asset: a bar becomes a row when it passes its bound, and closes with the bar.

A bar is judged at each tick that brought events for it. What it is judged against is worked out once, and again only
when a bar before it was corrected or its coverage became known better: nothing of that is state. A finding keeps the
bound that it passed. While the bar is open it is said again when its value has grown by half; then once when the bar
is closed, and at each late event after that.

Most events change nothing: the least sums at which something could happen are kept beside each bar (`_Watch.limits`),
and only what passes one of them is looked at.

Cells: `quiet/ASSET` with the sums up to which bars need not be looked at; with `min_value_usd` bars that are made
without the small events; and with a scorer or a season that look further back those of `pipeline.detect.surge_history`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Final

import orjson

from pipeline.detect.bar_book import BarBook, Bars, Contract
from pipeline.detect.coverage_history import INTERVALS_MS, Feeds, Starts
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete, merge_largest
from pipeline.detect.scorers import Baseline
from pipeline.detect.surge import COUNTS, SERIES, Series, Sums, baselines_of, scorer_of, unit_of, values_of
from pipeline.detect.surge_history import SurgeHistory, is_of_history
from pipeline.detect.waiting import ANY_ROOM, NO_ROOM, Amounts, Room
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

_KIND: Final = "surge"
_QUIET: Final = "quiet"
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

    def room(self, sums: Sums) -> tuple[float, float]:
        """Return how many micro-dollars and events may be added to the bar before a limit is passed."""
        longs, shorts, long_count, short_count = sums
        limits = self.limits
        return (
            min(limits[0] - longs, limits[1] - shorts, limits[2] - longs - shorts, ANY_ROOM.micros),
            min(limits[3] - long_count, limits[4] - short_count, limits[5] - long_count - short_count, ANY_ROOM.events),
        )


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Up to how many micro-dollars and events of a minute none of its bars has to be judged, in one epoch.

    From half of the way to them on it is worth while to find out anew how far it is: not all that came need have
    brought every bar nearer to its limits.
    """

    minute: int
    epoch: int
    micros: int
    events: int
    half_micros: int
    half_events: int


def _watches() -> tuple[_Watch, ...]:
    return tuple(_Watch() for _ in INTERVALS_MS)


@dataclass(slots=True)
class _Asset:
    """One asset's watches, by interval.

    `newest` is the latest minute with events, `channels` are those that its own coverage was taken from. `quiet` is
    what was found of contracts, and of the asset, when they were last looked at.
    """

    channels: Feeds = ()
    newest: int = 0
    total: tuple[_Watch, ...] = field(default_factory=_watches)
    contracts: dict[Contract, tuple[_Watch, ...]] = field(default_factory=dict)
    quiet: dict[Contract | None, _Quiet] = field(default_factory=dict)

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
        # A bar this far below the floor is not judged yet.
        self._far_below = self._floor_micros * 3 // 4
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
        self._rooms: dict[str, Room] = {}
        self._changed: set[str] = set()
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
        rooms = self._rooms_of(asset, known, touched, events[-1][8] - events[-1][8] % MINUTE_MS)
        if self._own is None and self._history is None:
            self._rooms[asset] = rooms

    def room(self, asset: str, minute: int) -> Room:  # noqa: ARG002 - its last bars were looked at
        """Return how much may come before a bar of that minute passes a limit."""
        return self._rooms.pop(asset, NO_ROOM)

    def judge(self) -> None:
        """Judge bars that have begun now, close those that are over, and let go what can change no more."""
        watermark = self.facts.watermark
        if self._history is not None and self._history.go_on_all():
            self._assets = {}
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
        for asset in self.facts.bars.forgotten:
            self._assets.pop(asset, None)
            self._changed.add(asset)

    def cells(self) -> Iterable[Cell]:
        """Yield what was found of the assets looked at since the last call, and the bars without small events."""
        epoch = self.facts.coverage.epoch
        for asset in sorted(self._changed):
            known = self._assets.get(asset)
            found = [] if known is None else known.quiet.items()
            quiet = [[contract, *astuple(one)] for contract, one in found if one.epoch == epoch]
            yield f"{_QUIET}/{asset}".encode(), orjson.dumps(quiet) if quiet else None
        self._changed = set()
        if self._own is not None:
            yield from self._own.cells()
        if self._history is not None:
            yield from self._history.cells()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint, and look after the findings."""
        quiet = {name: value for name, value in cells.items() if name.startswith(f"{_QUIET}/")}
        for name, value in quiet.items():
            self._restore_quiet(name.removeprefix(f"{_QUIET}/"), orjson.loads(value))
        if self._own is not None:
            self._own.restore(
                {name: value for name, value in cells.items() if name not in quiet and not is_of_history(name)}
            )
        if self._history is not None:
            self._history.restore(cells)
        for finding in self.facts.findings.of_kind(_KIND):
            contract = (finding.exchange, finding.symbol) if finding.scope == "instrument" else None
            interval = INTERVALS_MS.index(finding.interval_ms)
            self._look_after((finding.asset, contract, interval, finding.started), finding)
        self._restore_ahead()

    def _restore_ahead(self) -> None:
        """Have what lies ahead of the watermark wait to be judged."""
        for asset, bars in self._book.assets():
            for interval in self._intervals:
                for start in [start for start in bars.totals[interval] if start > self.facts.watermark]:
                    if self._of_contracts:
                        for contract in bars.contracts[interval][start]:
                            self._ahead[asset, contract, interval, start] = None
                    if self._of_assets:
                        self._ahead[asset, None, interval, start] = None

    def _restore_quiet(self, asset: str, found: list[tuple[list[str] | None, int, int, int, int, int, int]]) -> None:
        known = self._assets[asset] = _Asset(self.facts.feeds[asset].channels)
        for contract, *values in found:
            quiet = _Quiet(*values)
            if quiet.epoch == self.facts.coverage.epoch:
                known.quiet[None if contract is None else (contract[0], contract[1])] = quiet
                known.newest = max(known.newest, quiet.minute)

    def _put_right(self, asset: str, known: _Asset, touched: Iterable[Bars]) -> None:
        """Have worked out again what rests on a bar that was corrected, or on channels that are no longer all."""
        channels = self.facts.feeds[asset].channels
        if known.channels is not channels:
            known.channels = channels
            known.quiet = {}
            for watch in known.total:
                watch.start = -1
        for bars in touched:
            if bars.minute >= known.newest:
                known.newest = bars.minute
                continue
            known.quiet = {}
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

    def _rooms_of(self, asset: str, known: _Asset, touched: Iterable[Bars], minute: int) -> Room:
        """Judge the bars that have new events; return how much may come in `minute` (ms)."""
        rooms: dict[Contract, Amounts] = {}
        whole = ANY_ROOM[:2]
        if self._of_contracts:
            for bars in touched:
                room = self._room_of(asset, known, bars.contract, bars, bars.of_contract)
                if bars.minute == minute:
                    rooms[bars.contract] = room
        if self._of_assets:
            for bars in {bars.minute: bars for bars in touched}.values():
                room = self._room_of(asset, known, None, bars, bars.of_asset)
                if bars.minute == minute:
                    whole = room
        return Room(*whole, ANY_ROOM.due, rooms)

    def _room_of(
        self, asset: str, known: _Asset, contract: Contract | None, bars: Bars, sums: Sequence[Sums]
    ) -> Amounts:
        """Judge the bars of one minute that have new events; return how much may come before they must be judged again.

        What may come of one of them may come of all: so as long as its minute has less, none is looked at.
        """
        minute, epoch = bars.minute, self.facts.coverage.epoch
        longs, shorts, long_count, short_count = sums[0]
        micros, events = longs + shorts, long_count + short_count
        quiet = known.quiet.get(contract)
        if (
            quiet is not None
            and (quiet.minute, quiet.epoch) == (minute, epoch)
            and micros <= quiet.half_micros
            and events <= quiet.half_events
        ):
            return quiet.micros - micros, quiet.events - events
        least_micros, least_events = ANY_ROOM[:2]
        watches = known.of(contract)
        for interval in self._intervals:
            found = self._look_at((asset, contract, interval, bars.starts[interval]), watches[interval], sums[interval])
            least_micros, least_events = min(least_micros, found[0]), min(least_events, found[1])
        # What a history has found so far may change within a minute.
        if minute >= known.newest and self._history is None:
            self._changed.add(asset)
            most_micros, most_events = micros + int(least_micros), events + int(least_events)
            half = (micros + most_micros) // 2, (events + most_events) // 2
            known.quiet[contract] = _Quiet(minute, epoch, most_micros, most_events, *half)
        return least_micros, least_events

    def _look_at(self, bar: _Bar, watch: _Watch, sums: Sums) -> Amounts:
        """Judge a bar that has new events, if it has passed a limit; return how much may come before the next."""
        start, epoch = bar[3], self.facts.coverage.epoch
        if watch.start == start and watch.epoch == epoch:
            room = watch.room(sums)
            if room[0] >= 0 and room[1] >= 0:
                return room
        else:
            below = self._floor_micros - 1 - sums[0] - sums[1]
            if below > self._far_below:
                return below, ANY_ROOM.events
        if start > self.facts.watermark:
            self._ahead[bar] = None
            return 0, 0
        watch = self._watch(bar)
        self._judge_bar(bar, watch, sums)
        return watch.room(sums) if watch.epoch == epoch else (0, 0)

    def _judge_bar(self, bar: _Bar, watch: _Watch, sums: Sums) -> None:
        """Find what a bar has passed, and what must be passed for anything more."""
        self._prepare(bar, watch, sums)
        if not watch.limits or min(watch.room(sums)) < 0:
            values = values_of(sums)
            self._judge_values(bar, watch, values)
            watch.limits = self._limits(bar, watch, values)
        if not self._holds(bar):
            watch.epoch = -1

    def _prepare(self, bar: _Bar, watch: _Watch, sums: Sums) -> None:
        """Have what a bar is judged against be what is known now."""
        asset, contract, interval, start = bar
        rule, coverage, feeds = self._rule, self.facts.coverage, self._feeds(asset, contract)
        covered = coverage.covered_before(feeds, start, interval, self._bars_before, rule.least_coverage)
        if watch.start != start or watch.covered is not covered or rule.baseline == "inclusive":
            watch.start, watch.covered, watch.limits = start, covered, []
            watch.baselines = self._baselines(bar, sums, covered)
        watch.epoch = coverage.epoch

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
        read = self._book.bars(asset).reader(contract, interval)
        return baselines_of(sums, [read(one) or _EMPTY for one in covered], self._rule, self._scorer)

    def _bars_of(self, asset: str, touched: Iterable[Bars]) -> Iterable[_Bar]:
        for bars in touched:
            for interval in self._intervals:
                if self._of_contracts:
                    yield asset, bars.contract, interval, bars.starts[interval]
                if self._of_assets:
                    yield asset, None, interval, bars.starts[interval]

    def _sums(self, bar: _Bar) -> Sums:
        asset, contract, interval, start = bar
        return self._book.sums(asset, contract, interval, start) or _EMPTY

    def _watch(self, bar: _Bar) -> _Watch:
        """Return the watch of a bar; an older bar than the latest gets one that is not kept."""
        asset, contract, interval, start = bar
        watch = self._assets.setdefault(asset, _Asset()).of(contract)[interval]
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

    def _limits(self, bar: _Bar, watch: _Watch, values: Sequence[int]) -> list[float]:
        """Return how far each sum of a bar can rise before anything more happens."""
        known = self._open.get(bar, {})
        floor, least = self._floor_micros - 1, self._rule.least_events - 1
        limits = [math.inf] * len(SERIES)
        for number in self._series:
            place, limit, unit = number, math.inf, unit_of(number)
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
