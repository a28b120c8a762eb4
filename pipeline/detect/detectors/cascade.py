"""Cascades over one partition: every asset's runs, and the findings and records that are told of those that are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from pipeline.detect.cascade import (
    GROWTH,
    SECOND_MS,
    AssetRuns,
    Run,
    Second,
    end_due,
    parameters_of,
    room,
    settle,
)
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, largest_stored, stored_largest
from pipeline.detect.limits import ENDLESS
from pipeline.detect.run_sizes import DAY_MS
from pipeline.detect.tick_events import TickEvents
from pipeline.records import Cascade, Closed
from pipeline.windows.fold import Cell

_KIND: Final = "cascade"
# A cascade of ten times its threshold is a warning, of a hundred times critical, of a thousand times pages a person.
_LEVEL_FACTORS: Final = (10, 100, 1_000)

# How often (ms of the watermark) it is said how far an open cascade has come that grows slowly.
_UPDATE_MS: Final = 30_000

RunKey = tuple[str, int]  # position, begin


class CascadeDetector(Detector):
    """The runs of each asset; those of `_active` can change by time alone.

    An asset is looked at when so much has come that a cascade can have opened or grown, when it is `_due` (ms of the
    watermark), and when minutes are closed.
    """

    name = "cascade"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        rule = facts.rules.cascade
        self._parameters = parameters_of(rule)
        self._least_coverage = rule.least_coverage
        self._waits = rule.when_blind == "wait"
        self._hash = facts.rules.hash
        self._assets: dict[str, AssetRuns] = {}
        self._active: set[str] = set()
        self._touched: set[str] = set()
        self._due: dict[str, int] = {}
        self._closed_before = 0
        self._changed: set[str] = set()
        self._written_days: dict[str, set[int]] = {}
        self._findings: dict[str, dict[RunKey, Finding]] = {}

    def take_tick(self, events: TickEvents) -> None:
        """Sum the events up by asset, second and position; note which assets must be looked at."""
        assets, touched = self._assets, self._touched
        for row in events.rows:
            asset = row[4]
            runs = assets.get(asset)
            if runs is None:
                runs = assets[asset] = AssetRuns()
            runs.take(row)
            if runs.room_micros < 0 or runs.room_events < 0:
                touched.add(asset)
        seen = {row[4] for row in events.rows}
        self._active |= seen
        self._changed |= seen

    def judge(self) -> None:
        """Take the seconds that are settled, and say which cascades opened, grew or ended."""
        watermark = self.facts.watermark
        closed_before = self.facts.parameters.closed_before(watermark)
        if closed_before > self._closed_before:
            self._closed_before = closed_before
            assets = self._active
        else:
            assets = self._touched.union([asset for asset, due in self._due.items() if due <= watermark])
        for asset in sorted(assets):
            runs = self._assets[asset]
            before = len(runs.waiting), len(runs.runs), len(runs.ended)
            changed = settle(runs, watermark, self._parameters, self._moved_of(asset), self._judged_of(asset))
            if changed or before != (len(runs.waiting), len(runs.runs), len(runs.ended)):
                self._changed.add(asset)
            self._say_what_is_due(asset, runs, changed)
            if asset in self._findings:
                self._forget(asset, runs)
            if runs.is_idle:
                self._active.discard(asset)
            self._look_ahead(asset, runs)
        self._touched = set()

    def cells(self) -> Iterable[Cell]:
        """Yield the runs of the assets that changed, and how large their runs were, by day."""
        for asset in sorted(self._changed):
            runs = self._assets[asset]
            name = asset.encode()
            value = [asset, _stored_runs(runs), runs.room_micros, runs.room_events, self._due.get(asset)]
            yield name, None if runs.is_idle else orjson.dumps(value)
            written = self._written_days.setdefault(asset, set())
            for day in sorted(written - runs.sizes.days.keys()):
                written.remove(day)
                yield name + b"/%d" % (day // DAY_MS), None
            for day in sorted(runs.changed_days):
                counts = runs.sizes.days.get(day)
                if counts is not None:
                    written.add(day)
                    value = [asset, day, list(counts), list(counts.values()), _first_of(runs, day)]
                    yield name + b"/%d" % (day // DAY_MS), orjson.dumps(value)
            runs.changed_days = set()
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint."""
        for name, value in sorted(cells.items()):
            asset, *rest = orjson.loads(value)
            runs = self._assets.setdefault(asset, AssetRuns())
            if name == asset:
                stored, runs.room_micros, runs.room_events, due = rest
                _restore_runs(runs, stored)
                self._active.add(asset)
                if due is not None:
                    self._due[asset] = due
            else:
                day, classes, counts, first = rest
                runs.sizes.days[day] = dict(zip(classes, counts, strict=True))
                runs.sizes.first = max(runs.sizes.first or 0, first)
                self._written_days.setdefault(asset, set()).add(day)
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings.setdefault(finding.asset, {})[finding.position, finding.started] = finding
        self._closed_before = self.facts.parameters.closed_before(self.facts.watermark)

    def abandon(self, cells: Mapping[str, bytes], rules_hash: str) -> None:
        """Close the cascades that are open in the cells of other rules."""
        for name, value in sorted(cells.items()):
            asset, *rest = orjson.loads(value)
            if name != asset:
                continue
            runs = AssetRuns()
            _restore_runs(runs, rest[0])
            for run in runs.runs.values():
                if run.is_cascade:
                    run.ended = max(self.facts.watermark, run.last)
                    run.revision += 1
                    cascade_id = _anomaly_id(asset, run, rules_hash)
                    self._tell(cascade_id, asset, run, self._coverage(asset, run), rules_hash)

    def _moved_of(self, asset: str) -> Callable[[Run], float | None]:
        candles = self.facts.candles
        return lambda run: candles.moved_sd(asset, run.position, run.begin)

    def _judged_of(self, asset: str) -> Callable[[Run], bool]:
        if not self._waits:
            return lambda _run: True
        return lambda run: self._coverage(asset, run) >= self._least_coverage

    def _coverage(self, asset: str, run: Run) -> float:
        end = self.facts.watermark if run.ended is None else run.ended
        return self.facts.coverage.span_share(self.facts.feeds[asset].channels, run.begin, end)

    def _say_what_is_due(self, asset: str, runs: AssetRuns, changed: Sequence[Run]) -> None:
        """Say what has opened, ended or grown much, and of the others what they have become every half minute."""
        for run in changed:
            run.is_unsaid = True
            if run.ended is not None:
                self._say(asset, run)
        for run in runs.runs.values():
            if run.is_unsaid:
                said = self._findings[asset].get((run.position, run.begin)) if run.revision else None
                if (
                    said is None
                    or run.micros >= _micros_of(said) * GROWTH
                    or self.facts.watermark >= said.updated + _UPDATE_MS
                ):
                    self._say(asset, run)

    def _look_ahead(self, asset: str, runs: AssetRuns) -> None:
        """Find how much may come of an asset, and up to when, before it must be looked at."""
        said = [
            finding
            for run in runs.runs.values()
            if run.is_cascade and (finding := self._findings[asset].get((run.position, run.begin))) is not None
        ]
        said_micros: dict[Closed, int] = {finding.position: _micros_of(finding) for finding in said}
        micros, events, until = room(runs, self.facts.watermark, said_micros, self._parameters)
        runs.room_micros, runs.room_events = max(micros, 0), max(events, 0)
        due = until if micros > 0 and events > 0 else 0
        if said:
            due = min(due, *(finding.updated + _UPDATE_MS for finding in said))
            end = end_due(runs, micros, self._parameters)
            if end is not None:
                due = min(due, end + self._parameters.settle_ms)
        if due < ENDLESS:
            self._due[asset] = due
        else:
            self._due.pop(asset, None)

    def _say(self, asset: str, run: Run) -> None:
        coverage = self._coverage(asset, run)
        findings = self._findings.setdefault(asset, {})
        finding = findings.get((run.position, run.begin))
        if finding is None:
            finding = findings[run.position, run.begin] = Finding(
                kind=_KIND,
                scope="asset",
                asset=asset,
                position=run.position,
                started=run.begin,
                updated=run.begin,
                value=0.0,
                threshold=run.threshold_micros / MICROS,
            )
        finding.value = run.micros / MICROS
        finding.updated = self.facts.watermark
        finding.level = sum(run.micros >= factor * run.threshold_micros for factor in _LEVEL_FACTORS)
        finding.coverage = coverage
        finding.completeness = run.worst_completeness
        finding.degraded = self._is_degraded(run, coverage)
        finding.largest = list(run.largest)
        finding.details = _details(run)
        if run.ended is not None:
            finding.state, finding.ended = "closed", run.ended
        self.facts.findings.say(finding)
        run.revision, run.is_unsaid = finding.revision, False
        self._changed.add(asset)
        self._tell(finding.anomaly_id, asset, run, coverage, self._hash)

    def _tell(self, cascade_id: bytes, asset: str, run: Run, coverage: float, rules_hash: str) -> None:
        is_long = run.position == "long"
        self.facts.outputs.append(
            Cascade(
                cascade_id=cascade_id,
                asset=asset,
                position=run.position,
                state="open" if run.ended is None else "closed",
                begin=run.begin,
                peak=run.peak_second,
                end=run.ended,
                waves=run.waves,
                long_micros=run.micros if is_long else run.opposite_micros,
                short_micros=run.opposite_micros if is_long else run.micros,
                long_count=run.count if is_long else run.opposite_count,
                short_count=run.opposite_count if is_long else run.count,
                peak_second_micros=run.peak_second_micros,
                exchanges=run.exchanges,
                price_before=run.price_first,
                price_extreme=run.price_extreme,
                coverage=coverage,
                completeness=run.worst_completeness,
                degraded=self._is_degraded(run, coverage),
                rules_hash=rules_hash,
                revision=run.revision,
            )
        )

    def _is_degraded(self, run: Run, coverage: float) -> bool:
        """Tell whether coverage is too small, or the number of events rests on feeds that show only a part."""
        return coverage < self._least_coverage or run.count - run.partial_count < self._parameters.least_events

    def _forget(self, asset: str, runs: AssetRuns) -> None:
        """Let go of the findings that late events can no longer correct."""
        kept = {(run.position, run.begin) for run in (*runs.runs.values(), *runs.ended)}
        findings = self._findings[asset]
        for key in findings.keys() - kept:
            self.facts.findings.forget(findings.pop(key))
        if not findings:
            del self._findings[asset]


