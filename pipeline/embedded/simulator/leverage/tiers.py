"""Margin tiers, and the price at which a position of a tier is closed by force.

Formulas: `rules_and_formulas` 2, linear contracts with isolated margin, maintenance taken on the mark notional. The
tables are of the order of the exchanges' own: large positions get less leverage and need more margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tier:
    """Notionals up to `most_usd`: the most leverage, the maintenance rate, and the deduction in USD."""

    most_usd: float
    most_leverage: int
    maintenance: float
    deduction_usd: float


def tiers_of(rows: Sequence[tuple[float, int, float]]) -> tuple[Tier, ...]:
    """Return tiers from (most USD, most leverage, maintenance rate), rising.

    Deductions make the maintenance margin continuous at each edge: a_i = a_(i-1) + floor_i * (m_i - m_(i-1)).
    """
    found: list[Tier] = []
    floor_usd = rate = deduction_usd = 0.0
    for most_usd, most_leverage, maintenance in rows:
        deduction_usd += floor_usd * (maintenance - rate)
        found.append(Tier(most_usd, most_leverage, maintenance, deduction_usd))
        floor_usd, rate = most_usd, maintenance
    return tuple(found)


LARGE = tiers_of(
    (
        (50_000, 125, 0.004),
        (600_000, 100, 0.005),
        (3_000_000, 75, 0.0065),
        (12_000_000, 50, 0.01),
        (70_000_000, 25, 0.02),
        (100_000_000, 20, 0.025),
        (230_000_000, 10, 0.05),
    )
)
MIDDLE = tiers_of(
    (
        (10_000, 75, 0.0065),
        (50_000, 50, 0.01),
        (500_000, 25, 0.02),
        (2_000_000, 20, 0.025),
        (10_000_000, 10, 0.05),
        (50_000_000, 5, 0.1),
    )
)
SMALL = tiers_of(
    (
        (5_000, 50, 0.01),
        (25_000, 25, 0.02),
        (200_000, 20, 0.025),
        (500_000, 10, 0.05),
        (2_000_000, 5, 0.1),
        (10_000_000, 3, 0.15),
    )
)


def tier_of(tiers: Sequence[Tier], usd: float) -> Tier:
    """Return the tier of a notional; above the last one it is still the last."""
    for tier in tiers:
        if usd <= tier.most_usd:
            return tier
    return tiers[-1]


def liquidation_price(
    entry: float, leverage: float, quantity: float, long: bool, tier: Tier, extra_usd: float = 0.0, fee: float = 0.0
) -> float | None:
    """Return the price at which the position's equity is its maintenance margin, or None if it could not be opened.

    `quantity` is in base units, `extra_usd` margin beyond the initial one, `fee` the closing fee's rate. A tier whose
    maintenance rate is at least the initial margin cannot be opened with this leverage.
    """
    maintenance = tier.maintenance + fee
    if maintenance >= 1.0 / leverage:
        return None
    spare = (extra_usd + tier.deduction_usd) / quantity
    if long:
        return (entry * (1.0 - 1.0 / leverage) - spare) / (1.0 - maintenance)
    return (entry * (1.0 + 1.0 / leverage) + spare) / (1.0 + maintenance)


def settled_price(
    tiers: Sequence[Tier], entry: float, leverage: float, quantity: float, long: bool, extra_usd: float, fee: float
) -> float | None:
    """Return the liquidation price by the tier that the notional has there, where that is not the entry's."""
    tier = tier_of(tiers, entry * quantity)
    price = liquidation_price(entry, leverage, quantity, long, tier, extra_usd, fee)
    if price is None or price <= 0.0:
        return None
    there = tier_of(tiers, price * quantity)
    if there is tier:
        return price
    again = liquidation_price(entry, leverage, quantity, long, there, extra_usd, fee)
    return None if again is None or again <= 0.0 else again


def bankruptcy_price(entry: float, leverage: float, quantity: float, long: bool, extra_usd: float = 0.0) -> float:
    """Return the price at which nothing of the margin is left, fees aside."""
    spare = extra_usd / quantity
    if long:
        return max(entry * (1.0 - 1.0 / leverage) - spare, entry * 1e-3)
    return entry * (1.0 + 1.0 / leverage) + spare
