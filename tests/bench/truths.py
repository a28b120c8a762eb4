"""What each rule should have found in a simulated market, from the ledger alone.

Nothing here uses the rules' own code: sums and bounds are found in another way, from every forced order, whether an
exchange showed it or not. `docs/scoring.md` has the definitions.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from pipeline.embedded.simulator.leverage import TrueLedger, TrueOrder

USD = 1_000_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
MARKET = ""


class Passing(NamedTuple):
    """The true sum of the last hour passed a doubling of the base: when (ms), of which scope, and at which level."""

    asset: str
    time: int
    level: int


@dataclass(slots=True)
class HourSums:
    """The true USD of the last hour at any time, in micro-dollars, from the orders in order of time."""

    span_ms: int
    times: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)

    def add(self, order: TrueOrder) -> None:
        """Take the next order."""
        self.times.append(order.time_ms)
        self.sums.append(order.micros + (self.sums[-1] if self.sums else 0))

    def most(self, begin: int, end: int) -> int:
        """Return the highest sum of the last hour at any time from `begin` to `end`, both included."""
        moments = [begin, *self.times[bisect_left(self.times, begin) : bisect_right(self.times, end)]]
        return max(self._before(moment) - self._before(moment - self.span_ms) for moment in moments)

    def _before(self, time: int) -> int:
        place = bisect_right(self.times, time)
        return self.sums[place - 1] if place else 0


def passings(orders: Iterable[TrueOrder], base_usd: float, span_ms: int, memory_ms: int) -> list[Passing]:
    """Return when the rolling sums of each asset, and of the market (asset ''), really passed their thresholds.

    The state machine of `rules_and_formulas` 7: strictly above; a jump counts once, at the highest doubling passed; the
    threshold falls back to the base when the last passing is more than the memory ago.
    """
    base = round(base_usd * USD)
    windows: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
    sums: defaultdict[str, int] = defaultdict(int)
    last: dict[str, tuple[int, int]] = {}
    found = []
    for order in orders:
        now = order.time_ms
        for scope in (order.asset, MARKET):
            window = windows[scope]
            window.append((now, order.micros))
            sums[scope] += order.micros
            while window[0][0] <= now - span_ms:
                sums[scope] -= window.popleft()[1]
            passed, level = last.get(scope, (now, -1))
            level = 0 if now - passed > memory_ms else level + 1
            if sums[scope] > base << level:
                while sums[scope] > base << (level + 1):
                    level += 1
                last[scope] = now, level
                found.append(Passing(scope, now, level))
    return found


def hour_sums(orders: Iterable[TrueOrder], span_ms: int) -> dict[str, HourSums]:
    """Return the sums of the last hour of each asset, and of the market (asset '')."""
    found: defaultdict[str, HourSums] = defaultdict(lambda: HourSums(span_ms))
    for order in orders:
        found[order.asset].add(order)
        found[MARKET].add(order)
    return dict(found)


class BarKey(NamedTuple):
    """One bar of an asset: length (ms), position (`both` for the two together) and start (ms)."""

    asset: str
    interval_ms: int
    position: str
    start: int


@dataclass(frozen=True, slots=True)
class TrueSurge:
    """A bar whose true USD is above the bound of the true bars before it; `passed` is when (ms) it went above."""

    key: BarKey
    micros: int
    passed: int


def surges(
    ledger: TrueLedger, interval_ms: int, period: int, k: float, floor_usd: float, least_events: int
) -> dict[BarKey, TrueSurge]:
    """Return the bars of the assets that surge in truth, once a whole baseline lies behind.

    The bound is mean + `k` sample standard deviations of the true totals of the `period` bars before.
    """
    orders: defaultdict[tuple[str, int], list[TrueOrder]] = defaultdict(list)
    for order in ledger.orders:
        orders[order.asset, order.time_ms - order.time_ms % interval_ms].append(order)
    start_ms = ledger.scenario.start_ms
    bars = ledger.scenario.seconds * 1000 // interval_ms
    found = {}
    for asset in sorted({order.asset for order in ledger.orders}):
        for position in ("long", "short", "both"):
            values = [0.0] * bars
            for bar in range(bars):
                chosen = orders.get((asset, start_ms + bar * interval_ms), ())
                values[bar] = sum(one.micros for one in chosen if position in ("both", one.position)) / USD
            series = pl.Series(values)
            mean, sd = series.rolling_mean(period).shift(1), series.rolling_std(period, ddof=1).shift(1)
            for bar, bound in enumerate(mean + k * sd):
                if bound is None or values[bar] <= bound or values[bar] < floor_usd:
                    continue
                key = BarKey(asset, interval_ms, position, start_ms + bar * interval_ms)
                surge = _surge(key, orders[asset, key.start], bound, floor_usd, least_events)
                if surge is not None:
                    found[key] = surge
    return found


def _surge(key: BarKey, orders: list[TrueOrder], bound: float, floor_usd: float, least_events: int) -> TrueSurge | None:
    micros = count = 0
    passed = None
    for order in orders:
        if key.position in ("both", order.position):
            micros += order.micros
            count += 1
            if passed is None and micros / USD > bound and micros >= floor_usd * USD and count >= least_events:
                passed = order.time_ms
    return None if passed is None else TrueSurge(key, micros, passed)


def ratios(
    ledger: TrueLedger, traded: Mapping[tuple[str, str, int], int], interval_ms: int, threshold: float, floor_usd: float
) -> set[tuple[str, str, int, str]]:
    """Return the bars (exchange, symbol, start, position) in which more than a share of what was traded was forced.

    Bars of which a minute has no candle are left out: nobody knows what was traded.
    """
    forced: defaultdict[tuple[str, str, int, str], int] = defaultdict(int)
    volume: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    minutes: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    for (exchange, symbol, minute), micros in traded.items():
        bar = exchange, symbol, minute - minute % interval_ms
        volume[bar] += micros
        minutes[bar] += 1
    for (exchange, symbol, minute), sums in ledger.contract_minutes.items():
        start = minute - minute % interval_ms
        if minutes[exchange, symbol, start] * MINUTE_MS == interval_ms:
            forced[exchange, symbol, start, "long"] += sums.long_micros
            forced[exchange, symbol, start, "short"] += sums.short_micros
    return {key for key, micros in forced.items() if micros >= floor_usd * USD and micros > threshold * volume[key[:3]]}


class QuietPeriod(NamedTuple):
    """A time in which hardly anything of an asset was liquidated (ms); `known` is when it had lasted long enough."""

    asset: str
    begin: int
    end: int
    known: int


def quiet_periods(ledger: TrueLedger, interval_ms: int, low: float, quiet_bars: int, days: int) -> list[QuietPeriod]:
    """Return the rows of quiet bars that are long enough, by all forced orders.

    A bar is quiet when neither its USD nor its number is above the `low` quantile of the asset's bars of the whole days
    before, up to so many. Where a share p of those was quiet, it takes quiet_bars * ln(low) / ln(p) of them, at least
    `quiet_bars`.
    """
    start_ms, per_day = ledger.scenario.start_ms, DAY_MS // interval_ms
    bars = ledger.scenario.seconds * 1000 // interval_ms
    sums: defaultdict[str, list[tuple[int, int]]] = defaultdict(lambda: [(0, 0)] * bars)
    for order in ledger.orders:
        bar = (order.time_ms - start_ms) // interval_ms
        if bar < bars:
            micros, count = sums[order.asset][bar]
            sums[order.asset][bar] = micros + order.micros, count + 1
    found = []
    for asset, own in sorted(sums.items()):
        quiet: list[tuple[bool, float]] = [(False, math.inf)] * per_day
        for day in range(1, bars // per_day):
            before = own[max(0, day - days) * per_day : day * per_day]
            place = int(low * len(before))
            most_micros = sorted(micros for micros, _ in before)[place]
            most_count = sorted(count for _, count in before)[place]
            share = sum(micros <= most_micros and count <= most_count for micros, count in before) / len(before)
            least = (
                quiet_bars
                if share <= low
                else round(quiet_bars * math.log(low) / math.log(share))
                if share < 1
                else math.inf
            )
            today = own[day * per_day : (day + 1) * per_day]
            quiet += [(micros <= most_micros and count <= most_count, least) for micros, count in today]
        found += _rows(asset, quiet, start_ms, interval_ms)
    return found


def _rows(asset: str, quiet: Sequence[tuple[bool, float]], start_ms: int, interval_ms: int) -> Iterator[QuietPeriod]:
    begin, known = None, None
    for bar, (is_quiet, least) in enumerate([*quiet, (False, math.inf)]):
        if is_quiet:
            begin = bar if begin is None else begin
            if known is None and bar + 1 - begin >= least:
                known = bar + 1
            continue
        if begin is not None and known is not None:
            yield QuietPeriod(asset, *(start_ms + one * interval_ms for one in (begin, bar, known)))
        begin = known = None
