"""Prices and forced closures, second by second.

One market factor moves all assets (times their beta), each has a walk of its own, and now and then one breaks away.
Leveraged positions are opened around the current price all the time, so their liquidation prices lie just below (longs)
and just above (shorts). A price that makes a new low meets untouched long levels and forces them out; that selling
pushes the price further. The running low and high drift back towards the price as new positions are opened.

Only additions, multiplications, divisions and square roots are used: these give the same bits on every machine, which
logarithms and powers do not.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from random import Random
from typing import NamedTuple

from pipeline.embedded.simulator.contracts import ASSETS, Contract, contracts

# The crash begins at two thirds; it falls for 15 minutes and rebounds for 10, less in runs shorter than six hours.
CRASH_AT = 2 / 3
FALL_S = 900
REBOUND_S = 600
FULL_RUN_S = 6 * 3600

# Per second: usual movement of the market factor (about 2.6 % a day), and what the crash and the rebound add.
_CALM_STEP = 0.00009
_FALL_STEP = 0.00024
_FALL_DRIFT = -0.00021
_REBOUND_DRIFT = 0.00012
# How much one forced long of a second moves the next second's price, and the most that this can be.
_IMPACT = 0.0000016
_IMPACT_MOST = 0.00012

# Liquidations per second without any move, and per 1e-4 of untouched levels, long and short. New levels fill in at
# this share of the distance per second.
_QUIET_LONG = 0.62
_QUIET_SHORT = 0.55
_LONG_PER_BP = 5.0
_SHORT_PER_BP = 2.2
_REFILL = 0.004
# Further from where positions were opened there are more levels: longs below the average of the last half hour, shorts
# of those who sold the fall above its low. Per 1 % of distance, of which this much counts.
_ANCHOR = 1 / 1800
_TROUGH_LIFT = 0.00004
_LONG_DEPTH = 1.3
_SHORT_DEPTH = 1.5
_DEPTH_MOST = 4.0
# Most forced closures of one second: the engines of the exchanges have limits, too.
_MOST = 160

_WALK_EVERY_S = 10
_WALK_STEP = 0.00045
_BREAKAWAYS_PER_HOUR = 4
_BREAKAWAY_RATE = 0.9

# Maintenance margin by leverage tier: how far the bankruptcy price lies behind the price at which a position is closed.
_MARGINS = (0.004, 0.004, 0.005, 0.005, 0.0065, 0.01, 0.015, 0.025)


class Closure(NamedTuple):
    """One forced closure: when (ms), which contract, whether a long, price and bankruptcy price and size in steps."""

    time_ms: int
    contract: int
    long: bool
    price_steps: int
    bankruptcy_steps: int
    quantity_steps: int


class Second(NamedTuple):
    """What happened in one second: start in ms, and the closures in order of time."""

    start_ms: int
    closures: list[Closure]


@dataclass(frozen=True, slots=True)
class Crash:
    """When the crash is, in seconds from the start: fall from `start` to `bottom`, rebound until `end`."""

    start: int
    bottom: int
    end: int


def crash_of(seconds: int) -> Crash:
    """Return when the crash happens in a run of so many seconds."""
    scale = min(1.0, seconds / FULL_RUN_S)
    start = int(seconds * CRASH_AT)
    bottom = start + int(FALL_S * scale)
    return Crash(start, bottom, bottom + int(REBOUND_S * scale))


@dataclass(frozen=True, slots=True)
class _Breakaway:
    """One asset moving on its own: seconds from the start, direction and step per second."""

    start: int
    end: int
    asset: int
    step: float


def seconds(rng: Random, start_ms: int, count: int, listed: Sequence[Contract] | None = None) -> Iterator[Second]:
    """Yield `count` seconds of market, drawn from `rng` alone.

    `listed` are the contracts that are traded, each at its own index; by default those of the recordings.
    """
    draw = rng.random
    listed = contracts() if listed is None else listed
    everywhere = list(accumulate(contract.activity for contract in listed))
    of_asset = [_Listing(listed, number) for number in range(len(ASSETS))]
    crash = crash_of(count)
    breakaways = _breakaways(rng, count)
    own = [1.0] * len(ASSETS)
    market = low = high = anchor = trough = 1.0
    pressure = 0.0
    for second in range(count):
        falling = crash.start <= second < crash.bottom
        rebounding = crash.bottom <= second < crash.end
        step = _FALL_STEP if falling or rebounding else _CALM_STEP
        drift = _FALL_DRIFT if falling else _REBOUND_DRIFT if rebounding else 0.0
        market *= 1.0 + drift + step * _bell(rng) + max(-_IMPACT_MOST, min(_IMPACT_MOST, pressure))
        if second % _WALK_EVERY_S == 0:
            own = [level * (1.0 + _WALK_STEP * _bell(rng)) for level in own]

        long_levels, short_levels = max(0.0, 1.0 - market / low), max(0.0, market / high - 1.0)
        low, high = min(low, market), max(high, market)
        low += (market - low) * _REFILL
        high += (market - high) * _REFILL
        anchor += (market - anchor) * _ANCHOR
        trough = min(trough + (market - trough) * _TROUGH_LIFT, market)
        below = max(0.0, min(_DEPTH_MOST, (1.0 - market / anchor) * 100))
        above = max(0.0, min(_DEPTH_MOST, (market / trough - 1.0) * 100))
        longs = _count(rng, _QUIET_LONG + _LONG_PER_BP * (1 + _LONG_DEPTH * below) * long_levels * 10_000)
        shorts = _count(rng, _QUIET_SHORT + _SHORT_PER_BP * (1 + _SHORT_DEPTH * above) * short_levels * 10_000)
        pressure = _IMPACT * (shorts - longs)

        chosen = [(bisect(everywhere, draw() * everywhere[-1]), True) for _ in range(longs)]
        chosen += [(bisect(everywhere, draw() * everywhere[-1]), False) for _ in range(shorts)]
        for breakaway in breakaways:
            if breakaway.start <= second < breakaway.end:
                own[breakaway.asset] *= 1.0 + breakaway.step
                listing = of_asset[breakaway.asset]
                chosen += [(listing.choose(draw()), breakaway.step < 0) for _ in range(_count(rng, _BREAKAWAY_RATE))]

        second_ms = start_ms + second * 1000
        # One contract closes at most one position of each kind per millisecond, so that no two events look the same.
        times = sorted({(second_ms + int(draw() * 1000), index, long) for index, long in chosen})
        size = 2.4 if falling else 1.6 if rebounding else 1.0
        yield Second(
            second_ms,
            [_closure(rng, time, listed[index], long, market, own, size) for time, index, long in times],
        )


class _Listing:
    """The contracts of one asset, to choose from by activity."""

    def __init__(self, listed: Sequence[Contract], asset: int) -> None:
        found = [contract for contract in listed if contract.asset == asset]
        self._indexes = [contract.index for contract in found]
        self._sums = list(accumulate(contract.activity for contract in found))

    def choose(self, share: float) -> int:
        return self._indexes[bisect(self._sums, share * self._sums[-1])]


def _breakaways(rng: Random, count: int) -> list[_Breakaway]:
    found = []
    for _ in range(round(count / 3600 * _BREAKAWAYS_PER_HOUR)):
        start, length = int(rng.random() * count), 60 + int(rng.random() * 200)
        move = (0.03 + 0.07 * rng.random()) * (-1 if rng.random() < 0.6 else 1)  # noqa: PLR2004 - most fall
        found.append(_Breakaway(start, start + length, 3 + int(rng.random() * (len(ASSETS) - 3)), move / length))
    return found


def _closure(
    rng: Random, time_ms: int, contract: Contract, long: bool, market: float, own: list[float], size: float
) -> Closure:
    draw = rng.random
    asset = ASSETS[contract.asset]
    price = asset.price_usd * own[contract.asset] * (1.0 + asset.beta * (market - 1.0))
    price *= contract.listed_units * (1.0 + (draw() - 0.5) * 0.0008)
    scale = contract.price_scale
    price_steps = int(price * scale) + 1
    # A Pareto tail with exponent 4/3, whose power is two square roots; rarely a whale on top.
    share = 1.0 - draw()
    root = sqrt(share)
    usd = asset.size_usd * size * 1.8 / (root * sqrt(root))
    if draw() < 0.008:  # noqa: PLR2004 - whales
        usd *= 4 + 26 * draw()
    usd = min(usd, asset.activity * 600_000)
    units = usd if contract.inverse else usd / price
    quantity_steps = int(units / contract.units_per_step)
    margin = _MARGINS[int(draw() * len(_MARGINS))] * (0.8 + 0.4 * draw())
    bankruptcy = price * (1.0 - margin if long else 1.0 + margin)
    return Closure(time_ms, contract.index, long, price_steps, int(bankruptcy * scale) + 1, max(1, quantity_steps))


def _bell(rng: Random) -> float:
    """Draw from a bell curve with mean 0 and deviation 1 that is wider than the normal one far out."""
    draw = rng.random
    wide = 4.0 if draw() < 0.01 else 1.0  # noqa: PLR2004 - one in a hundred
    return (draw() + draw() + draw() + draw() - 2.0) * 1.7320508 * wide


def _count(rng: Random, mean: float) -> int:
    """Draw a count with about this mean, in clusters: often below it, sometimes three times as much."""
    share = rng.random()
    return min(_MOST, int(mean * 3.0 * share * share + rng.random()))
