"""What waits of many assets comes out as it went in, summed up by second; and what has no room does not wait."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from event_logs import BASE_MS, CONTRACTS, batch, liquidation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.rolling_threshold import NO_ROOM, Room
from pipeline.detect.tick_events import Numbering
from pipeline.detect.waiting_sums import WaitingSums

events = st.builds(
    liquidation,
    st.integers(1, 10**6),
    st.integers(BASE_MS, BASE_MS + 5_000),
    st.sampled_from(CONTRACTS),
    st.sampled_from(("long", "short")),
    st.integers(0, 10**6),
)
ticks = st.lists(st.lists(events, min_size=1, max_size=8), min_size=1, max_size=5)


def rows_of(tick):
    return batch(tick, 0).liquidations


def expected_of(rows):
    sums, newest = defaultdict(lambda: defaultdict(int)), {}
    for row in rows:
        sums[row[4]][row[8] - row[8] % 1_000] += row[7]
        newest[row[4]] = max(newest.get(row[4], 0), row[8])
    return {asset: [*zip(*sorted(by_second.items()), strict=True), newest[asset]] for asset, by_second in sums.items()}


@given(ticks)
def test_what_waits_is_summed_up_once(found):
    numbering, waiting = Numbering(), WaitingSums(1)
    rows = []
    for tick in found:
        rows += rows_of(tick)
        columns = numbering.events(rows_of(tick))
        waiting.passed(columns)
        waiting.put(columns)

    def taken(assets=None):
        return {numbering.asset_names[number]: rest for number, *rest in waiting.take(assets)}

    expected = expected_of(rows)
    first = numbering.asset_names[0]
    assert taken(waiting.chosen([0])) == {first: expected.pop(first)}
    assert taken() == expected
    assert taken() == {}


def passed(waiting, numbering, *some):
    chosen = waiting.passed(numbering.events(rows_of([liquidation(1, *one) for one in some])))
    return [] if chosen is None else np.flatnonzero(chosen).tolist()


def test_an_asset_passes_with_more_than_its_room_or_out_of_its_time():
    numbering, waiting = Numbering(), WaitingSums(10)
    contract = CONTRACTS[0]
    assert passed(waiting, numbering, (BASE_MS, contract, "long", 4)) == []
    assert passed(waiting, numbering, (BASE_MS, contract, "long", 6)) == []
    assert passed(waiting, numbering, (BASE_MS, contract, "short", 1)) == [0]
    waiting.set_room(0, Room(10, BASE_MS + 2_000, BASE_MS - 1_000), BASE_MS)
    assert passed(waiting, numbering, (BASE_MS - 1_000, contract), (BASE_MS + 1_999, contract, "long", 0)) == [0]
    waiting.set_room(0, Room(10**12, BASE_MS + 2_000, BASE_MS - 1_000), BASE_MS)
    assert passed(waiting, numbering, (BASE_MS - 1_000, contract), (BASE_MS + 1_999, contract)) == []
    assert passed(waiting, numbering, (BASE_MS - 1_001, contract)) == [0]
    waiting.set_room(0, Room(10**12, BASE_MS + 2_000, BASE_MS - 1_000), BASE_MS)
    assert passed(waiting, numbering, (BASE_MS + 2_000, contract)) == [0]
    waiting.set_room(0, NO_ROOM, BASE_MS)
    assert passed(waiting, numbering, (BASE_MS, contract, "long", 0)) == [0]


def test_rows_of_assets_without_room_do_not_wait():
    numbering, waiting = Numbering(), WaitingSums(0)
    names = sorted({contract[2] for contract in CONTRACTS})
    some = [liquidation(number, BASE_MS, contract) for number, contract in enumerate(CONTRACTS)]
    tick = numbering.events(rows_of(some))
    waiting.passed(tick)
    waiting.put(tick, without=waiting.chosen([0]))
    assert {numbering.asset_names[one.asset] for one in waiting.take()} == set(names) - {numbering.asset_names[0]}
