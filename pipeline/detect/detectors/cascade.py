"""Cascades over one partition: every asset's runs, and the findings and records that are told of those that are one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from math import ceil
from operator import attrgetter
from typing import Any, Final

import orjson

from pipeline.detect.cascade import (
    SECOND_MS,
    AssetRuns,
    Run,
    Second,
    forget_ended,
    parameters_of,
    settle,
    settled_before,
    take_late,
)
from pipeline.detect.coming_seconds import ComingSeconds, SecondRows
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, largest_stored, stored_largest
from pipeline.detect.run_columns import RunColumns, Said
from pipeline.detect.run_sizes import DAY_MS
from pipeline.detect.tick_events import TickEvents
from pipeline.records import Cascade, Position
from pipeline.windows.fold import Cell

_KIND: Final = "cascade"
# A cascade of ten times its threshold is a warning, of a hundred times critical, of a thousand times pages a person.
_LEVEL_FACTORS: Final = (10, 100, 1_000)

# An open cascade is said again at once when it has grown by this factor since it was said last.
_GROWTH: Final = 1.5
# How often (ms of the watermark) it is said how far an open cascade has come that grows slowly.
_UPDATE_MS: Final = 30_000

RunKey = tuple[str, int]  # position, begin

# The names of cells that are of no asset begin so.
_OF_NO_ASSET: Final = "/"


class CascadeDetector(Detector):
    """The runs of each asset, by its number.

    Liquidations wait in `_coming` until their second is over for long enough. Those that come later than that go to
    their asset at once, which is `_late`. The runs of assets that are `_out` are not in the columns at present;
    `_ended` are the assets of which late events can still correct cascades that are over.
    """

    name = "cascade"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        rule = facts.rules.cascade
        self._parameters = parameters_of(rule)
        self._least_coverage = rule.least_coverage
        self._waits = rule.when_blind == "wait"
        self._hash = facts.rules.hash
        self._columns = RunColumns(self._parameters)
        self._coming = ComingSeconds()
        self._assets: list[AssetRuns] = []
        self._late: set[int] = set()
        self._out: set[int] = set()
        self._ended: set[int] = set()
        self._closed_before = 0
        self._written_settled = 0
        self._changed: set[int] = set()
        self._written_days: dict[str, set[int]] = {}
        self._findings: dict[str, dict[RunKey, Finding]] = {}

    def take_tick(self, events: TickEvents) -> None:
        """Put the events aside until their second is over."""
        late = self._coming.put(self.facts.watermark, events)
        if late is not None:
            self._grow()
            self._late.update(self._give(late))

    def judge(self) -> None:
        """Take the seconds that are settled, and say which cascades opened, grew or ended."""
        until, settled = settled_before(self.facts.watermark, self._parameters), self._coming.settled
        if until <= settled:
            return
        self._grow()
        changed: defaultdict[int, list[Run]] = defaultdict(list)
        for asset in sorted(self._late):
            changed[asset] += self._settle(asset, None)
        self._late = set()
        self._load_all()
        for start, found in self._coming.take(until):
            if start > settled:
                self._load_all()
                self._end(start, changed)
                self._load_all()
            for asset in self._give(self._columns.add(start, found)):
                changed[asset] += self._settle(asset, start + SECOND_MS)
        if until > settled + SECOND_MS:
            self._load_all()
        self._end(until, changed)
        self._say_all(changed)
        self._forget_ended(until)
        self._load_all()

    def cells(self) -> Iterable[Cell]:
        """Yield what is coming, the runs of the assets that changed, and how large their runs were, by day."""
        prefix = _OF_NO_ASSET.encode()
        if self._coming.settled > self._written_settled:
            self._written_settled = self._coming.settled
            yield prefix, orjson.dumps([self._coming.settled])
        for name, some in self._coming.cells():
            yield prefix + name, some
        for number in sorted(self._changed.union(self._columns.grown())):
            runs, asset = self._assets[number], self.facts.numbering.asset_names[number]
            self._columns.store(number)
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
        for finding in self.facts.findings.of_kind(_KIND):
            self._findings.setdefault(finding.asset, {})[finding.position, finding.started] = finding
        coming: dict[tuple[int, str], bytes] = {}
        for name, value in sorted(cells.items()):
            if name == _OF_NO_ASSET:
                (self._coming.settled,) = orjson.loads(value)
                self._written_settled = self._coming.settled
            elif name.startswith(_OF_NO_ASSET):
                _, tick, part = name.split("/")
                coming[int(tick), part] = value
            else:
                self._restore_asset(name, *orjson.loads(value))
        self._coming.restore(coming, self.facts.numbering)
        self._closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        self._grow()
        self._columns.ending(self._coming.settled)
        for number in range(len(self._assets)):
            self._load(number)

    def _restore_asset(self, name: str, asset: str, *rest: Any) -> None:  # noqa: ANN401 - as stored
        number = self.facts.numbering.asset(asset)
        self._grow()
        runs = self._assets[number]
        if name == asset:
            _restore_runs(runs, *rest)
            if runs.waiting:
                self._late.add(number)
            if runs.ended:
                self._ended.add(number)
        else:
            day, classes, counts, first = rest
            runs.sizes.days[day] = dict(zip(classes, counts, strict=True))
            runs.sizes.first = max(runs.sizes.first or 0, first)
            self._written_days.setdefault(asset, set()).add(day)

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

    def _grow(self) -> None:
        """Have room for the assets and exchanges that there are."""
        numbering = self.facts.numbering
        assets = len(numbering.asset_names)
        self._assets += [AssetRuns() for _ in range(assets - len(self._assets))]
        self._columns.grow(assets, len(numbering.exchange_names))

    def _give(self, found: SecondRows) -> list[int]:
        """Have assets take their liquidations one by one; return them."""
        assets = (found.places // 2).tolist()
        for row, asset in zip(found.rows, assets, strict=True):
            self._assets[asset].take(row)
        self._changed.update(assets)
        return sorted(set(assets))

    def _settle(self, asset: int, until: int | None) -> list[Run]:
        """Let an asset take what it was given, and time go on to `until` (ms) by a second, unless all that is late."""
        runs, name = self._assets[asset], self.facts.numbering.asset_names[asset]
        if asset not in self._out:
            self._columns.store(asset)
            self._out.add(asset)
        moved, judged = self._moved_of(name), self._judged_of(name)
        if until is None:
            changed = take_late(runs, self._parameters, moved, judged)
        else:
            runs.settled = until - SECOND_MS
            changed = settle(runs, until + self._parameters.settle_ms, self._parameters, moved, judged)
        if runs.ended:
            self._ended.add(asset)
        self._changed.add(asset)
        return changed

    def _end(self, now: int, changed: defaultdict[int, list[Run]]) -> None:
        """End what has subsided by `now` (ms)."""
        for asset in self._columns.ending(now):
            if asset not in self._out:
                changed[asset] += self._settle(asset, now)

    def _forget_ended(self, until: int) -> None:
        """Once a minute, forget cascades that are over for so long that nothing corrects them any more."""
        closed_before = self.facts.parameters.closed_before(self.facts.watermark)
        if closed_before > self._closed_before:
            self._closed_before = closed_before
            for asset in sorted(self._ended):
                runs = self._assets[asset]
                before = len(runs.ended)
                forget_ended(runs, until)
                if len(runs.ended) < before:
                    self._changed.add(asset)
                    self._forget(self.facts.numbering.asset_names[asset], runs)
            self._ended = {asset for asset in self._ended if self._assets[asset].ended}

    def _load_all(self) -> None:
        for asset in self._out:
            self._load(asset)
        self._out = set()

    def _load(self, asset: int) -> None:
        runs = self._assets[asset]
        self._columns.load(asset, runs, self._said_of(self.facts.numbering.asset_names[asset], runs))

    def _said_of(self, asset: str, runs: AssetRuns) -> dict[Position, Said]:
        findings = self._findings.get(asset, {})
        return {
            run.position: _again(finding)
            for run in runs.runs.values()
            if run.revision and (finding := findings.get((run.position, run.begin))) is not None
        }

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

    def _say_all(self, changed: Mapping[int, Sequence[Run]]) -> None:
        """Say what has opened, ended or grown much, and of the others what they have become every half minute."""
        said = [number for number, runs in changed.items() if runs]
        for number in sorted(self._out.union(said, self._columns.due(self.facts.watermark))):
            asset, runs = self.facts.numbering.asset_names[number], self._assets[number]
            if number not in self._out:
                self._columns.store_all_but_seconds(number)
            self._say_what_is_due(asset, runs, changed.get(number, ()))
            self._forget(asset, runs)
            if number not in self._out:
                self._columns.load_said(number, runs, self._said_of(asset, runs))

    def _say_what_is_due(self, asset: str, runs: AssetRuns, changed: Sequence[Run]) -> None:
        for run in changed:
            run.is_unsaid = True
            if run.ended is not None:
                self._say(asset, run)
        for run in runs.runs.values():
            if run.is_unsaid:
                said = self._findings[asset].get((run.position, run.begin)) if run.revision else None
                again_from, again_at = (0, 0) if said is None else _again(said)
                if run.micros >= again_from or self.facts.watermark >= again_at:
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
        self._changed.add(self.facts.numbering.asset(asset))
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
        findings = self._findings.get(asset)
        if findings is None:
            return
        kept = {(run.position, run.begin) for run in (*runs.runs.values(), *runs.ended)}
        for key in findings.keys() - kept:
            self.facts.findings.forget(findings.pop(key))
        if not findings:
            del self._findings[asset]


def _first_of(runs: AssetRuns, day: int) -> int:
    """Return when the first run ended, if it was on that day, else 0."""
    first = runs.sizes.first or 0
    return first if first - first % DAY_MS == day else 0


def _again(finding: Finding) -> Said:
    """Return from when on an open cascade that has grown is said again."""
    return ceil(round(finding.value * MICROS) * _GROWTH), finding.updated + _UPDATE_MS


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
_RUN_VALUES: Final = attrgetter(*_RUN_FIELDS)
_SECOND_VALUES: Final = attrgetter(*_SECOND_FIELDS)
_LARGEST, _SECONDS = _RUN_FIELDS.index("largest"), _RUN_FIELDS.index("seconds")
_LARGEST_OF_SECOND: Final = _SECOND_FIELDS.index("largest")


def _stored_runs(runs: AssetRuns) -> list[list[list[Any]]]:
    return [
        [_stored_second(start, second) for (start, _), second in runs.waiting.items()],
        list(map(_stored_run, runs.runs.values())),
        list(map(_stored_run, runs.ended)),
    ]


def _stored_second(start: int, second: Second) -> list[Any]:
    values = list(_SECOND_VALUES(second))
    values[_LARGEST_OF_SECOND] = stored_largest(second.largest)
    return [start, *values]


def _stored_run(run: Run) -> list[Any]:
    values = list(_RUN_VALUES(run))
    values[_LARGEST], values[_SECONDS] = stored_largest(run.largest), list(run.seconds.items())
    return values


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
