"""The rolling threshold of each asset: every fire is a row, open until its incident is over.

Cells: `ASSET` with the level and the incident, `ASSET/MINUTE` with the sums by second of one minute of the window and
its largest events. The window of an asset that trades every second takes 60 cells of at most 1.6 kB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import (
    MICROS,
    Contributor,
    Finding,
    least_complete,
    merge_largest,
    note_largest,
)
from pipeline.detect.rolling_threshold import (
    SECOND_MS,
    Fire,
    RollingState,
    RollingThreshold,
    add,
    add_quietly,
    calm_due,
    end,
    is_quiet,
    settle,
)
from pipeline.windows.fold import Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

_KIND = "rolling_threshold"
# An asset without events is forgotten when its window and its memory are over by this much: later than any event that
# is still counted into a bar.
_FORGET_MS = 3_600_000


# A contributor with its second.
_Timed = tuple[int, bytes, int]


@dataclass(slots=True)
class _Asset:
    """One asset: the sums, the largest events of each minute, and which cells hold it or have to."""

    rolling: RollingState = field(default_factory=RollingState)
    largest: dict[int, list[_Timed]] = field(default_factory=dict)
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
        self._looked_at = 0
        self._forgotten: list[Cell] = []

    def take_events(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Add the events to the asset's last hour; publish what fires."""
        if not self._fires_for_assets:
            return
        known = self._assets.get(asset)
        if known is None:
            known = self._assets[asset] = _Asset()
        self._changed.add(asset)
        rolling, rule = known.rolling, self._rule
        if is_quiet(rolling, events[-1][8], sum([row[7] for row in events]), rule):
            add_quietly(rolling, [(row[8], row[7]) for row in events], rule)
            for row in events:
                _note(known, row)
            return
        for row in events:
            _note(known, row)
            fire = add(rolling, row[8], row[7], rule, fires=not (self._waits and self._is_blind(asset, row[8])))
            if fire is not None:
                self._say(asset, known, fire)

    def judge(self) -> None:
        """End the incidents that have been calm for long enough."""
        watermark = self.facts.watermark
        for asset in [asset for asset, due in self._due.items() if due <= watermark]:
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
        yield from self._forgotten
        self._forgotten = []
        for asset in sorted(self._changed):
            known = self._assets[asset]
            rolling = known.rolling
            name = asset.encode()
            values = [rolling.now, rolling.level, rolling.last_fire, rolling.incident, rolling.peak_micros]
            yield name, orjson.dumps([asset, *values, rolling.calm_since])
            left = rolling.now - self._rule.span_ms
            for minute in [minute for minute in known.largest if minute + MINUTE_MS - SECOND_MS <= left]:
                del known.largest[minute]
                known.changed.discard(minute)
                if minute in known.written:
                    known.written.remove(minute)
                    yield name + b"/%d" % minute, None
            for minute in sorted(known.changed):
                known.written.add(minute)
                yield name + b"/%d" % minute, orjson.dumps([asset, minute, *_minute_values(known, minute)])
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
                minute, seconds, sums, largest = values
                for second, micros in zip(seconds, sums, strict=True):
                    rolling.sums[minute + second * SECOND_MS] = micros
                known.largest[minute] = [(micros, bytes.fromhex(one), second) for micros, one, second in largest]
                known.written.add(minute)
        for known in self._assets.values():
            # A minute's cell is not written again when its first seconds leave the window.
            settle(known.rolling, self._rule)
        self._looked_at = self.facts.watermark - self.facts.watermark % MINUTE_MS

    def _is_blind(self, asset: str, time: int) -> bool:
        return self._coverage(asset, time) < self._least_coverage

    def _coverage(self, asset: str, time: int) -> float:
        channels = self.facts.feeds[asset].channels
        return self.facts.coverage.span_share(channels, time - self._rule.span_ms, time)

    def _say(self, asset: str, known: _Asset, fire: Fire) -> None:
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
                largest=merge_largest(self._window(known)),
            )
        )
        self._due.setdefault(asset, 0)

    def _window(self, known: _Asset) -> Iterator[Contributor]:
        """Yield the largest events of each minute that are in the window."""
        left = known.rolling.now - self._rule.span_ms
        for largest in known.largest.values():
            for micros, event_id, second in largest:
                if second > left:
                    yield micros, event_id

    def _end(self, asset: str, rolling: RollingState, ended: int) -> None:
        for finding in [one for one in self.facts.findings.of_kind(_KIND) if one.asset == asset]:
            finding.close(ended)
            finding.details["peak_usd"] = rolling.peak_micros / MICROS
            self.facts.findings.say(finding)
            self.facts.findings.forget(finding)
        end(rolling)
        del self._due[asset]
        self._changed.add(asset)

    def _forget(self) -> None:
        rule = self._rule
        for asset, known in list(self._assets.items()):
            rolling = known.rolling
            last = max(rolling.now + rule.span_ms, (rolling.last_fire or 0) + rule.memory_ms)
            if rolling.incident is None and last + _FORGET_MS < self.facts.watermark:
                del self._assets[asset]
                self._changed.discard(asset)
                name = asset.encode()
                self._forgotten += [(name, None), *((name + b"/%d" % minute, None) for minute in sorted(known.written))]


def _note(known: _Asset, row: LiquidationRow) -> None:
    minute = row[8] - row[8] % MINUTE_MS
    largest = known.largest.get(minute)
    if largest is None:
        largest = known.largest[minute] = []
    note_largest(largest, (-row[7], row[0], row[8] - row[8] % SECOND_MS))
    known.changed.add(minute)


def _minute_values(known: _Asset, minute: int) -> list[object]:
    """Return the sums of a minute by second, as two lists, and its largest events."""
    sums = known.rolling.sums
    seconds = [second for second in range(60) if minute + second * SECOND_MS in sums]
    largest = [[micros, event_id.hex(), second] for micros, event_id, second in known.largest[minute]]
    return [seconds, [sums[minute + second * SECOND_MS] for second in seconds], largest]
