"""Minute candles of the simulated contracts, from the prices of the market and its forced orders.

They are those of the exchanges that the collector reads candles of. A contract trades its exchange's share of what its
asset trades; a forced order is one more trade, at its price, by whoever must buy or sell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import orjson

from pipeline.embedded.simulator.contracts import ASSETS, Contract
from pipeline.embedded.simulator.leverage.listings import ASSET_COUNT, SHARES, listings
from pipeline.embedded.simulator.leverage.scenarios import Scenario
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.messages import decimal_text, short_text
from pipeline.records import Candle

MINUTE_MS = 60_000
# The exchanges whose candles are collected, and the channel that each sends them on.
CHANNELS = {"binance": "kline", "bybit": "kline_linear", "okx": "candle1m"}
# Traded in a calm minute on the first of them, in USD by activity, and how much more with the minute's range (per 1 %).
_CALM_USD = 400_000.0
_PER_RANGE = 6.0
_DELAY_US = 150_000
_TRADE_USD = 1_500
_MICROS = 1_000_000
# Volumes have so many decimals of a listed unit.
_UNIT_DECIMALS = 3
_UNIT_STEPS = 1_000


class Candles:
    """Builds the candles of each minute."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._rngs = {name: Random(f"candles {name} {scenario.name} {seed}") for name in CHANNELS}  # noqa: S311 - a game
        self._contracts = [one for one in listings() if one.exchange in CHANNELS]
        self._down = [
            (one.exchange, scenario.start_ms + one.begin_s * 1000, scenario.start_ms + one.end_s * 1000)
            for one in scenario.outages
            if one.kind == "down"
        ]
        self._last = [asset.price_usd for asset in ASSETS[:ASSET_COUNT]]
        self._begin(list(self._last))

    def step(self, prices: Sequence[float], closures: Sequence[tuple[Contract, Closure]]) -> None:
        """Take the prices (USD) at the end of a step, and its forced orders."""
        for asset, price in enumerate(prices):
            self._low[asset] = min(self._low[asset], price)
            self._high[asset] = max(self._high[asset], price)
        for contract, closure in closures:
            if contract.exchange in CHANNELS:
                self._take(contract, closure)
        self._last = list(prices)

    def end(self, start_ms: int) -> Iterator[Candle]:
        """Yield the candles of the minute from `start_ms` on, which is over, and begin the next one.

        They are what the mapping makes of their messages. An exchange that is down has none.
        """
        end_ms = start_ms + MINUTE_MS
        down = {exchange for exchange, begin, end in self._down if start_ms < end and begin < end_ms}
        for contract in self._contracts:
            if contract.exchange not in down:
                yield self._candle(contract, start_ms)
        self._begin(list(self._last))

    def _take(self, contract: Contract, closure: Closure) -> None:
        micros = contract.notional_micros(closure.price_steps, closure.quantity_steps)
        low, high, sold, bought = self._forced.get(contract.index, (closure.price_steps, closure.price_steps, 0, 0))
        low, high = min(low, closure.price_steps), max(high, closure.price_steps)
        sold, bought = (sold + micros, bought) if closure.long else (sold, bought + micros)
        self._forced[contract.index] = low, high, sold, bought

    def _candle(self, contract: Contract, start_ms: int) -> Candle:
        asset, units = contract.asset, contract.listed_units
        steps = [
            max(1, round(price[asset] * units * contract.price_scale))
            for price in (self._open, self._high, self._low, self._last)
        ]
        low, high, sold, bought = self._forced.get(contract.index, (steps[2], steps[1], 0, 0))
        steps[1], steps[2] = max(steps[1], high), min(steps[2], low)
        spread = (self._high[asset] / self._low[asset] - 1.0) * 100
        share = SHARES[contract.exchange] / SHARES[next(iter(CHANNELS))]
        chance = 0.4 + 1.2 * self._rngs[contract.exchange].random()
        free = int(ASSETS[asset].activity * share * _CALM_USD * chance * (1.0 + _PER_RANGE * spread) * _MICROS)
        micros = free + sold + bought
        first, highest, lowest, last = (step / (contract.price_scale * units) for step in steps)
        on_binance = contract.exchange == "binance"
        return Candle(
            exchange=contract.exchange,
            symbol=contract.symbol,
            instrument=contract.instrument.instrument,
            asset=contract.instrument.asset,
            start=start_ms,
            open=first,
            high=highest,
            low=lowest,
            close=last,
            volume=_unit_steps(micros, steps[3], contract) * units / _UNIT_STEPS,
            volume_micros=micros,
            # Only this exchange says more than price and volume.
            taker_buy_micros=free // 2 + bought if on_binance else None,
            trades=1 + micros // (_TRADE_USD * _MICROS) if on_binance else None,
            closed=True,
            received_time=(start_ms + MINUTE_MS) * 1000 + _DELAY_US,
        )

    def _begin(self, prices: list[float]) -> None:
        self._open, self._low, self._high = prices, list(prices), list(prices)
        # By contract: lowest and highest price in steps, micro-dollars sold and bought by force.
        self._forced: dict[int, tuple[int, int, int, int]] = {}


def candle_message(contract: Contract, candle: Candle) -> bytes:
    """Return the message in which the contract's exchange tells a closed candle."""
    units, end_ms = contract.listed_units, candle.start + MINUTE_MS - 1
    first, highest, lowest, last = (
        short_text(round(price * units * contract.price_scale), contract.price_decimals)
        for price in (candle.open, candle.high, candle.low, candle.close)
    )
    coins = decimal_text(round(candle.volume / units * _UNIT_STEPS), _UNIT_DECIMALS)
    quote = decimal_text(candle.volume_micros, 6)
    if contract.exchange == "binance":
        bought = candle.taker_buy_micros or 0
        bought_coins = decimal_text(round(bought / candle.volume_micros * float(coins) * 1000), _UNIT_DECIMALS)
        kline = {"t": candle.start, "T": end_ms, "s": contract.symbol, "i": "1m", "f": 1, "L": candle.trades}
        kline |= {"o": first, "c": last, "h": highest, "l": lowest, "v": coins, "n": candle.trades, "x": True}
        kline |= {"q": quote, "V": bought_coins, "Q": decimal_text(bought, 6), "B": "0"}
        return orjson.dumps({"e": "kline", "E": end_ms + 1, "s": contract.symbol, "k": kline})
    if contract.exchange == "bybit":
        row = {"start": candle.start, "end": end_ms, "interval": "1", "open": first, "close": last, "high": highest}
        row |= {"low": lowest, "volume": coins, "turnover": quote, "confirm": True, "timestamp": end_ms + 1}
        topic = f"kline.1.{contract.symbol}"
        return orjson.dumps({"topic": topic, "data": [row], "ts": end_ms + 1, "type": "snapshot"})
    contracts = short_text(round(candle.volume / units / float(contract.contract_size) * 100), 2)
    values = [str(candle.start), first, highest, lowest, last, contracts, coins, quote, "1"]
    return orjson.dumps({"arg": {"channel": "candle1m", "instId": contract.symbol}, "data": [values]})


def _unit_steps(micros: int, close_steps: int, contract: Contract) -> int:
    """Return what was traded in thousandths of the listed unit, at the closing price."""
    return max(1, micros * contract.price_scale * _UNIT_STEPS // (close_steps * _MICROS))
