"""Regimes over one partition: each closed bar of five minutes is of one, and quiet ones in a row are a finding.

A bar is what it is when it is closed: what comes later corrects bars and events, and no regime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete
from pipeline.detect.regime import BARS_PER_DAY, DAY_MS, FIVE_MINUTES_MS, Bounds, DayOfBars, bounds_of, regime_of
from pipeline.windows.fold import Cell

_KIND: Final = "quiet"
_FIVE_MINUTES: Final = 1  # its place among the intervals
_EMPTY: Final = (0, 0, 0, 0)
# Coverage is known for so many bars back; a jump of the watermark over more leaves nothing to judge by.
_MOST_BARS: Final = 60


@dataclass(slots=True)
class Quiet:
    """Quiet bars in a row: since when (ms), how many, their sums, the largest of them, and the sum of coverage."""

    since: int
    bars: int = 0
    micros: int = 0
    events: int = 0
    largest_micros: int = 0
    coverage: float = 0.0
    is_blind: bool = False


@dataclass(slots=True)
class _Asset:
    """One asset: the bars of days, and quiet bars in a row.

    `bounds` are those of the day `bounds_of` (ms).
    """

    days: dict[int, DayOfBars] = field(default_factory=dict)
    quiet: Quiet | None = None
    bounds_day: int = -1
    bounds: Bounds | None = None


class RegimeDetector(Detector):
    """The bars of each asset that was ever seen."""

    name = "regime"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._rule = facts.rules.regime
        self._history_ms = -(-self._rule.history_bars // BARS_PER_DAY) * DAY_MS
        self._assets: dict[str, _Asset] = {}
        self._changed: set[str] = set()
        self._changed_days: set[tuple[str, int]] = set()
        self._gone: list[Cell] = []
        self._findings: dict[str, Finding] = {}
        self._closed_before = 0

    def judge(self) -> None:
        """Judge the bars of all assets that were closed since the last tick."""
        closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        closed_before -= closed_before % FIVE_MINUTES_MS
        if closed_before <= self._closed_before:
            return
        sums_of = self.facts.bars.sums
        begin = max(self._closed_before, closed_before - _MOST_BARS * FIVE_MINUTES_MS)
        for asset in sorted(self.facts.feeds):
            known = self._asset(asset)
            if begin > self._closed_before > 0:
                self._end_quiet(asset, known, self._closed_before)
            for start in range(begin, closed_before, FIVE_MINUTES_MS):
                longs, shorts, long_count, short_count = sums_of(asset, None, _FIVE_MINUTES, start) or _EMPTY
                self._close_bar(asset, known, start, longs + shorts, long_count + short_count)
            self._changed.add(asset)
        self._closed_before = closed_before

    def cells(self) -> Iterable[Cell]:
        """Yield the assets and the days that changed."""
        yield from self._gone
        self._gone = []
        for asset in sorted(self._changed):
            known = self._assets[asset]
            quiet = known.quiet
            values = None if quiet is None else [getattr(quiet, name) for name in Quiet.__slots__]
            yield asset.encode(), orjson.dumps([asset, values])
        self._changed = set()
        for asset, day in sorted(self._changed_days):
            bars = self._assets[asset].days.get(day)
            if bars is not None:
                yield _day_name(asset, day), orjson.dumps([asset, day, bars.covered, bars.micros, bars.events])
        self._changed_days = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        self._closed_before = closed_before - closed_before % FIVE_MINUTES_MS
        for name, value in sorted(cells.items()):
            asset, *rest = orjson.loads(value)
            known = self._asset(asset)
            if name == asset:
                (quiet,) = rest
                known.quiet = None if quiet is None else Quiet(*quiet)
            else:
                day, covered, micros, events = rest
                known.days[day] = DayOfBars(covered, micros, events)
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings[finding.asset] = finding

    def _asset(self, asset: str) -> _Asset:
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        return known

    def _close_bar(self, asset: str, known: _Asset, start: int, micros: int, events: int) -> None:
        coverage = self.facts.coverage.share(self.facts.feeds[asset].channels, start, _FIVE_MINUTES)
        is_blind = coverage < self._rule.least_coverage
        bounds = self._bounds(asset, known, start - start % DAY_MS)
        may_be_quiet = not is_blind or (coverage > 0 and known.quiet is not None and self._rule.when_blind == "degrade")
        if may_be_quiet and bounds is not None and regime_of(micros, events, bounds) == "quiet":
            self._note_quiet(asset, known, start, (micros, events), coverage, is_blind=is_blind)
        else:
            self._end_quiet(asset, known, start)
        if not is_blind:
            day = start - start % DAY_MS
            known.days.setdefault(day, DayOfBars()).add(micros, events)
            self._changed_days.add((asset, day))

    def _bounds(self, asset: str, known: _Asset, day: int) -> Bounds | None:
        if known.bounds_day != day:
            for old in sorted(old for old in known.days if old < day - self._history_ms):
                del known.days[old]
                self._changed_days.discard((asset, old))
                self._gone.append((_day_name(asset, old), None))
            history = [bars for of_day, bars in known.days.items() if of_day < day]
            known.bounds_day, known.bounds = day, bounds_of(history, self._rule.low, self._rule.high)
        return known.bounds

    def _note_quiet(
        self, asset: str, known: _Asset, start: int, sums: tuple[int, int], coverage: float, *, is_blind: bool
    ) -> None:
        quiet = known.quiet
        if quiet is None:
            quiet = known.quiet = Quiet(start)
        quiet.bars += 1
        quiet.micros += sums[0]
        quiet.events += sums[1]
        quiet.largest_micros = max(quiet.largest_micros, sums[0])
        quiet.coverage += coverage
        quiet.is_blind = quiet.is_blind or is_blind
        bounds = known.bounds
        if bounds is None:
            return
        finding = self._findings.get(asset)
        if finding is None:
            least_bars = bounds.least_quiet_bars(self._rule.quiet_bars, self._rule.low)
            if least_bars is None or quiet.bars < least_bars:
                return
            finding = self._findings[asset] = Finding(
                kind=_KIND,
                scope="asset",
                asset=asset,
                interval_ms=FIVE_MINUTES_MS,
                started=quiet.since,
                updated=start,
                value=0.0,
                threshold=0.0,
            )
        finding.value, finding.threshold = quiet.largest_micros / MICROS, bounds.low_micros / MICROS
        finding.baseline_n = bounds.bars
        finding.updated = start + FIVE_MINUTES_MS
        finding.coverage = quiet.coverage / quiet.bars
        finding.completeness = least_complete(self.facts.feeds[asset].contracts.values())
        # The number of events is that of the sample where a feed shows only a part.
        finding.degraded = quiet.is_blind or finding.completeness != "full"
        finding.details = {
            "bars": float(quiet.bars),
            "usd": quiet.micros / MICROS,
            "events": float(quiet.events),
            "low_events": float(bounds.low_events),
            "quiet_share": bounds.quiet / bounds.bars,
        }
        self.facts.findings.say(finding)

    def _end_quiet(self, asset: str, known: _Asset, ended: int) -> None:
        known.quiet = None
        finding = self._findings.pop(asset, None)
        if finding is not None:
            finding.close(ended)
            self.facts.findings.say(finding)
            self.facts.findings.forget(finding)


def _day_name(asset: str, day: int) -> bytes:
    return f"{asset}/{day // DAY_MS}".encode()
