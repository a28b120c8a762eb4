"""What some surge rules remember beyond the bars of their baseline: the highest of thousands of bars, and the season.

Both take in a bar once nothing can change it any more: `correction_ms` after it was closed. What is asked before that
comes from the bars themselves, so an answer is the same whenever it is asked for. Rules that need neither have no
`SurgeHistory`, and it costs them nothing.

Cells: `highest/ASSET/INTERVAL/EXCHANGE/SYMBOL` (no exchange and symbol: the asset), `season/ASSET/WEEK`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson

from pipeline.detect.bar_book import BarBook
from pipeline.detect.coverage_history import INTERVALS_MS, Feeds
from pipeline.detect.detector import Facts
from pipeline.detect.highest_values import HighestValues
from pipeline.detect.scorers import Baseline, Scorer
from pipeline.detect.season import DAY_MS, HOUR_MS, Factors, HoursOfWeeks, hour_of_week, week_of
from pipeline.detect.surge import COUNTS, SERIES, Sums, baselines_of, unit_of, values_of
from pipeline.detect.tick_events import Contract
from pipeline.windows.fold import Cell

_HIGHEST, _SEASON = "highest/", "season/"
_HOURS = 2  # the place of an hour among the intervals
_EMPTY: Sums = (0, 0, 0, 0)
# After a longer jump of the watermark coverage of the hours in between is not known.
_MOST_HOURS = 100

_Bar = tuple[str, Contract | None, int, int]  # asset, contract (None: the asset), number of the interval, start
_Owner = tuple[str, Contract | None, int]


class SurgeHistory:
    """The memory of one partition's surge rule."""

    def __init__(
        self, facts: Facts, book: BarBook, scorer: Scorer, feeds: Callable[[str, Contract | None], Feeds]
    ) -> None:
        self._facts, self._book, self._scorer, self._feeds = facts, book, scorer, feeds
        self._rule = rule = facts.rules.surge
        self._keeps_highest, self._has_season = rule.scorer == "quantile", rule.season == "hour_of_week"
        self._final_ms = facts.parameters.lateness_ms + facts.parameters.correction_ms
        self._waiting: defaultdict[str, defaultdict[int, dict[_Bar, None]]] = defaultdict(lambda: defaultdict(dict))
        self._highest: dict[_Owner, list[HighestValues]] = {}
        self._hours: defaultdict[str, HoursOfWeeks] = defaultdict(HoursOfWeeks)
        self._factors: dict[tuple[str, int], tuple[Factors, Factors]] = {}
        self._hours_until = 0
        self._changed: set[_Owner] = set()
        self._changed_weeks: set[tuple[str, int]] = set()
        self._gone: list[Cell] = []

    def touch(self, bars: Iterable[_Bar]) -> None:
        """Take note of bars that have new events."""
        if not self._keeps_highest:
            return
        for bar in bars:
            asset, _, interval, start = bar
            self._waiting[asset][start + INTERVALS_MS[interval] + self._final_ms][bar] = None

    def go_on(self, asset: str) -> None:
        """Take in the bars of an asset, whose events up to now are all in the book, that nothing can change."""
        waiting = self._waiting.get(asset)
        if waiting is None:
            return
        now = self._now()
        for due in sorted(due for due in waiting if due <= now):
            for bar in sorted(waiting.pop(due), key=lambda bar: (bar[2], bar[3], bar[1] or ("", ""))):
                self._take_in(bar)
        if not waiting:
            del self._waiting[asset]

    def go_on_all(self) -> bool:
        """Take in all bars that nothing can change any more, and the hours of the season; tell if there were hours."""
        for asset in list(self._waiting):
            self.go_on(asset)
        until = self._now() - self._final_ms
        until -= until % HOUR_MS
        if not self._has_season or until <= self._hours_until:
            return False
        for start in range(max(self._hours_until, until - _MOST_HOURS * HOUR_MS), until, HOUR_MS):
            if self._hours_until:
                self._take_in_hour(start)
        self._hours_until = until
        self._factors = {}
        return True

    def baselines(self, bar: _Bar, sums: Sums, covered: Sequence[int]) -> list[Baseline]:
        """Return what a bar is judged against, in the order of `SERIES`; `covered` are the starts of bars before it."""
        asset, contract, interval, start = bar
        rule, read = self._rule, self._book.reader(asset, contract, interval)
        now = self._season(asset, start)
        if rule.baseline == "inclusive":
            covered = [*covered[-(rule.period - 1) :], start]
        if self._keeps_highest:
            edge = self._now() - INTERVALS_MS[interval] - self._final_ms
            recent = [one for one in covered if one > edge]
            found = self._quantiles((asset, contract, interval), [self._values(asset, one, read) for one in recent])
        elif self._has_season:
            columns = zip(*[self._values(asset, one, read) for one in covered], strict=True) if covered else [()] * 6
            found = [self._scorer.judge(values) for values in columns]
        else:
            found = baselines_of(sums, [read(one) or _EMPTY for one in covered], rule, self._scorer)
        return [one.scaled(now[number >= COUNTS]) for number, one in enumerate(found)]

    def cells(self) -> Iterable[Cell]:
        """Yield what changed since the last call."""
        yield from self._gone
        self._gone = []
        for asset, contract, interval in sorted(self._changed, key=lambda one: (one[0], one[2], one[1] or ("", ""))):
            exchange, symbol = contract or ("", "")
            series = [[one.count, one.entries] for one in self._highest[asset, contract, interval]]
            name = f"{_HIGHEST}{asset}/{interval}/{exchange}/{symbol}"
            yield name.encode(), orjson.dumps([asset, exchange, symbol, interval, series])
        self._changed = set()
        for asset, week in sorted(self._changed_weeks):
            hours = [[hour, *values] for hour, values in self._hours[asset].weeks[week].items()]
            yield _week_name(asset, week), orjson.dumps([asset, week, hours])
        self._changed_weeks = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint; the bars that can still change are read from the book."""
        for name, value in cells.items():
            if name.startswith(_HIGHEST):
                asset, exchange, symbol, interval, series = orjson.loads(value)
                self._highest[asset, (exchange, symbol) if exchange else None, interval] = [
                    HighestValues(count, [(number, one, reached) for number, one, reached in entries])
                    for count, entries in series
                ]
            elif name.startswith(_SEASON):
                asset, week, hours = orjson.loads(value)
                self._hours[asset].weeks[week] = {hour: (micros, events) for hour, micros, events in hours}
        now = self._now()
        self._hours_until = now - self._final_ms - (now - self._final_ms) % HOUR_MS
        for interval, length in enumerate(INTERVALS_MS):
            for start in [one for one in self._book.starts(interval) if one + length + self._final_ms > now]:
                owners = self._book.owners(interval, start)
                self.touch([(*self._book.name(owner), interval, start) for owner in owners])

    def _now(self) -> int:
        """Return the second of the last tick: checkpoints are taken between ticks."""
        return self._facts.watermark - self._facts.watermark % 1_000

    def _take_in(self, bar: _Bar) -> None:
        asset, contract, interval, start = bar
        if not self._facts.coverage.is_covered(
            self._feeds(asset, contract), start, interval, self._rule.least_coverage
        ):
            return
        read = self._book.reader(asset, contract, interval)
        highest = self._highest.get((asset, contract, interval))
        if highest is None:
            highest = self._highest[asset, contract, interval] = [HighestValues() for _ in SERIES]
        for series, value in zip(highest, self._values(asset, start, read), strict=True):
            if value > 0:
                series.note(value, self._rule.q, self._rule.last)
        self._changed.add((asset, contract, interval))

    def _take_in_hour(self, start: int) -> None:
        for asset in sorted(self._facts.feeds):
            if not self._facts.coverage.is_covered(self._feeds(asset, None), start, _HOURS, self._rule.least_coverage):
                continue
            longs, shorts, long_count, short_count = self._book.sums(asset, None, _HOURS, start) or _EMPTY
            gone = self._hours[asset].note(start, longs + shorts, long_count + short_count)
            self._gone += [(_week_name(asset, week), None) for week in gone]
            self._changed_weeks -= {(asset, week) for week in gone}
            self._changed_weeks.add((asset, week_of(start)))

    def _quantiles(self, owner: _Owner, recent: Sequence[Sequence[float]]) -> list[Baseline]:
        highest = self._highest.get(owner) or [HighestValues() for _ in SERIES]
        found = []
        for number, series in enumerate(highest):
            values = [values[number] for values in recent if values[number] > 0]
            n, threshold = series.quantile(values, self._rule.q, self._rule.last)
            found.append(Baseline(n, None, None, threshold))
        return found

    def _values(self, asset: str, start: int, read: Callable[[int], Sums | None]) -> list[float]:
        """Return the values of a bar in USD and events, each divided by the season's factor."""
        usual = self._season(asset, start)
        values = values_of(read(start) or _EMPTY)
        return [value / unit_of(number) / usual[number >= COUNTS] for number, value in enumerate(values)]

    def _season(self, asset: str, start: int) -> tuple[float, float]:
        """Return the factors of USD and of events at `start` (ms).

        They rest on the hours before its day, or the day before it in the first hour: those can change no more.
        """
        if not self._has_season:
            return 1.0, 1.0
        day = start - HOUR_MS - (start - HOUR_MS) % DAY_MS
        known = self._factors.get((asset, day))
        if known is None:
            hours = self._hours[asset]
            known = self._factors[asset, day] = hours.factors(day, 0), hours.factors(day, 1)
        hour = hour_of_week(start)
        return known[0][hour], known[1][hour]


def is_of_history(name: str) -> bool:
    """Tell the cells of a history from those of bars."""
    return name.startswith((_HIGHEST, _SEASON))


def _week_name(asset: str, week: int) -> bytes:
    return f"{_SEASON}{asset}/{week}".encode()
