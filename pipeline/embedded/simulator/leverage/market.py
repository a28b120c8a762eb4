"""Prices, and the forced orders that they make and that move them.

Every `STEP_S` seconds the price of each asset moves with the market factor, by itself and by shocks. Forced orders push
it further: an order of the USD that the book holds within one per cent moves it by one per cent. That pressure fades,
and a part of it stays. Where a price reaches positions, the step is played in halves of a second: the orders of one are
executed, and the price they leave meets the next positions in the next. Nothing else makes a cascade.

An order is `caused` when the price without the pressure of orders before it would not have reached the position.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop
from math import sqrt
from random import Random
from typing import NamedTuple

from pipeline.embedded.simulator.contracts import ASSETS
from pipeline.embedded.simulator.leverage.listings import ASSET_COUNT, listings
from pipeline.embedded.simulator.leverage.scenarios import Phase, Scenario
from pipeline.embedded.simulator.leverage.shocks import Shocks
from pipeline.embedded.simulator.leverage.traders import Position, Traders
from pipeline.embedded.simulator.market import Closure

STEP_S = 5
_PARTS = 10
_PART_MS = STEP_S * 1000 // _PARTS

# Movement in one step: of the market factor (about 2.2 % a day), and of an asset beside it.
_MARKET_STEP = 0.00013
_OWN_STEP = 0.00016
_BELL = 1.7320508
_WIDE = 0.01
_WIDER = 4.0
# USD within one per cent of the price: this times activity times its root.
_DEPTH_USD = 2_200_000.0
# Buyers of the fall: this far from where orders pushed it from, the book is twice as deep.
_WORTH = 0.06
# What is left of the pressure after a part and after a step, and how much of what goes stays in the price.
_KEPT_PART = 0.9975
_KEPT_STEP = 0.975
_STAYS = 0.25
_LEAST_PRESSURE = 0.0001
# How far all assets follow one that is pushed, by its share of the market: collateral and hedges are shared.
_SPILLS = 0.3
_MOST_PRESSURE = 0.8
# An exchange's engine closes one position after the other: so many of an asset in a part, and more by its activity.
_MOST_PER_PART = 6
_MOST_BY_ACTIVITY = 3.0
_FORGET_EVERY_S = 6 * 3600


class Forced(NamedTuple):
    """One forced order, and whether the pressure of earlier ones brought the price to it."""

    closure: Closure
    caused: bool


class Step(NamedTuple):
    """Some seconds of market: start (ms), forced orders in order of time, and the assets' prices (USD) at the end."""

    start_ms: int
    forced: list[Forced]
    prices: list[float]


def steps(scenario: Scenario, seed: int) -> Iterator[Step]:
    """Yield the whole scenario, step by step; the same seed gives the same market."""
    return _Market(scenario, seed).play()


