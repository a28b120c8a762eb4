"""The rolling threshold of each asset: every fire is a row, open until its incident is over.

Cells: `ASSET` with the level and the incident, `ASSET/MINUTE` with the sums by second of one minute of the window. The
window of an asset with liquidations in every second takes 60 cells of about 1 kB.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import orjson

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete
from pipeline.detect.rolling_threshold import (
    SECOND_MS,
    Fire,
    RollingState,
    RollingThreshold,
    add,
    add_quietly,
    calm_due,
    end,
    room_of,
    settle,
)
from pipeline.detect.tick_events import TickEvents
from pipeline.detect.waiting_sums import Chosen, WaitingSums
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

_KIND = "rolling_threshold"
# An asset without events is forgotten when its window and its memory are over by this much: later than any event that
# is still counted into a bar.
_FORGET_MS = 3_600_000
_BY_TIME: Final[Callable[[LiquidationRow], Any]] = itemgetter(8, 0)


@dataclass(slots=True)
class _Asset:
    """One asset: its sums, and the minutes of them that cells hold, or have to."""

    rolling: RollingState = field(default_factory=RollingState)
    written: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)


class RollingThresholdDetector(Detector):
    """One rolling threshold for each asset."""

    name = _KIND

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        rule = facts.rules.rolling_threshold
        self._rule = RollingThreshold(
            round(rule.base_usd * MICROS), rule.span_s * 1_000, rule.memory_s * 1_000, rule.calm_s * 1_000
        )
        self._waits = rule.when_blind == "wait"
        self._least_coverage = rule.least_coverage
        self._fires_for_assets = "asset" in rule.scopes
        self._assets: dict[str, _Asset] = {}
        self._changed: set[str] = set()
        # When an open incident is over at the earliest: events that come only put it off.
        self._due: dict[str, int] = {}
        self._waiting = WaitingSums(self._rule.base_micros)
        self._looked_at = 0
        self._forgotten: list[Cell] = []

    def take_tick(self, events: TickEvents) -> None:
        """Add the events to the last hour of their assets; publish what fires."""
        if not self._fires_for_assets:
            return
        passed = self._waiting.passed(events)
        if passed is not None:
            self._settle(passed)
            by_asset: defaultdict[int, list[LiquidationRow]] = defaultdict(list)
            places = passed[events.assets].nonzero()[0]
            for place, number in zip(places.tolist(), events.assets[places].tolist(), strict=True):
                by_asset[number].append(events.rows[place])
            for number, rows in sorted(by_asset.items()):
                self._look_at(number, sorted(rows, key=_BY_TIME))
        self._waiting.put(events, without=passed)

    def _look_at(self, number: int, rows: Sequence[LiquidationRow]) -> None:
        """Add events of an asset, by its number, one by one."""
        asset, known = self._asset(number)
        rolling, rule = known.rolling, self._rule
        for row in rows:
            known.changed.add(row[8] - row[8] % MINUTE_MS)
            fire = add(rolling, row[8], row[7], rule, fires=not (self._waits and self._is_blind(asset, row[8])))
            if fire is not None:
                self._say(asset, fire)
        self._note_peak(rolling)
        self._find_room(asset, rolling)

    def _settle(self, assets: Chosen | None = None) -> None:
        """Add what has waited, of all assets or of some, to their sums."""
        for number, starts, micros, newest in self._waiting.take(assets):
            _, known = self._asset(number)
            known.changed.update([start - start % MINUTE_MS for start in starts])
            add_quietly(known.rolling, starts, micros, newest, self._rule)
            self._note_peak(known.rolling)

    def _asset(self, number: int) -> tuple[str, _Asset]:
        """Return an asset, by its number, that changes: its name, and what is known of it."""
        asset = self.facts.numbering.asset_names[number]
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        self._changed.add(asset)
        return asset, known

    def _note_peak(self, rolling: RollingState) -> None:
        if rolling.incident is not None and rolling.total_micros > rolling.peak_micros:
            rolling.peak_micros = rolling.total_micros

    def judge(self) -> None:
        """End the incidents that have been calm for long enough."""
        watermark = self.facts.watermark
        assets = [asset for asset, due in self._due.items() if due <= watermark]
        if assets:
            self._settle(self._waiting.chosen([self.facts.numbering.asset(asset) for asset in assets]))
        for asset in assets:
            rolling = self._assets[asset].rolling
            due = calm_due(rolling, self._rule)
            if due is None or due > watermark:
                self._due[asset] = due or watermark
                continue
            self._end(asset, rolling, due)
        minute = watermark - watermark % MINUTE_MS
        if minute > self._looked_at:
            self._looked_at = minute
            self._forget()

    def cells(self) -> Iterable[Cell]:
        """Yield what changed, and delete the minutes that have left the window."""
        self._settle()
        yield from self._forgotten
        self._forgotten = []
        for asset in sorted(self._changed):
            known = self._assets[asset]
            rolling = known.rolling
            name = asset.encode()
            values = [rolling.now, rolling.level, rolling.last_fire, rolling.incident, rolling.peak_micros]
            yield name, orjson.dumps([asset, *values, rolling.calm_since])
            left = rolling.now - self._rule.span_ms
            gone = {minute for minute in known.written | known.changed if minute + MINUTE_MS - SECOND_MS <= left}
            for minute in sorted(gone & known.written):
                yield name + b"/%d" % minute, None
            known.changed -= gone
            for minute in sorted(known.changed):
                yield name + b"/%d" % minute, orjson.dumps([asset, minute, *_sums_of(rolling, minute)])
            known.written = (known.written - gone) | known.changed
            known.changed = set()
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for name, value in sorted(cells.items()):
            asset, *values = orjson.loads(value)
            known = self._assets.setdefault(asset, _Asset())
            rolling = known.rolling
            if name == asset:
                now, level, last_fire, incident, peak, calm_since = values
                rolling.now, rolling.level, rolling.last_fire = now, level, last_fire
                rolling.incident, rolling.peak_micros, rolling.calm_since = incident, peak, calm_since
                if incident is not None:
                    self._due[asset] = 0
            else:
                minute, seconds, sums = values
                for second, micros in zip(seconds, sums, strict=True):
                    rolling.sums[minute + second * SECOND_MS] = micros
                known.written.add(minute)
        for asset, known in self._assets.items():
            # A minute's cell is not written again when its first seconds leave the window.
            settle(known.rolling, self._rule)
            self._find_room(asset, known.rolling)
        self._looked_at = self.facts.watermark - self.facts.watermark % MINUTE_MS

    def _is_blind(self, asset: str, time: int) -> bool:
        return self._coverage(asset, time) < self._least_coverage

    def _coverage(self, asset: str, time: int) -> float:
        channels = self.facts.feeds[asset].channels
        return self.facts.coverage.span_share(channels, time - self._rule.span_ms, time)

    def _say(self, asset: str, fire: Fire) -> None:
        coverage = self._coverage(asset, fire.time)
        self.facts.findings.say(
            Finding(
                kind=_KIND,
                scope="asset",
                asset=asset,
                started=fire.time,
                updated=fire.time,
                value=fire.sum_micros / MICROS,
                threshold=self._rule.threshold_micros(fire.level) / MICROS,
                tag=f"level {fire.level}",
                level=fire.level,
                coverage=coverage,
                completeness=least_complete(self.facts.feeds[asset].contracts.values()),
                degraded=coverage < self._least_coverage,
                details={
                    "incident": float(fire.incident),
                    "next_threshold_usd": self._rule.threshold_micros(fire.level + 1) / MICROS,
                },
                largest=self.facts.largest.of(asset, None, "both", fire.time - self._rule.span_ms + 1, fire.time + 1),
            )
        )
        self._due.setdefault(asset, fire.time + self._rule.calm_ms)

    def _end(self, asset: str, rolling: RollingState, ended: int) -> None:
        for finding in [one for one in self.facts.findings.of_kind(_KIND) if one.asset == asset]:
            finding.close(ended)
            finding.details["peak_usd"] = rolling.peak_micros / MICROS
            self.facts.findings.say(finding)
            self.facts.findings.forget(finding)
        end(rolling)
        self._find_room(asset, rolling)
        del self._due[asset]
        self._changed.add(asset)

    def _find_room(self, asset: str, rolling: RollingState) -> None:
        self._waiting.set_room(self.facts.numbering.asset(asset), room_of(rolling, self._rule), rolling.now)

    def _forget(self) -> None:
        self._settle()
        rule = self._rule
        for asset, known in list(self._assets.items()):
            rolling = known.rolling
            last = max(rolling.now + rule.span_ms, (rolling.last_fire or 0) + rule.memory_ms)
            if rolling.incident is None and last + _FORGET_MS < self.facts.watermark:
                del self._assets[asset]
                self._find_room(asset, RollingState())
                self._changed.discard(asset)
                name = asset.encode()
                self._forgotten += [(name, None), *((name + b"/%d" % minute, None) for minute in sorted(known.written))]


def _sums_of(rolling: RollingState, minute: int) -> list[list[int]]:
    """Return the seconds of a minute that have events, and their sums."""
    begin, end = bisect_left(rolling.seconds, minute), bisect_left(rolling.seconds, minute + MINUTE_MS)
    seconds = rolling.seconds[begin:end]
    return [[(second - minute) // SECOND_MS for second in seconds], list(map(rolling.sums.__getitem__, seconds))]
