"""Names come out as they went in, each as one object, and no log makes them grow without end."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.shared_names import SharedNames

PAIRS = st.lists(st.tuples(st.text(max_size=3), st.sampled_from(["long", "short", ""])), min_size=1, max_size=20)


def columns(pairs):
    symbols, positions = zip(*pairs, strict=True)
    return [pl.Series(symbols, dtype=pl.String), pl.Series(positions, dtype=pl.Categorical)]


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_names_come_out_as_they_went_in(batches):
    shared = SharedNames(most=10)
    for pairs in batches:
        assert list(zip(*shared.columns(columns(pairs)), strict=True)) == pairs


def test_equal_names_are_one_object_in_all_columns_and_batches():
    shared = SharedNames()
    symbols, positions = shared.columns(columns([("BTCUSDT", "long"), ("long", "long"), ("BTCUSDT", "short")]))
    assert symbols[0] is symbols[2]
    assert symbols[1] is positions[0] is positions[1]
    again, _ = shared.columns(columns([("ETHUSDT", "short"), ("BTCUSDT", "short")]))
    assert again[1] is symbols[0]


def test_no_more_names_are_kept_than_wanted():
    shared = SharedNames(most=3)
    shared.columns(columns([("A", "long"), ("B", "long")]))
    assert len(shared) == 3
    shared.columns(columns([("C", "long")]))
    assert len(shared) == 2
