"""Cascades over one partition: every asset's runs, and the findings and records that are told of those that are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from pipeline.detect.cascade import SECOND_MS, AssetRuns, Run, Second, parameters_of, settle
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, largest_stored, stored_largest
from pipeline.detect.run_sizes import DAY_MS
from pipeline.records import Cascade
from pipeline.windows.fold import Cell, LiquidationRow

_KIND: Final = "cascade"
# A cascade of ten times its threshold is a warning, of a hundred times critical, of a thousand times pages a person.
_LEVEL_FACTORS: Final = (10, 100, 1_000)

# How often (ms of the watermark) it is said how far an open cascade has come.
_UPDATE_MS: Final = 5_000

RunKey = tuple[str, int]  # position, begin


class CascadeDetector(Detector):
    """The runs of each asset; those of `_active` can change by time alone."""

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
        self._changed: set[str] = set()
        self._written_days: dict[str, set[int]] = {}
        self._findings: dict[str, dict[RunKey, Finding]] = {}

    def take_events(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Sum the events up by second and position."""
        runs = self._assets.get(asset)
        if runs is None:
            runs = self._assets[asset] = AssetRuns()
        self._active.add(asset)
        self._changed.add(asset)
        runs.take(events)

    def judge(self) -> None:
        """Take the seconds that are settled, and say which cascades opened, grew or ended."""
        watermark = self.facts.watermark
        for asset in sorted(self._active):
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

    def cells(self) -> Iterable[Cell]:
        """Yield the runs of the assets that changed, and how large their runs were, by day."""
        for asset in sorted(self._changed):
            runs = self._assets[asset]
            name = asset.encode()
            yield name, None if runs.is_idle else orjson.dumps([asset, _stored_runs(runs)])
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
                _restore_runs(runs, rest[0])
                self._active.add(asset)
            else:
                day, classes, counts, first = rest
                runs.sizes.days[day] = dict(zip(classes, counts, strict=True))
                runs.sizes.first = max(runs.sizes.first or 0, first)
                self._written_days.setdefault(asset, set()).add(day)
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings.setdefault(finding.asset, {})[finding.position, finding.started] = finding

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
        """Say what has opened or ended, and of what goes on what it has become every few seconds."""
        for run in changed:
            run.is_unsaid = True
            if run.ended is not None:
                self._say(asset, run)
        for run in runs.runs.values():
            if run.is_unsaid:
                said = self._findings[asset].get((run.position, run.begin)) if run.revision else None
                if said is None or self.facts.watermark >= said.updated + _UPDATE_MS:
                    self._say(asset, run)

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
