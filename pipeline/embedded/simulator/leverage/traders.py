"""Traders: positions with leverage and margin, each with the price at which it is closed by force.

Prices are relative to the asset's at the start. Sizes have a heavy tail (Pareto with exponent one, cut off); large
positions fall into tiers with less leverage, so they lie further from the price. A position is closed by its holder
after a time that is short for high leverage; a book forgets it when it comes upon it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappush
from itertools import accumulate
from math import sqrt
from random import Random
from typing import NamedTuple

from pipeline.embedded.simulator.contracts import ASSETS
from pipeline.embedded.simulator.leverage.listings import ASSET_COUNT, listed_by_asset, tiers_of_asset
from pipeline.embedded.simulator.leverage.scenarios import Phase, Scenario
from pipeline.embedded.simulator.leverage.tiers import bankruptcy_price, settled_price, tier_of

# Leverage that traders ask for: how many of them, and the hours after which half have closed by themselves.
LEVERAGES = (3, 5, 10, 20, 25, 50, 75, 100)
_WANTED = (6.0, 14.0, 26.0, 22.0, 12.0, 12.0, 4.0, 4.0)
_HOURS = (120.0, 60.0, 20.0, 6.0, 4.0, 1.5, 0.8, 0.6)
_LONGEST = 10.0
# Mean of the draw of lifetimes, in half-lives: of u/(1-u) cut at `_LONGEST`.
_MEAN_LIFE = 2.4

# Positions opened per second and unit of `crowding`, all assets together.
_OPENED_PER_S = 1.1
# USD of the smallest position, by the asset's size in `ASSETS`; the largest, in such.
_LEAST = 3.5
_MOST = 12_000.0
_FEE = 0.0005
# Who adds margin, and how much of the initial one at most.
_ADDS_MARGIN = 0.2
_MOST_ADDED = 0.6
# How far entries of the first positions lie from the first price: the deviation after a day.
_ENTRY_SPREAD = 0.02
_BELL = 1.7320508


class Position(NamedTuple):
    """One position: `key` orders the book, the nearest price first.

    `quantity` is in USD at the first price, `closes_s` when its holder closes it, in seconds from the start. Relative
    prices: where it is closed by force (`price_of_key`), and `bankruptcy`.
    """

    key: float
    closes_s: float
    quantity: float
    bankruptcy: float
    contract: int


@dataclass(slots=True)
class Book:
    """The positions of one asset: heaps, longs with the highest liquidation price first, shorts with the lowest."""

    longs: list[Position] = field(default_factory=list)
    shorts: list[Position] = field(default_factory=list)

    def forget(self, now_s: float) -> None:
        """Drop the positions that their holders have closed."""
        for heap in (self.longs, self.shorts):
            heap[:] = [position for position in heap if position.closes_s > now_s]
            heapify(heap)


class Traders:
    """Opens positions; all chance comes from `rng`."""

    def __init__(self, rng: Random, scenario: Scenario) -> None:
        self._rng, self._scenario = rng, scenario
        self._by_activity = list(accumulate(asset.activity for asset in ASSETS[:ASSET_COUNT]))
        self._by_leverage = list(accumulate(_WANTED))
        self._by_share = [list(accumulate(one.activity for one in listed)) for listed in listed_by_asset()]
        self._tiers = [tiers_of_asset(asset) for asset in range(ASSET_COUNT)]
        self.books = [Book() for _ in range(ASSET_COUNT)]

    def fill(self) -> None:
        """Make the books of the start: what was opened before and is still held."""
        draw = self._rng.random
        total, long_share = sum(_WANTED), self._scenario.phases[0].long_share
        for number, wanted in enumerate(_WANTED):
            half_s = _HOURS[number] * 3600
            held = _OPENED_PER_S * self._scenario.crowding * wanted / total * half_s * _MEAN_LIFE
            for _ in range(int(held)):
                life_s = half_s * _life(draw())
                age_s = life_s * draw()
                bell = (draw() + draw() + draw() + draw() - 2.0) * _BELL
                asset = bisect(self._by_activity, draw() * self._by_activity[-1])
                entry = 1.0 + ASSETS[asset].beta * _ENTRY_SPREAD * sqrt(age_s / 86_400) * bell
                self._open(asset, entry, 1.0, number, life_s - age_s, long_share)

    def trade(self, now_s: float, seconds: float, prices: Sequence[float], phase: Phase) -> None:
        """Open what is opened in so many seconds, at the present prices."""
        draw = self._rng.random
        count = int(_OPENED_PER_S * self._scenario.crowding * phase.openings * seconds + draw())
        for _ in range(count):
            asset = bisect(self._by_activity, draw() * self._by_activity[-1])
            number = bisect(self._by_leverage, draw() * self._by_leverage[-1])
            life_s = _HOURS[number] * 3600 * _life(draw())
            self._open(asset, prices[asset], prices[asset], number, now_s + life_s, phase.long_share)

    def _open(self, asset: int, entry: float, price: float, number: int, closes_s: float, long_share: float) -> None:
        draw = self._rng.random
        least_usd = ASSETS[asset].size_usd * _LEAST * self._scenario.size
        usd = min(least_usd / (1.0 - draw()), least_usd * _MOST)
        tiers = self._tiers[asset]
        leverage = min(LEVERAGES[number], tier_of(tiers, usd).most_leverage)
        long = draw() < long_share
        quantity = usd / entry
        extra_usd = usd / leverage * _MOST_ADDED * draw() if draw() < _ADDS_MARGIN else 0.0
        closed_at = settled_price(tiers, entry, leverage, quantity, long, extra_usd, _FEE)
        if closed_at is None or (closed_at >= price if long else closed_at <= price):
            return
        listed = listed_by_asset()[asset]
        sums = self._by_share[asset]
        contract = listed[bisect(sums, draw() * sums[-1])].index
        bankruptcy = bankruptcy_price(entry, leverage, quantity, long, extra_usd)
        book = self.books[asset]
        if long:
            heappush(book.longs, Position(-closed_at, closes_s, quantity, bankruptcy, contract))
        else:
            heappush(book.shorts, Position(closed_at, closes_s, quantity, bankruptcy, contract))


def _life(share: float) -> float:
    """Return a lifetime in half-lives: half are shorter than one, a few very long."""
    return min(share / (1.0 - share), _LONGEST)
