"""A tick in columns, against the rows it was made of; and the bars that it is added to, against a plain sum."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from event_logs import BASE_MS, CONTRACTS, PARAMETERS, batch, liquidation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.bar_book import BarBook
from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.tick_events import Numbering, groups_of
from pipeline.records import COMPLETENESS_RANKS

MINUTE_MS = 60_000

events = st.builds(
    liquidation,
    st.integers(1, 10**6),
    st.integers(BASE_MS, BASE_MS + 3 * MINUTE_MS),
    st.sampled_from(CONTRACTS),
    st.sampled_from(("long", "short")),
    st.integers(0, 10**15),
    st.floats(0.001, 1e6),
    st.sampled_from(("full", "sampled", "unknown")),
)
ticks = st.lists(st.lists(events, min_size=1, max_size=8), min_size=1, max_size=5)


def rows_of(tick):
    return batch(tick, 0).liquidations


@given(ticks)
def test_columns_say_what_the_rows_say(found):
    numbering = Numbering()
    for tick in found:
        rows = rows_of(tick)
        columns = numbering.events(rows)
        assert columns.rows is rows
        assert [numbering.asset_names[one] for one in columns.assets] == [row[4] for row in rows]
        assert [numbering.contract_names[one] for one in columns.contracts] == [(row[1], row[2]) for row in rows]
        assert [numbering.exchange_names[one] for one in columns.exchanges] == [row[1] for row in rows]
        assert columns.micros.tolist() == [row[7] for row in rows]
        assert columns.times.tolist() == [row[8] for row in rows]
        assert columns.is_long.tolist() == [row[5] == "long" for row in rows]
        minutes = [(minute, columns.times[places].tolist()) for minute, places in columns.minutes]
        found_minutes = sorted({row[8] - row[8] % MINUTE_MS for row in rows})
        assert minutes == [(one, [row[8] for row in rows if 0 <= row[8] - one < MINUTE_MS]) for one in found_minutes]
        assert columns.ranks.tolist() == [COMPLETENESS_RANKS[row[11]] for row in rows]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2**40)), min_size=1))
def test_groups_are_those_of_a_dictionary(rows):
    first, second, values = (np.array(column) for column in zip(*rows, strict=True))
    groups = groups_of(first, second)
    expected = defaultdict(list)
    for one, other, value in rows:
        expected[one, other].append(value)
    keys = list(zip(groups.firsts(first), groups.firsts(second), strict=True))
    assert keys == sorted(expected)
    assert groups.sums(values).tolist() == [sum(expected[key]) for key in keys]
    assert groups.counts.tolist() == [len(expected[key]) for key in keys]


@given(ticks, st.booleans(), st.sampled_from((0, 10**14)))
def test_bars_are_the_sums_of_their_events_also_after_a_restart_and_when_they_are_over(found, restart, least):
    numbering, cells, seen = Numbering(), {}, []
    book = BarBook(numbering, PARAMETERS, 200, least)
    for tick in found:
        rows = rows_of(tick)
        seen += rows
        book.take_tick(numbering.events(rows))
        cells.update(dict(book.cells()))
        if restart:
            numbering = Numbering()
            book = BarBook(numbering, PARAMETERS, 200, least)
            book.restore({name.decode(): value for name, value in cells.items()}, BASE_MS)
    expected = defaultdict(lambda: [0, 0, 0, 0])
    for row in seen:
        for interval, length in enumerate(INTERVALS_MS):
            for contract in ((row[1], row[2]), None):
                if row[7] >= least:
                    bar = expected[row[4], contract, interval, row[8] - row[8] % length]
                    bar[row[5] == "short"] += row[7]
                    bar[2 + (row[5] == "short")] += 1
    for watermark in (BASE_MS, BASE_MS + 2 * INTERVALS_MS[-1]):
        book.forget(watermark)
        assert {bar: book.sums(*bar) for bar in expected} == expected
    assert book.sums("BTC", None, 0, BASE_MS - MINUTE_MS) is None
