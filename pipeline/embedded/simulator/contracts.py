"""What is traded in the simulated market: assets, and their contracts on the three exchanges.

Price levels, tick and lot sizes are of the order of the real ones; contract sizes follow the exchanges' documented ones
where the contract exists there. The table is the whole truth of the simulated market: the same numbers write the
messages and make the instrument records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from pipeline.records import Instrument, Margin


@dataclass(frozen=True, slots=True)
class Asset:
    """One coin.

    `price_usd` at the start; `activity` is its share of all liquidations, in parts of the sum; `beta` is
    how strongly it moves with the market; `size_usd` is the smallest usual liquidation, from which the tail rises.
    `okx_contract` is base units per OKX contract as decimal text, None where OKX does not list it.
    """

    name: str
    price_usd: float
    activity: float
    beta: float
    size_usd: float
    okx_contract: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract on one exchange, with what is needed to write its messages.

    A price is a whole number of `10 ** -price_decimals`, a quantity a whole number of `10 ** -quantity_decimals`, both
    of the listed unit, of which one holds `listed_units` base units (1000 for 1000PEPE). One quantity of 1 is
    `contract_size` listed units when linear, USD when inverse.
    """

    index: int
    asset: int
    exchange: str
    channel: str
    symbol: str
    pair: str
    instrument: Instrument
    activity: float
    price_decimals: int
    quantity_decimals: int
    listed_units: float
    contract_size: Fraction
    inverse: bool = field(init=False)
    price_scale: int = field(init=False)
    units_per_step: float = field(init=False)
    _micros_numerator: int = field(init=False)
    _micros_divisor: int = field(init=False)

    def __post_init__(self) -> None:
        """Keep what every closure needs; `units_per_step` is listed units (linear) or USD (inverse) in one step."""
        inverse = self.instrument.margin == "inverse"
        price_scale, quantity_scale = int(10**self.price_decimals), int(10**self.quantity_decimals)
        micros = self.contract_size * 1_000_000 / (quantity_scale * (1 if inverse else price_scale))
        object.__setattr__(self, "inverse", inverse)
        object.__setattr__(self, "price_scale", price_scale)
        object.__setattr__(self, "units_per_step", float(self.contract_size / quantity_scale))
        object.__setattr__(self, "_micros_numerator", micros.numerator)
        object.__setattr__(self, "_micros_divisor", micros.denominator)

    def notional_micros(self, price_steps: int, quantity_steps: int) -> int:
        """Return the exact value in USD x 1e-6, half to even."""
        exact = quantity_steps * self._micros_numerator
        whole, rest = divmod(exact if self.inverse else exact * price_steps, self._micros_divisor)
        up = 2 * rest > self._micros_divisor or (2 * rest == self._micros_divisor and whole % 2 == 1)
        return whole + 1 if up else whole


ASSETS = (
    Asset("BTC", 82_400.0, 24.0, 0.85, 900, "0.01"),
    Asset("ETH", 3_120.0, 21.0, 1.1, 700, "0.1"),
    Asset("SOL", 148.0, 9.0, 1.35, 420, "1"),
    Asset("XRP", 1.49, 6.0, 1.2, 330, "100"),
    Asset("DOGE", 0.1412, 4.5, 1.45, 260, "1000"),
    Asset("BNB", 742.0, 2.2, 0.8, 300, "0.01"),
    Asset("ADA", 0.412, 2.3, 1.35, 200, "100"),
    Asset("AVAX", 14.62, 1.9, 1.4, 200, "1"),
    Asset("LINK", 13.88, 2.2, 1.35, 220, "1"),
    Asset("LTC", 84.7, 1.6, 1.1, 200, "1"),
    Asset("BCH", 512.0, 1.3, 1.05, 200, "0.1"),
    Asset("DOT", 2.214, 1.2, 1.35, 150, "1"),
    Asset("UNI", 5.938, 1.2, 1.4, 160, "1"),
    Asset("AAVE", 171.3, 1.3, 1.4, 190, "0.1"),
    Asset("SUI", 1.642, 2.6, 1.55, 210, "1"),
    Asset("APT", 1.937, 1.0, 1.45, 130, "1"),
    Asset("ARB", 0.2184, 1.1, 1.5, 130, "10"),
    Asset("OP", 0.3361, 1.0, 1.5, 130, "1"),
    Asset("NEAR", 1.731, 1.0, 1.4, 140, "10"),
    Asset("INJ", 5.122, 0.8, 1.5, 120, "0.1"),
    Asset("TIA", 0.5893, 0.8, 1.5, 110, "1"),
    Asset("SEI", 0.1247, 0.8, 1.5, 110, "10"),
    Asset("FIL", 1.382, 0.8, 1.4, 110, "0.1"),
    Asset("ETC", 13.07, 0.8, 1.2, 120, "10"),
    Asset("ATOM", 2.233, 0.7, 1.2, 110, "1"),
    Asset("TRX", 0.2861, 0.8, 0.5, 150, "1000"),
    Asset("TON", 1.564, 0.9, 1.2, 130, "1"),
    Asset("HBAR", 0.1318, 1.0, 1.4, 130, "100"),
    Asset("PEPE", 0.00000462, 2.4, 1.7, 180, "10000000"),
    Asset("SHIB", 0.00000843, 1.3, 1.5, 150, "1000000"),
    Asset("WIF", 0.3719, 1.2, 1.8, 140, "1"),
    Asset("BONK", 0.00000932, 1.0, 1.7, 130, "100000"),
    Asset("FARTCOIN", 0.2846, 1.3, 2.0, 150, None),
    Asset("ENA", 0.2391, 1.3, 1.7, 140, "10"),
    Asset("HYPE", 33.41, 2.0, 1.4, 220, "0.1"),
    Asset("WLD", 0.6132, 1.0, 1.6, 120, "1"),
    Asset("ONDO", 0.4207, 0.9, 1.5, 120, "10"),
    Asset("CRV", 0.3714, 0.8, 1.5, 110, "1"),
    Asset("1INCH", 0.1768, 0.4, 1.3, 80, "1"),
    Asset("ILV", 3.861, 0.3, 1.4, 70, None),
)

