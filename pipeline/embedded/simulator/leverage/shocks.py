"""Shocks: news that moves the market or one asset within a minute or two, and makes further ones likely for a while.

They arrive by a self-exciting (Hawkes) process, `rules_and_formulas` 9: each shock raises the rate, which falls back
with a half-life of minutes. The branching ratio is `EXCITES / DECAY_PER_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from random import Random

from pipeline.embedded.simulator.contracts import ASSETS
from pipeline.embedded.simulator.leverage.listings import ASSET_COUNT

USUAL_PER_S = 1.2 / 3600
DECAY_PER_S = 1 / 900
EXCITES = 0.45 * DECAY_PER_S
# Share of shocks that move the whole market, and the move of the smallest, of a tail with exponent two.
_WHOLE_MARKET = 0.18
_MARKET_MOVE = 0.0022
_ASSET_MOVE = 0.007
_MOST = 6.0
_FALLS = 0.51


@dataclass(slots=True)
class _Shock:
    ends_s: float
    asset: int | None
    per_s: float


@dataclass(slots=True)
class Shocks:
    """Shocks under way; all chance comes from `rng`."""

    rng: Random
    size: float
    excitement: float = 0.0
    _shocks: list[_Shock] = field(default_factory=list)

    def step(self, now_s: float, seconds: float, usual: float) -> tuple[float, dict[int, float]]:
        """Return how far the market is moved in so many seconds, and by how much some assets are, beside it.

        `usual` multiplies the usual rate of new shocks.
        """
        draw = self.rng.random
        if draw() < (USUAL_PER_S * usual + self.excitement) * seconds:
            self.excitement += EXCITES
            self._shocks.append(self._new(now_s))
        self.excitement -= self.excitement * DECAY_PER_S * seconds
        market, assets = 0.0, dict[int, float]()
        if self._shocks:
            self._shocks = [shock for shock in self._shocks if shock.ends_s > now_s]
            for shock in self._shocks:
                if shock.asset is None:
                    market += shock.per_s * seconds
                else:
                    assets[shock.asset] = assets.get(shock.asset, 0.0) + shock.per_s * seconds
        return market, assets

    def _new(self, now_s: float) -> _Shock:
        draw = self.rng.random
        asset = None if draw() < _WHOLE_MARKET else int(draw() * ASSET_COUNT)
        share = 1.0 - draw()
        move = (_MARKET_MOVE if asset is None else _ASSET_MOVE * ASSETS[asset].beta) * self.size
        move *= min(_MOST, 1.0 / sqrt(share))
        lasts_s = 20.0 + 100.0 * draw()
        return _Shock(now_s + lasts_s, asset, (-move if draw() < _FALLS else move) / lasts_s)
