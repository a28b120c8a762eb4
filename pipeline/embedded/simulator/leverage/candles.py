"""Minute candles of the simulated contracts of one exchange, from the prices of the market."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from pipeline.embedded.simulator.contracts import ASSETS, Contract
from pipeline.embedded.simulator.leverage.listings import ASSET_COUNT, listings
from pipeline.embedded.simulator.market import Closure
from pipeline.records import Candle

EXCHANGE = "binance"
MINUTE_MS = 60_000
# Traded in a calm minute, in USD by activity, and how much more with the minute's range (per 1 %).
_CALM_USD = 400_000.0
_PER_RANGE = 6.0
_DELAY_US = 150_000


class Candles:
    """Builds the candles of each minute; a forced order's price belongs to the range, its USD to the volume."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._contracts = [one for one in listings() if one.exchange == EXCHANGE]
        self._last = [asset.price_usd for asset in ASSETS[:ASSET_COUNT]]
        self._begin(list(self._last))

    def step(self, prices: Sequence[float], closures: Sequence[tuple[Contract, Closure]]) -> None:
        """Take the prices (USD) at the end of a step, and its forced orders."""
        for asset, price in enumerate(prices):
            self._low[asset] = min(self._low[asset], price)
            self._high[asset] = max(self._high[asset], price)
        for contract, closure in closures:
            if contract.exchange == EXCHANGE:
                asset = contract.asset
                price = closure.price_steps / contract.price_scale / contract.listed_units
                self._low[asset] = min(self._low[asset], price)
                self._high[asset] = max(self._high[asset], price)
                self._forced[asset] += contract.notional_micros(closure.price_steps, closure.quantity_steps)
        self._last = list(prices)

    def end(self, start_ms: int) -> Iterator[Candle]:
        """Yield the candles of the minute from `start_ms` on, which is over, and begin the next one."""
        for contract in self._contracts:
            asset, units = contract.asset, contract.listed_units
            opened, closed = self._open[asset], self._last[asset]
            low, high = self._low[asset], self._high[asset]
            spread = (high / low - 1.0) * 100
            usd = ASSETS[asset].activity * _CALM_USD * (0.4 + 1.2 * self._rng.random()) * (1.0 + _PER_RANGE * spread)
            micros = int(usd * 1e6) + self._forced[asset]
            instrument = contract.instrument
            yield Candle(
                exchange=EXCHANGE,
                symbol=contract.symbol,
                instrument=instrument.instrument,
                asset=instrument.asset,
                start=start_ms,
                open=opened * units,
                high=high * units,
                low=low * units,
                close=closed * units,
                volume=micros / 1e6 / closed,
                volume_micros=micros,
                taker_buy_micros=None,
                trades=None,
                closed=True,
                received_time=(start_ms + MINUTE_MS) * 1000 + _DELAY_US,
            )
        self._begin(list(self._last))

    def _begin(self, prices: list[float]) -> None:
        self._open, self._low, self._high = prices, list(prices), list(prices)
        self._forced = [0] * len(prices)