# How the exchanges share the market.
_SHARE = {"binance": 0.42, "bybit": 0.34, "okx": 0.24}

# Listings of many base units at once, as the exchange spells them: (symbol, base units in one listed unit).
_MULTIPLIED = {
    ("binance", "PEPE"): ("1000PEPEUSDT", 1000),
    ("binance", "SHIB"): ("1000SHIBUSDT", 1000),
    ("binance", "BONK"): ("1000BONKUSDT", 1000),
    ("bybit", "PEPE"): ("1000PEPEUSDT", 1000),
    ("bybit", "SHIB"): ("SHIB1000USDT", 1000),
    ("bybit", "BONK"): ("1000BONKUSDT", 1000),
}

# Coin-margined contracts: USD per contract on Binance and OKX; Bybit counts in USD. Small beside the linear ones.
_INVERSE = {"BTC": 100, "ETH": 10, "SOL": 10, "XRP": 10, "DOGE": 10}
_INVERSE_SHARE = 0.06


@cache
def contracts() -> tuple[Contract, ...]:
    """Return every contract of the simulated market; `index` is the position in this tuple."""
    found: list[Contract] = []
    for number, asset in enumerate(ASSETS):
        for exchange, share in _SHARE.items():
            if exchange == "okx" and asset.okx_contract is None:
                continue
            inverse_usd = _INVERSE.get(asset.name)
            activity = asset.activity * share
            linear = activity if inverse_usd is None else activity * (1 - _INVERSE_SHARE)
            found.append(_linear(len(found), number, asset, exchange, linear))
            if inverse_usd is not None:
                found.append(_inverse(len(found), number, asset, exchange, activity * _INVERSE_SHARE, inverse_usd))
    return tuple(found)


def instruments() -> list[Instrument]:
    """Return the metadata of every simulated contract, as the exchanges' metadata endpoints would give it."""
    return [contract.instrument for contract in contracts()]


def _linear(index: int, number: int, asset: Asset, exchange: str, activity: float) -> Contract:
    symbol, multiplier = _MULTIPLIED.get((exchange, asset.name), (f"{asset.name}USDT", 1))
    size: str | None = None
    if exchange == "okx":
        symbol, size = f"{asset.name}-USDT-SWAP", asset.okx_contract
    contract_size = Fraction(size or 1)
    listed_price = asset.price_usd * multiplier
    price_decimals = price_decimals_of(listed_price)
    return Contract(
        index=index,
        asset=number,
        exchange=exchange,
        channel={"binance": "forceOrder", "bybit": "linear", "okx": "SWAP"}[exchange],
        symbol=symbol,
        pair=symbol.removesuffix("-SWAP"),
        instrument=_instrument(asset, exchange, symbol, "USDT", "linear", size, multiplier),
        activity=activity,
        price_decimals=price_decimals,
        quantity_decimals=_quantity_decimals(listed_price * float(contract_size)),
        listed_units=float(multiplier),
        contract_size=contract_size,
    )


def _inverse(index: int, number: int, asset: Asset, exchange: str, activity: float, usd: int) -> Contract:
    symbol = {
        "binance": f"{asset.name}USD_PERP",
        "bybit": f"{asset.name}USD",
        "okx": f"{asset.name}-USD-SWAP",
    }[exchange]
    contract_usd = 1 if exchange == "bybit" else usd
    return Contract(
        index=index,
        asset=number,
        exchange=exchange,
        channel={"binance": "forceOrder", "bybit": "inverse", "okx": "SWAP"}[exchange],
        symbol=symbol,
        pair=symbol.removesuffix("_PERP").removesuffix("-SWAP"),
        instrument=_instrument(asset, exchange, symbol, "USD", "inverse", str(contract_usd), 1),
        activity=activity,
        price_decimals=price_decimals_of(asset.price_usd),
        quantity_decimals=0,
        listed_units=1.0,
        contract_size=Fraction(contract_usd),
    )


def _instrument(
    asset: Asset, exchange: str, symbol: str, quote: str, margin: Margin, size: str | None, multiplier: int
) -> Instrument:
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        instrument=f"{asset.name}-{quote}-PERP",
        asset=asset.name,
        quote=quote,
        settle=asset.name if margin == "inverse" else quote,
        margin=margin,
        contract_size=None if size is None else float(size),
        asset_multiplier=float(multiplier),
    )


def price_decimals_of(price: float) -> int:
    """Return the decimals that show about six digits of a price."""
    decimals, level = 0, price
    while level < 10_000:  # noqa: PLR2004 - five digits, and one more below
        decimals, level = decimals + 1, level * 10
    return decimals + 1


def _quantity_decimals(usd: float) -> int:
    """Return the decimals that make one step of a quantity worth a few dollars, at most three."""
    decimals, step = 0, usd
    while step > 8 and decimals < 3:  # noqa: PLR2004 - dollars, decimals
        decimals, step = decimals + 1, step / 10
    return decimals
