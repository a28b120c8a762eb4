"""Turns at hosts: never more than the budget, in order, and nobody when a host wants to be left alone."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.feeds.live import Budget
from pipeline.ingest.limiter import HostLimits, LeftAloneError


def take_turns(weights, budget, after=lambda _: None):
    """Return when each of the weights got its turn at one host, all asked for at once."""

    async def run():
        limits = HostLimits()
        limits.know({"host": budget})
        after(limits)
        loop = asyncio.get_running_loop()
        turns = []

        async def turn(number, weight):
            await limits.turn("host", weight)
            turns.append((number, loop.time(), weight))

        await asyncio.gather(*(turn(number, weight) for number, weight in enumerate(weights)))
        return turns

    return asyncio.run(run())


@pytest.mark.parametrize("weights", [[1.0] * 60, [1, 7, 2, 8, 1, 1, 5, 3] * 4])
def test_no_span_of_the_budget_holds_more_than_four_fifths_of_it(weights):
    turns = take_turns(weights, Budget(weight=10, per_s=0.2))
    assert [number for number, _, _ in turns] == list(range(len(weights)))
    for index, (_, begin, _) in enumerate(turns):
        # The times are noted a little after the turns.
        spent = sum(weight for _, at, weight in turns[index:] if at < begin + 0.15)
        assert spent <= 8


def test_a_weight_beyond_the_budget_is_a_fault_of_ours():
    with pytest.raises(ValueError, match="never fits"):
        take_turns([9.0], Budget(weight=10, per_s=1))


def test_the_smaller_of_two_budgets_counts():
    async def run():
        limits = HostLimits()
        limits.know({"host": Budget(100, 1), "other": Budget(1, 1)})
        limits.know({"host": Budget(600, 60)})
        limits.know({"host": Budget(1_000, 1)})
        assert limits.least_s("host", 800) == pytest.approx(100.0)
        assert limits.least_s("unknown", 4) == pytest.approx(1.0)

    asyncio.run(run())


def test_short_rests_are_waited_for_and_long_ones_are_not():
    async def run():
        limits = HostLimits()
        loop = asyncio.get_running_loop()
        began = loop.time()
        limits.leave_alone("host", 0.2)
        limits.leave_alone("host", 0.1)
        await limits.turn("host", 1)
        assert loop.time() - began >= 0.19
        limits.leave_alone("host", 10**9)
        assert limits.left_alone_s("host") <= 3 * 24 * 3_600
        with pytest.raises(LeftAloneError, match="host is left alone"):
            await limits.turn("host", 1)
        await limits.turn("other", 1)

    asyncio.run(run())


def test_who_gives_up_waiting_does_not_hold_up_the_others():
    async def run():
        limits = HostLimits()
        limits.know({"host": Budget(weight=1.25, per_s=0.1)})
        await limits.turn("host", 1)
        first = asyncio.create_task(limits.turn("host", 1))
        second = asyncio.create_task(limits.turn("host", 1))
        await asyncio.sleep(0.01)
        first.cancel()
        await second
        assert first.cancelled()

    asyncio.run(run())


def test_what_all_users_want_of_a_host_is_added_up():
    async def run():
        limits = HostLimits()
        limits.know({"host": Budget(100, 1)})
        assert limits.plan("a", {"host": 40.0}) == pytest.approx(0.5)
        assert limits.plan("b", {"host": 80.0}) == pytest.approx(1.5)
        assert limits.plan("a", {}) == 0.0
        assert limits.plan("b", {"host": 80.0}) == pytest.approx(1.0)

    asyncio.run(run())