def _first_of(runs: AssetRuns, day: int) -> int:
    """Return when the first run ended, if it was on that day, else 0."""
    first = runs.sizes.first or 0
    return first if first - first % DAY_MS == day else 0


def _micros_of(finding: Finding) -> int:
    return round(finding.value * MICROS)


def _anomaly_id(asset: str, run: Run, rules_hash: str) -> bytes:
    return Finding(
        kind=_KIND,
        scope="asset",
        asset=asset,
        position=run.position,
        started=run.begin,
        updated=run.begin,
        value=0.0,
        threshold=0.0,
    ).identity(rules_hash)


def _details(run: Run) -> dict[str, float]:
    found = {
        "events": float(run.count),
        "opposite_usd": run.opposite_micros / MICROS,
        "one_sidedness": run.one_sidedness,
        "exchanges": float(len(run.first_on)),
        "waves": float(run.waves),
        "peak_usd_per_second": run.peak_second_micros / MICROS,
        "opened_after_s": ((run.opened or run.begin) - run.begin) / SECOND_MS,
    }
    if run.moved_sd is not None:
        found["moved_sd"] = run.moved_sd
    if run.ended is not None:
        found["ended_by_rate"] = float(run.ended_by_rate)
    return found


_RUN_FIELDS: Final = tuple(field.name for field in fields(Run))
_SECOND_FIELDS: Final = tuple(field.name for field in fields(Second))


