"""Scores: what a rule found beside what was true. `docs/scoring.md` says what counts as a hit for each rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from truths import USD, BarKey, HourSums, Passing, QuietPeriod, TrueSurge
from watch import Sighting

from pipeline.embedded.simulator.leverage import TrueCascade, TrueOutage

# Exchanges give times in milliseconds, watermarks go by seconds.
SLACK_MS = 5_000
# From here on a cascade is a large one.
LARGE_MICROS = 1_000_000_000_000
# A passing is found late when it is found within so long.
PATIENCE_MS = 600_000


@dataclass(slots=True)
class Score:
    """Findings and truths of one rule in one scenario.

    `right` of the `found` are true, `hit` of the `true` ones were found. `delays_s` are from the truth's begin to the
    moment at which it was first said, of each that was hit.
    """

    true: int = 0
    hit: int = 0
    found: int = 0
    right: int = 0
    delays_s: list[float] = field(default_factory=list)
    more: dict[str, float] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """Return the share of what was true that was found; None where nothing was true."""
        return self.hit / self.true if self.true else None

    @property
    def precision(self) -> float | None:
        """Return the share of what was found that was true; None where nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def delay_s(self) -> float | None:
        """Return the median delay."""
        return median(self.delays_s) if self.delays_s else None

    def false_alarms_per_day(self, seconds: int) -> float:
        """Return the findings that were not true, per day."""
        return (self.found - self.right) / (seconds / 86_400)


def score_cascades(true: Sequence[TrueCascade], found: Iterable[Sighting]) -> Score:
    """A cascade is hit by a finding of its asset and position that lies over it in time.

    `large_recall` is the recall of those of a million USD and more, `usd_recall` the share of the USD of true cascades
    in those that were hit; `end_delay_s` the median time from the last order of a true cascade to the moment at which
    the last finding over it was said to have ended.
    """
    score = Score(true=len(true))
    hit_micros = large = large_hit = 0
    end_delays = []
    by_key: defaultdict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for sighting in found:
        by_key[sighting.last.asset, sighting.last.position].append(sighting)
        score.found += 1
    right: set[bytes] = set()
    for cascade in true:
        is_large = cascade.micros >= LARGE_MICROS
        large += is_large
        over = [
            one
            for one in by_key[cascade.asset, cascade.position]
            if one.begin <= cascade.end + SLACK_MS and cascade.begin - SLACK_MS <= one.end
        ]
        if not over:
            continue
        right.update(one.last.anomaly_id for one in over)
        score.hit += 1
        hit_micros += cascade.micros
        large_hit += is_large
        score.delays_s.append((min(one.said for one in over) - cascade.begin) / 1000)
        ends = [one.said_end for one in over]
        if None not in ends:
            end_delays.append((max(ends) - cascade.end) / 1000)
    score.right = len(right)
    if true:
        score.more["usd_recall"] = hit_micros / sum(one.micros for one in true)
    if large:
        score.more["large_recall"] = large_hit / large
    if end_delays:
        score.more["end_delay_s"] = median(end_delays)
    return score


def score_passings(true: Sequence[Passing], sums: Mapping[str, HourSums], found: Iterable[Sighting]) -> Score:
    """A true passing is hit when its level or a higher one of its scope is said within `PATIENCE_MS`.

    A finding is right when the true sum of the hour really was above the threshold it names.
    """
    score = Score(true=len(true))
    by_asset: defaultdict[str, list[Sighting]] = defaultdict(list)
    for sighting in found:
        score.found += 1
        by_asset[sighting.last.asset].append(sighting)
        known = sums.get(sighting.last.asset)
        highest = 0 if known is None else known.most(sighting.begin - SLACK_MS, sighting.begin + SLACK_MS)
        score.right += highest > sighting.last.threshold * USD
    for passing in true:
        said = [
            one.said
            for one in by_asset[passing.asset]
            if one.last.level >= passing.level and 0 <= one.said + SLACK_MS - passing.time <= PATIENCE_MS
        ]
        if said:
            score.hit += 1
            score.delays_s.append(max(0, min(said) - passing.time) / 1000)
    return score


def score_surges(true: Mapping[BarKey, TrueSurge], found: Iterable[Sighting], after_ms: int) -> Score:
    """A true surge is hit when the same bar of the same asset and position is said to surge.

    Bars that start before `after_ms` have no whole baseline and are left out.
    """
    score = Score(true=len(true))
    for sighting in found:
        last = sighting.last
        if sighting.begin < after_ms:
            continue
        score.found += 1
        surge = true.get(BarKey(last.asset, last.interval_ms, last.position, sighting.begin))
        if surge is not None:
            score.right += 1
            score.hit += 1
            score.delays_s.append(max(0, sighting.said - surge.passed) / 1000)
    return score


def score_silences(outages: Iterable[TrueOutage], found: Iterable[Sighting]) -> Score:
    """A silent outage is hit by a finding of its channel that is said before it is over.

    A finding is right when it lies over a silent outage in time, be it said too late.
    """
    silent = [one for one in outages if one.kind == "silent"]
    score = Score(true=len(silent))
    sightings = list(found)
    score.found = len(sightings)
    right: set[bytes] = set()
    for outage in silent:
        over = [
            one
            for one in sightings
            if (one.last.exchange, one.last.symbol) == (outage.exchange, outage.channel)
            and one.begin <= outage.end
            and outage.begin <= max(one.end, one.said)
        ]
        right.update(one.last.anomaly_id for one in over)
        in_time = [one.said for one in over if one.said <= outage.end + SLACK_MS]
        if in_time:
            score.hit += 1
            score.delays_s.append((min(in_time) - outage.begin) / 1000)
    score.right = len(right)
    return score


def score_ratios(true: set[tuple[str, str, int, str]], found: Iterable[Sighting]) -> Score:
    """A bar of a contract is hit when it is said that more than the threshold of what was traded was forced."""
    score = Score(true=len(true))
    for sighting in found:
        last = sighting.last
        score.found += 1
        key = last.exchange, last.symbol, sighting.begin, last.position
        if key in true:
            score.hit += 1
            score.right += 1
            score.delays_s.append((sighting.said - sighting.begin) / 1000)
    return score


def score_quiet(true: Sequence[QuietPeriod], found: Iterable[Sighting]) -> Score:
    """A quiet period is hit by a finding of its asset that lies over it in time; the delay is from when it was one."""
    score = Score(true=len(true))
    by_asset: defaultdict[str, list[Sighting]] = defaultdict(list)
    for sighting in found:
        score.found += 1
        by_asset[sighting.last.asset].append(sighting)
    right: set[bytes] = set()
    for period in true:
        over = [one for one in by_asset[period.asset] if one.begin < period.end and period.begin < one.end]
        if over:
            score.hit += 1
            score.delays_s.append(max(0, min(one.said for one in over) - period.known) / 1000)
        right.update(one.last.anomaly_id for one in over)
    score.right = len(right)
    return score


def share_in_cascades(true: Sequence[TrueCascade], found: Iterable[Sighting]) -> float | None:
    """Return the share of findings, of an asset and position, that lie over a true cascade; None without any."""
    by_key: defaultdict[tuple[str, str], list[TrueCascade]] = defaultdict(list)
    for cascade in true:
        by_key[cascade.asset, cascade.position].append(cascade)
    inside = [
        any(one.begin <= sighting.end and sighting.begin <= one.end for one in by_key[_key(sighting)])
        for sighting in found
    ]
    return sum(inside) / len(inside) if inside else None


def _key(sighting: Sighting) -> tuple[str, str]:
    return sighting.last.asset, sighting.last.position
