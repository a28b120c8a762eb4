"""True cascades are told from causes, times and sums."""

from __future__ import annotations

import pytest

from pipeline.embedded.simulator.leverage.chains import LEAST_COUNT, LINK_MS, Chains, TrueCascade

USD = 1_000_000


def cascades(*orders):
    """Return what becomes of orders of (time, position, USD, caused) on one asset."""
    chains = Chains()
    for number, (time_ms, position, usd, caused) in enumerate(orders):
        chains.add(time_ms, "BTC", position, ("gate", "htx")[number % 2], usd * USD, caused)
    chains.close()
    return chains.cascades


def chain(begin, usd=30_000, caused=3, count=5, gap=1_000, position="long"):
    return [(begin + gap * number, position, usd, number >= count - caused) for number in range(count)]


def test_a_chain_of_caused_orders_is_a_cascade():
    assert cascades(*chain(10_000)) == [
        TrueCascade("BTC", "long", 10_000, 10_000, 14_000, 150_000 * USD, 5, 3, ("gate", "htx"))
    ]


def test_the_peak_is_the_second_with_most_usd():
    orders = [*chain(10_000), (14_500, "long", 1_000, True), (15_100, "long", 30_500, True)]
    (found,) = cascades(*orders)
    assert (found.peak, found.end) == (14_000, 15_100)


@pytest.mark.parametrize(
    "orders",
    [
        chain(0, usd=19_999),
        chain(0, count=LEAST_COUNT - 1),
        chain(0, caused=1),
    ],
    ids=["too small", "too few", "not caused"],
)
def test_less_is_no_cascade(orders):
    assert cascades(*orders) == []


def test_a_pause_ends_it():
    assert len(cascades(*chain(0), *chain(4_000 + LINK_MS + 1))) == 2
    assert len(cascades(*chain(0), *chain(4_000 + LINK_MS))) == 1


def test_positions_and_assets_are_chains_of_their_own():
    mixed = sorted([*chain(0), *chain(500, position="short")])
    assert [found.position for found in cascades(*mixed)] == ["long", "short"]
    chains = Chains()
    for time_ms, position, usd, caused in chain(0):
        chains.add(time_ms, "ETH", position, "gate", usd * USD, caused)
        chains.add(time_ms, "BTC", position, "gate", usd * USD, caused)
    chains.close()
    assert [found.asset for found in chains.cascades] == ["BTC", "ETH"]