def _stored_runs(runs: AssetRuns) -> list[list[list[Any]]]:
    return [
        [[start, *_values(second, _SECOND_FIELDS)] for (start, _), second in runs.waiting.items()],
        [_values(run, _RUN_FIELDS) for run in runs.runs.values()],
        [_values(run, _RUN_FIELDS) for run in runs.ended],
    ]


def _values(found: Run | Second, names: Sequence[str]) -> list[Any]:
    values = {name: getattr(found, name) for name in names}
    values["largest"] = stored_largest(found.largest)
    if "seconds" in values:
        values["seconds"] = list(values["seconds"].items())
    return list(values.values())


def _restore_runs(runs: AssetRuns, stored: list[list[list[Any]]]) -> None:
    waiting, under_way, ended = stored
    for start, *values in waiting:
        second = Second(**_named(_SECOND_FIELDS, values))
        runs.waiting[start, second.position] = second
    for values in under_way:
        run = Run(**_named(_RUN_FIELDS, values))
        runs.runs[run.position] = run
    runs.ended = [Run(**_named(_RUN_FIELDS, values)) for values in ended]


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    named = dict(zip(names, values, strict=True))
    named["largest"] = largest_stored(named["largest"])
    if "seconds" in named:
        named["seconds"] = dict(named["seconds"])
    return named
