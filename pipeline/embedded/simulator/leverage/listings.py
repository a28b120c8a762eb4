"""What is traded: thirty assets on six exchanges, linear perpetual contracts with the symbols of the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from pipeline.embedded.simulator.contracts import ASSETS, Contract, contracts
from pipeline.embedded.simulator.leverage.tiers import LARGE, MIDDLE, SMALL, Tier
from pipeline.embedded.simulator.served_contracts import served_contracts
from pipeline.records import Instrument

ASSET_COUNT = 30
# How the exchanges share the positions, and the channel on which each shows what it closes.
SHARES = {"binance": 0.36, "bybit": 0.22, "okx": 0.16, "bitget": 0.11, "gate": 0.1, "htx": 0.05}
CHANNELS = {
    "binance": "forceOrder",
    "bybit": "linear",
    "okx": "SWAP",
    "bitget": "liquidation",
    "gate": "usdt",
    "htx": "linear",
}
_MIDDLE_ACTIVITY = 2.2
_LARGE_ACTIVITY = 20.0


@cache
def listings() -> tuple[Contract, ...]:
    """Return every contract; `index` is the position in this tuple, `asset` that in `ASSETS`."""
    found = [contract for contract in (*contracts(), *_gate_and_htx(), *_bitget()) if _is_listed(contract)]
    return tuple(
        replace(
            contract,
            index=index,
            channel=CHANNELS[contract.exchange],
            activity=ASSETS[contract.asset].activity * SHARES[contract.exchange],
        )
        for index, contract in enumerate(found)
    )


@cache
def listed_by_asset() -> tuple[tuple[Contract, ...], ...]:
    """Return the contracts of each asset."""
    return tuple(tuple(one for one in listings() if one.asset == asset) for asset in range(ASSET_COUNT))


def tiers_of_asset(asset: int) -> tuple[Tier, ...]:
    """Return the tiers of the asset's contracts, the same on all exchanges."""
    activity = ASSETS[asset].activity
    return LARGE if activity >= _LARGE_ACTIVITY else MIDDLE if activity >= _MIDDLE_ACTIVITY else SMALL


def _is_listed(contract: Contract) -> bool:
    return contract.asset < ASSET_COUNT and not contract.inverse


def _gate_and_htx() -> Iterator[Contract]:
    return (contract for contract in served_contracts() if contract.exchange in {"gate", "htx"})


def _bitget() -> Iterator[Contract]:
    """Yield contracts like Bybit's, but each in single coins."""
    for contract in contracts():
        if contract.exchange != "bybit" or contract.inverse:
            continue
        asset = ASSETS[contract.asset]
        single = contract.listed_units == 1.0
        symbol = f"{asset.name}USDT"
        yield replace(
            contract,
            exchange="bitget",
            symbol=symbol,
            pair=symbol,
            instrument=Instrument(
                exchange="bitget",
                symbol=symbol,
                instrument=f"{asset.name}-USDT-PERP",
                asset=asset.name,
                quote="USDT",
                settle="USDT",
                margin="linear",
            ),
            listed_units=1.0,
            price_decimals=contract.price_decimals if single else contract.price_decimals + 3,
            quantity_decimals=contract.quantity_decimals if single else 0,
        )
