"""Spans over each other, and how long they are together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.windows.spans import left, shared, total_ms

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda one: (one[0], one[0] + one[1])))


def milliseconds(found):
    return {time for begin, end in found for time in range(begin, end)}


@given(spans, spans)
def test_what_is_shared_is_in_both(some, others):
    assert milliseconds(shared(some, others)) == milliseconds(some) & milliseconds(others)


@given(spans, st.integers(0, 80), st.integers(0, 80))
def test_what_is_left_is_in_none_and_in_order(found, begin, end):
    parts = left(begin, end, found)
    assert milliseconds(parts) == set(range(begin, end)) - milliseconds(found)
    assert parts == sorted(parts)
    assert all(first < last for first, last in parts)


@given(spans, st.integers(0, 80), st.integers(0, 80))
def test_every_millisecond_counts_once(found, begin, end):
    assert total_ms(found, begin, end) == len(milliseconds(found) & set(range(begin, end)))
