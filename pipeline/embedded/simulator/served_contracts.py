"""Contracts of the exchanges that only the server on loopback plays: BitMEX, HTX, Gate and Deribit.

Contract sizes follow the documented ones where `exchange_feeds` names them (XBTUSDT 1e-6 BTC, BTC_USDT 0.0001 BTC,
BTC-USD 100 USD, ...); the others are powers of ten that make one contract worth some dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from pipeline.embedded.simulator.contracts import ASSETS, Asset, Contract, contracts, price_decimals_of
from pipeline.records import Instrument

# Shares beside those of the recordings' three exchanges, which sum to one.
_SHARE = {"bitmex": 0.03, "htx": 0.06, "gate": 0.1, "deribit": 0.03}
_INVERSE_SHARE = 0.3
_MOST_USD = 40


@dataclass(frozen=True, slots=True)
class _Listing:
    """What an exchange lists: names by asset, and the documented sizes. `usd` is what an inverse contract is worth."""

    linear: dict[str, str]
    inverse: dict[str, str]
    sizes: dict[str, Fraction]
    usd: dict[str, int]
    quote: str


def _named(pattern: str, names: list[str]) -> dict[str, str]:
    return {name: pattern.format("XBT" if name == "BTC" and pattern == "{}USDT" else name) for name in names}


_LARGE = ["BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LINK", "LTC", "AVAX"]
_ALL = [asset.name for asset in ASSETS]

_LISTINGS = {
    "bitmex": _Listing(
        _named("{}USDT", _LARGE), {"BTC": "XBTUSD"}, {"BTC": Fraction(1, 1_000_000)}, {"BTC": 1}, "USDT"
    ),
    "htx": _Listing(
        _named("{}-USDT", _ALL[:25]),
        _named("{}-USD", _LARGE[:4]),
        {"BTC": Fraction(1, 1000), "ETH": Fraction(1, 100)},
        {"BTC": 100, "ETH": 10, "SOL": 10, "XRP": 10},
        "USDT",
    ),
    "gate": _Listing(
        _named("{}_USDT", _ALL),
        {"BTC": "BTC_USD"},
        {"BTC": Fraction(1, 10_000), "ETH": Fraction(1, 100)},
        {"BTC": 1},
        "USDT",
    ),
    "deribit": _Listing(
        _named("{}_USDC-PERPETUAL", _LARGE[2:]),
        {"BTC": "BTC-PERPETUAL", "ETH": "ETH-PERPETUAL"},
        {},
        {"BTC": 10, "ETH": 1},
        "USDC",
    ),
}


@cache
def served_contracts() -> tuple[Contract, ...]:
    """Return all contracts that the server plays, those of the recordings first; `index` is the position."""
    found = list(contracts())
    for number, asset in enumerate(ASSETS):
        for exchange, listing in _LISTINGS.items():
            activity = asset.activity * _SHARE[exchange]
            linear, inverse = listing.linear.get(asset.name), listing.inverse.get(asset.name)
            if inverse is not None:
                share = _INVERSE_SHARE if linear is not None else 1.0
                size = Fraction(listing.usd[asset.name])
                found.append(_contract(len(found), number, exchange, inverse, activity * share, size, "USD"))
            if linear is not None:
                share = 1.0 - (_INVERSE_SHARE if inverse is not None else 0.0)
                size = listing.sizes.get(asset.name) or _size_of(asset)
                found.append(_contract(len(found), number, exchange, linear, activity * share, size, listing.quote))
    return tuple(found)


def _contract(
    index: int, number: int, exchange: str, symbol: str, activity: float, size: Fraction, quote: str
) -> Contract:
    asset = ASSETS[number]
    inverse = quote == "USD"
    return Contract(
        index=index,
        asset=number,
        exchange=exchange,
        channel="inverse" if inverse else "linear",
        symbol=symbol,
        pair=symbol,
        instrument=Instrument(
            exchange=exchange,
            symbol=symbol,
            instrument=f"{asset.name}-{quote}-PERP",
            asset=asset.name,
            quote=quote,
            settle=asset.name if inverse else quote,
            margin="inverse" if inverse else "linear",
            contract_size=float(size),
        ),
        activity=activity,
        price_decimals=price_decimals_of(asset.price_usd),
        quantity_decimals=0,
        listed_units=1.0,
        contract_size=size,
    )


def _size_of(asset: Asset) -> Fraction:
    """Return the largest power of ten of base units that is worth no more than some dollars."""
    size = Fraction(1)
    while asset.price_usd * size > _MOST_USD:
        size /= 10
    while asset.price_usd * size * 10 <= _MOST_USD:
        size *= 10
    return size
