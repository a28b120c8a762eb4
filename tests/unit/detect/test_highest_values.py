"""The quantile of thousands of values from the few that are kept of them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.highest_values import HighestValues

WHOLE = st.integers(1, 30).map(float)


def plain(values, q):
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


@given(
    noted=st.lists(WHOLE, max_size=60),
    recent=st.lists(WHOLE, max_size=8),
    q=st.sampled_from([0.2, 0.5, 0.9, 0.99, 0.999]),
    last=st.integers(2, 40),
)
def test_it_is_that_of_the_last_values(noted, recent, q, last):
    highest = HighestValues()
    for value in noted:
        highest.note(value, q, last)
    values = [*noted, *recent][-last:]
    assert highest.quantile(recent, q, last) == (len(values), plain(values, q) if values else None)


@pytest.mark.parametrize(("q", "most"), [(0.999, 80), (0.99, 300)])
def test_few_of_three_thousand_are_kept(q, most):
    chance = random.Random(3)
    values = [chance.lognormvariate(8, 2) for _ in range(9_000)]
    highest = HighestValues()
    for number, value in enumerate(values, start=1):
        highest.note(value, q, 3_000)
        assert len(highest.entries) < most
        if number % 500 == 0:
            assert highest.quantile((), q, 3_000)[1] == plain(values[max(0, number - 3_000) : number], q)
