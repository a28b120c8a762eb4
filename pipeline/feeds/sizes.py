"""How much was closed: base units, the price of one of them, and the value in whole micro-dollars.

The three ways in which exchanges write a size are in `exchange_feeds`, section 2: units of the coin, contracts of a
fixed number of coins (linear), contracts of a fixed number of USD (inverse). Products are exact decimals; only the
results become a float or whole micro-dollars.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from pipeline.feeds.numbers import exact
from pipeline.records import Instrument, RefusedError, micros

# Twice the longest numbers that are read, so that no product is rounded.
_EXACT = Context(prec=200)
_MICRO = Decimal("0.000001")
# What fits into the 64 bits of notional_micros.
_MOST_USD = Decimal(2**63 - 1) * _MICRO


class Size(NamedTuple):
    """A size in base units, the price of one base unit, and the value."""

    quantity: float
    price: float
    notional_micros: int


def size_of(instrument: Instrument, quantity: Decimal, price: Decimal, contract_size: float | None) -> Size:
    """Return the size of `quantity`, as the exchange wrote it, at `price`.

    Linear: `quantity` counts contracts of `contract_size` units of the listed name, or those units themselves if it is
    None; value = units x price. Inverse: it counts contracts of `contract_size` USD, which must be known; value =
    contracts x USD, units = value / price. A unit of a multiplied listing is `asset_multiplier` base units; the value
    is the same either way.
    """
    if instrument.margin == "linear":
        units = quantity if contract_size is None else _EXACT.multiply(quantity, exact(contract_size))
        notional = _EXACT.multiply(units, price)
    elif instrument.margin == "inverse":
        if contract_size is None:
            raise unknown_contract_size(instrument)
        notional = _EXACT.multiply(quantity, exact(contract_size))
        units = notional / price
    else:
        raise _unsupported_margin(instrument)
    return _size(instrument, units, price, notional)


def size_of_value(instrument: Instrument, value: Decimal, price: Decimal) -> Size:
    """Return the size of what is worth `value` USD at `price`, where an exchange writes sizes as money."""
    if instrument.margin == "quanto":
        raise _unsupported_margin(instrument)
    return _size(instrument, value / price, price, value)


def order_price_of(instrument: Instrument, order_price: Decimal | None) -> float | None:
    """Return the order's price for one base unit."""
    if order_price is None:
        return None
    if instrument.asset_multiplier != 1:
        order_price /= exact(instrument.asset_multiplier)
    return float(order_price)


def known_contract_size(instrument: Instrument) -> float:
    """Return the contract size, or refuse: it is never assumed."""
    if instrument.contract_size is None:
        raise unknown_contract_size(instrument)
    return instrument.contract_size


def unknown_contract_size(instrument: Instrument) -> RefusedError:
    """Return the refusal of a contract whose size nobody gave."""
    return RefusedError(
        "unknown_contract_size",
        f"{instrument.exchange} counts {instrument.symbol!r} in contracts, and no metadata gives their size",
    )


def money_of(usd: Decimal) -> int:
    """Return USD that an exchange gives as such in whole micro-dollars, or refuse what no sum can be."""
    if usd >= _MOST_USD:
        raise RefusedError("bad_number", f"{usd} USD is more money than there is")
    return micros(usd.quantize(_MICRO, rounding=ROUND_HALF_EVEN, context=_EXACT))


def _size(instrument: Instrument, units: Decimal, price: Decimal, notional: Decimal) -> Size:
    usd_micros = money_of(notional)
    if instrument.asset_multiplier != 1:
        multiplier = exact(instrument.asset_multiplier)
        units, price = units * multiplier, price / multiplier
    return Size(float(units), float(price), usd_micros)


def _unsupported_margin(instrument: Instrument) -> RefusedError:
    return RefusedError(
        "unsupported_margin", f"{instrument.symbol!r} is {instrument.margin}: its value in USD needs another price"
    )
