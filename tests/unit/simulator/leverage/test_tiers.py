"""Liquidation prices by tier, against the table and the identities of `rules_and_formulas` 2."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.embedded.simulator.leverage.tiers import (
    LARGE,
    MIDDLE,
    SMALL,
    Tier,
    bankruptcy_price,
    liquidation_price,
    settled_price,
    tier_of,
)

# Distance of the liquidation price from entry in per cent, by leverage and maintenance rate: long, short.
DISTANCES = [
    (3, 0.004, -33.07, 32.80),
    (5, 0.005, -19.60, 19.40),
    (10, 0.01, -9.09, 8.91),
    (20, 0.004, -4.62, 4.58),
    (25, 0.01, -3.03, 2.97),
    (50, 0.005, -1.51, 1.49),
    (75, 0.01, -0.34, 0.33),
    (100, 0.004, -0.60, 0.60),
    (125, 0.005, -0.30, 0.30),
]


@pytest.mark.parametrize(("leverage", "rate", "long", "short"), DISTANCES)
def test_distances_are_those_of_the_table(leverage, rate, long, short):
    tier = Tier(1e9, 125, rate, 0.0)
    prices = [liquidation_price(1.0, leverage, 1_000.0, is_long, tier) for is_long in (True, False)]
    assert [round((price - 1.0) * 100, 2) for price in prices] == [long, short]


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("leverage", [3, 10, 25])
@pytest.mark.parametrize("usd", [4_000.0, 90_000.0, 900_000.0])
def test_equity_is_the_maintenance_margin_there(long, leverage, usd):
    tier, entry, extra, fee = tier_of(LARGE, usd), 250.0, 130.0, 0.0005
    quantity = usd / entry
    price = liquidation_price(entry, leverage, quantity, long, tier, extra, fee)
    gain = (price - entry) * quantity if long else (entry - price) * quantity
    equity = usd / leverage + extra + gain
    needed = price * quantity * (tier.maintenance + fee) - tier.deduction_usd
    assert equity == pytest.approx(needed, rel=1e-9, abs=1e-6)


def test_a_tier_whose_maintenance_eats_the_margin_cannot_be_opened():
    tier = Tier(1e9, 125, 0.01, 0.0)
    assert liquidation_price(1.0, 100, 1.0, True, tier) is None
    assert liquidation_price(1.0, 125, 1.0, False, tier) is None


@pytest.mark.parametrize("tiers", [LARGE, MIDDLE, SMALL])
def test_margin_is_continuous_at_every_edge(tiers):
    for lower, upper in pairwise(tiers):
        edge = lower.most_usd
        below = edge * lower.maintenance - lower.deduction_usd
        assert below == pytest.approx(edge * upper.maintenance - upper.deduction_usd)
        assert upper.most_leverage < lower.most_leverage


def test_the_tier_at_the_liquidation_price_counts():
    # A short of 49,000 USD is worth more than the first tier's 50,000 where it is closed.
    quantity = 490.0
    price = settled_price(LARGE, 100.0, 10, quantity, False, 0.0, 0.0)
    assert price * quantity > LARGE[0].most_usd
    assert price == liquidation_price(100.0, 10, quantity, False, LARGE[1])


@pytest.mark.parametrize("long", [True, False])
def test_bankruptcy_lies_behind_liquidation(long):
    price = settled_price(MIDDLE, 10.0, 20, 500.0, long, 12.0, 0.0005)
    bankrupt = bankruptcy_price(10.0, 20, 500.0, long, 12.0)
    assert bankrupt < price < 10.0 if long else 10.0 < price < bankrupt