class _Market:
    """Prices relative to the start: `_level` without the pressure of forced orders, `_pressure` as a share of it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        name = f"{scenario.name} {seed}"
        self._rng = Random(f"prices {name}")  # noqa: S311 - a game, no secret
        self._orders_rng = Random(f"orders {name}")  # noqa: S311
        self._shocks = Shocks(Random(f"shocks {name}"), scenario.shock_size)  # noqa: S311
        self._traders = Traders(Random(f"traders {name}"), scenario)  # noqa: S311
        self._level = [1.0] * ASSET_COUNT
        self._pressure = [0.0] * ASSET_COUNT
        self._depth = [_DEPTH_USD * asset.activity * sqrt(asset.activity) for asset in ASSETS[:ASSET_COUNT]]
        self._beta = [asset.beta for asset in ASSETS[:ASSET_COUNT]]
        self._most = [_MOST_PER_PART + int(_MOST_BY_ACTIVITY * asset.activity) for asset in ASSETS[:ASSET_COUNT]]
        total = sum(asset.activity for asset in ASSETS[:ASSET_COUNT])
        self._weight = [asset.activity / total for asset in ASSETS[:ASSET_COUNT]]
        self._spill = 0.0
        self._hot = [False] * ASSET_COUNT

    def play(self) -> Iterator[Step]:
        self._traders.fill()
        phases = list(self._scenario.phases)
        phase = phases.pop(0)
        for now_s in range(0, self._scenario.seconds, STEP_S):
            while phases and phases[0].at_s <= now_s:
                phase = phases.pop(0)
            if now_s % _FORGET_EVERY_S == 0:
                for book in self._traders.books:
                    book.forget(now_s)
            forced = self._step(now_s, phase)
            prices = [level * (1.0 + push) for level, push in zip(self._level, self._pressure, strict=True)]
            self._traders.trade(now_s + STEP_S, STEP_S, prices, phase)
            usd = [ASSETS[asset].price_usd * price for asset, price in enumerate(prices)]
            yield Step(self._scenario.start_ms + now_s * 1000, _in_order(forced), usd)

    def _step(self, now_s: int, phase: Phase) -> list[Forced]:
        draw = self._rng.random
        volatility = phase.volatility
        shock, shocked = self._shocks.step(now_s, STEP_S, phase.shocks)
        wide = _WIDER if draw() < _WIDE else 1.0
        bell = (draw() + draw() + draw() + draw() - 2.0) * _BELL * wide
        factor = phase.drift_per_minute * STEP_S / 60 + _MARKET_STEP * volatility * bell + shock + self._spill
        self._spill = 0.0
        own_step = _OWN_STEP * volatility * _BELL
        level, pressure, books, beta, hot = self._level, self._pressure, self._traders.books, self._beta, self._hot
        forced: list[Forced] = []
        for asset in range(ASSET_COUNT):
            before = level[asset]
            move = beta[asset] * (factor + own_step * (draw() + draw() + draw() + draw() - 2.0))
            if asset in shocked:
                move += shocked[asset]
            after = level[asset] = before * (1.0 + move)
            push = pressure[asset]
            price = after * (1.0 + push)
            book = books[asset]
            reached = (book.longs and -book.longs[0].key >= price) or (book.shorts and book.shorts[0].key <= price)
            if reached or hot[asset]:
                count = len(forced)
                self._forced_flow(forced, asset, now_s, before, after, phase.depth)
                hot[asset] = len(forced) > count
            elif push:
                self._fade(asset, push, _KEPT_STEP)
        return forced

    def _forced_flow(
        self, forced: list[Forced], asset: int, now_s: int, before: float, after: float, depth: float
    ) -> None:
        """Play a step in parts: what the price reaches is executed, and moves the price of the next part."""
        book, depth_usd = self._traders.books[asset], self._depth[asset] * depth
        drift = 1.0
        for part in range(_PARTS):
            level = (before + (after - before) * (part + 1) / _PARTS) * drift
            push = self._pressure[asset]
            price = level * (1.0 + push)
            at_ms = self._scenario.start_ms + now_s * 1000 + part * _PART_MS
            flow, most = 0.0, self._most[asset]
            longs, shorts = book.longs, book.shorts
            while most and longs and -longs[0].key >= price:
                position = heappop(longs)
                if position.closes_s > now_s:
                    most -= 1
                    caused = push < -_LEAST_PRESSURE and -position.key < level
                    forced.append(Forced(self._closure(asset, position, price, at_ms, long=True), caused))
                    flow -= position.quantity * price
            while most and shorts and shorts[0].key <= price:
                position = heappop(shorts)
                if position.closes_s > now_s:
                    most -= 1
                    caused = push > _LEAST_PRESSURE and position.key > level
                    forced.append(Forced(self._closure(asset, position, price, at_ms, long=False), caused))
                    flow += position.quantity * price
            if push or flow:
                deeper = push / _WORTH
                moved = flow / (depth_usd * (1.0 + deeper * deeper)) * 0.01
                kept = push * _KEPT_PART
                drift *= 1.0 + _STAYS * (push - kept)
                pushed = self._pressure[asset] = max(-_MOST_PRESSURE, min(_MOST_PRESSURE, kept + moved))
                self._spill += (pushed - push) * self._weight[asset] * _SPILLS
        self._level[asset] = after * drift

    def _fade(self, asset: int, push: float, kept: float) -> None:
        left = push * kept if abs(push) > _LEAST_PRESSURE / 10 else 0.0
        self._level[asset] *= 1.0 + _STAYS * (push - left)
        self._pressure[asset] = left
        self._spill += (left - push) * self._weight[asset] * _SPILLS

    def _closure(self, asset: int, position: Position, price: float, at_ms: int, *, long: bool) -> Closure:
        draw = self._orders_rng.random
        contract = listings()[position.contract]
        first_usd = ASSETS[asset].price_usd
        scale = first_usd * contract.listed_units * contract.price_scale
        filled = price * (1.0 + (draw() - 0.5) * 0.0006)
        quantity = position.quantity / (first_usd * contract.listed_units * contract.units_per_step)
        return Closure(
            at_ms + int(draw() * _PART_MS),
            contract.index,
            long,
            int(filled * scale) + 1,
            int(position.bankruptcy * scale) + 1,
            max(1, int(quantity)),
        )


def _in_order(forced: list[Forced]) -> list[Forced]:
    """Return forced orders in order of time, no two of a contract and position in one millisecond."""
    if not forced:
        return forced
    taken: set[tuple[int, int, bool]] = set()
    found = []
    for one in sorted(forced):
        closure = one.closure
        time_ms = closure.time_ms
        while (time_ms, closure.contract, closure.long) in taken:
            time_ms += 1
        taken.add((time_ms, closure.contract, closure.long))
        found.append(one if time_ms == closure.time_ms else Forced(closure._replace(time_ms=time_ms), one.caused))
    found.sort()
    return found
