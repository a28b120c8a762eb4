"""The rolling threshold of the whole market: as for assets, over the sums of all of them.

Sums are judged second by second of event time, at each watermark that every partition has passed; liquidations that
come late go to their own second. Incidents end at the watermarks of one partition, which are a function of the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import orjson

from pipeline.detect.finding import MICROS, Finding, Findings, least_complete
from pipeline.detect.market.market_window import MarketWindow
from pipeline.detect.market.pulse_order import CLOCK
from pipeline.detect.rolling_threshold import Fire, RollingState, RollingThreshold, add, calm_due, end, settle
from pipeline.detect.rules import RollingThresholdRule
from pipeline.records import Pulse, PulseChannel, PulseSum
from pipeline.windows.fold import Cell

_KIND = "rolling_threshold"


class MarketThreshold:
    """The rule's state; what it finds goes to `findings`."""

    def __init__(self, rule: RollingThresholdRule, findings: Findings) -> None:
        self._rule = RollingThreshold(
            round(rule.base_usd * MICROS), rule.span_s * 1_000, rule.memory_s * 1_000, rule.calm_s * 1_000
        )
        self._waits = rule.when_blind == "wait"
        self._least_coverage = rule.least_coverage
        self._findings = findings
        self._rolling = RollingState()
        self._window = MarketWindow(self._rule.span_ms)
        self._channels: dict[int, list[PulseChannel]] = {}
        self._changed_channels: set[int] = set()
        # When the open incident is over at the earliest: events that come only put it off.
        self._due: int | None = None

    def judge(self, watermark: int, pulses: Iterable[Pulse]) -> None:
        """Take all pulses of one watermark (ms), and judge."""
        by_second: defaultdict[int, list[PulseSum]] = defaultdict(list)
        is_tick = False
        for pulse in pulses:
            is_tick = is_tick or pulse.partition == CLOCK
            if pulse.channels is not None:
                self._channels[pulse.partition] = list(pulse.channels)
                self._changed_channels.add(pulse.partition)
            self._window.note(pulse.largest)
            for one in pulse.sums:
                by_second[one.second].append(one)
        for second in sorted(by_second):
            self._add(second, by_second[second])
        if is_tick and self._due is not None and self._due <= watermark:
            self._end_if_calm(watermark)

    def cells(self) -> Iterator[Cell]:
        """Yield what changed since the last call."""
        rolling = self._rolling
        values = [rolling.now, rolling.level, rolling.last_fire, rolling.incident, rolling.peak_micros]
        yield b"rolling/state", orjson.dumps([*values, rolling.calm_since])
        yield from ((b"minute/" + start, value) for start, value in self._window.cells(rolling.now))
        for partition in sorted(self._changed_channels):
            yield b"channels/%d" % partition, orjson.dumps([list(one) for one in self._channels[partition]])
        self._changed_channels = set()

    def restore(self, cells: Mapping[str, Mapping[str, bytes]], *, same_rules: bool) -> None:
        """Go on from the cells of a checkpoint, by the first part of their names.

        What was liquidated is no matter of rules; with other rules than before nothing else is remembered.
        """
        rolling = self._rolling
        now, level, last_fire, incident, peak, calm_since = orjson.loads(cells["rolling"]["state"])
        rolling.now = now
        if same_rules:
            rolling.level, rolling.last_fire = level, last_fire
            rolling.incident, rolling.peak_micros, rolling.calm_since = incident, peak, calm_since
            self._due = None if incident is None else 0
        self._window.restore(cells["minute"])
        rolling.sums = self._window.sums_by_second()
        settle(rolling, self._rule)
        self._channels = {
            int(partition): [PulseChannel(*one) for one in orjson.loads(value)]
            for partition, value in cells["channels"].items()
        }

    def _add(self, second: int, sums: list[PulseSum]) -> None:
        newest = max(one.newest for one in sums)
        if second > max(self._rolling.now, newest) - self._rule.span_ms:
            self._window.add(sums)
        micros = sum(one.long_micros + one.short_micros for one in sums)
        fires = not (self._waits and self._coverage() < self._least_coverage)
        fire = add(self._rolling, newest, micros, self._rule, fires=fires)
        if fire is not None:
            self._say(fire)
        rolling = self._rolling
        if rolling.incident is not None:
            rolling.peak_micros = max(rolling.peak_micros, rolling.total_micros)

    def _coverage(self) -> float:
        """Return the mean share of the window in which the market's channels were listened to, as last told."""
        shares = {one[:2]: one.share for _, told in sorted(self._channels.items()) for one in told}
        return sum(shares[channel] for channel in sorted(shares)) / len(shares) if shares else 0.0

    def _say(self, fire: Fire) -> None:
        coverage = self._coverage()
        totals = self._window.totals(fire.time)
        self._findings.say(
            Finding(
                kind=_KIND,
                scope="market",
                asset="",
                started=fire.time,
                updated=fire.time,
                value=fire.sum_micros / MICROS,
                threshold=self._rule.threshold_micros(fire.level) / MICROS,
                tag=f"level {fire.level}",
                level=fire.level,
                coverage=coverage,
                completeness=least_complete(sums.rank for sums in totals.values()),
                degraded=coverage < self._least_coverage,
                details={
                    "incident": float(fire.incident),
                    "next_threshold_usd": self._rule.threshold_micros(fire.level + 1) / MICROS,
                    "long_usd": sum(sums.long_micros for sums in totals.values()) / MICROS,
                    "short_usd": sum(sums.short_micros for sums in totals.values()) / MICROS,
                    "events": float(sum(sums.long_count + sums.short_count for sums in totals.values())),
                    "exchanges": float(len(totals)),
                },
                largest=self._window.largest(fire.time),
            )
        )
        if self._due is None:
            self._due = 0

    def _end_if_calm(self, watermark: int) -> None:
        due = calm_due(self._rolling, self._rule)
        if due is None or due > watermark:
            self._due = due or watermark
            return
        for finding in list(self._findings.of_kind(_KIND)):
            finding.close(due)
            finding.details["peak_usd"] = self._rolling.peak_micros / MICROS
            self._findings.say(finding)
            self._findings.forget(finding)
        end(self._rolling)
        self._due = None
