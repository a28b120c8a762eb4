"""Prices, candles and open interest of the served market, as far as its forced closures tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.embedded.simulator.contracts import ASSETS, Contract
from pipeline.embedded.simulator.market import Closure

_MINUTE_MS = 60_000
# Usual trade of an asset in USD per second and part of activity, of which this much is bought by takers.
_USD_PER_S = 9_000.0
_BOUGHT = 0.48
_OPEN_INTEREST_S = 20_000


@dataclass(slots=True)
class Candle:
    """One minute: `start_ms`, prices, and volume in coins and USD."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    base: float = 0.0
    usd: float = 0.0

    @property
    def bought_base(self) -> float:
        """Return the volume of buying takers in coins."""
        return self.base * _BOUGHT

    @property
    def bought_usd(self) -> float:
        """Return the volume of buying takers in USD."""
        return self.usd * _BOUGHT


@dataclass(slots=True)
class Quote:
    """What is known of a contract now.

    `open_base` is its open interest in coins, of one side; `closed` the last finished minute.
    """

    price: float
    usd_per_s: float
    open_base: float
    candle: Candle
    closed: Candle | None = None


class Tape:
    """The quotes of all contracts by exchange and symbol. A price is that of the last forced closure."""

    def __init__(self, listed: Sequence[Contract], start_ms: int) -> None:
        self.contracts = listed
        self.quotes: dict[tuple[str, str], Quote] = {}
        for contract in listed:
            price = ASSETS[contract.asset].price_usd * contract.listed_units
            usd_per_s = contract.activity * _USD_PER_S
            minute = start_ms - start_ms % _MINUTE_MS
            self.quotes[contract.exchange, contract.symbol] = Quote(
                price, usd_per_s, usd_per_s * _OPEN_INTEREST_S / price, Candle(minute, price, price, price, price)
            )

    def of(self, exchange: str) -> list[tuple[Contract, Quote]]:
        """Return an exchange's contracts with what is known of them."""
        return [
            (contract, self.quotes[exchange, contract.symbol])
            for contract in self.contracts
            if contract.exchange == exchange
        ]

    def trade(self, contract: Contract, closure: Closure) -> None:
        """Take the price of a closure."""
        quote = self.quotes[contract.exchange, contract.symbol]
        quote.price = price = closure.price_steps / contract.price_scale
        candle = quote.candle
        candle.close, candle.high, candle.low = price, max(candle.high, price), min(candle.low, price)

    def second(self, start_ms: int) -> None:
        """Let the second that starts here pass: usual trade goes on, and minutes end."""
        minute = start_ms - start_ms % _MINUTE_MS
        for quote in self.quotes.values():
            if quote.candle.start_ms != minute:
                quote.closed = quote.candle
                quote.candle = Candle(minute, quote.price, quote.price, quote.price, quote.price)
            quote.candle.usd += quote.usd_per_s
            quote.candle.base += quote.usd_per_s / quote.price
