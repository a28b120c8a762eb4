"""How far the group's offset goes, from what was acknowledged and what never comes."""

from __future__ import annotations

from collections import defaultdict

from faust.types import TP
from intervaltree import Interval, IntervalTree

from pipeline.worker.transport import Consumer

PLACE = TP("events", 0)


class CountedTree(IntervalTree):
    """Counts how often it is asked."""

    asked = 0

    def overlaps(self, begin, end=None):
        self.asked += 1
        return super().overlaps(begin, end)


def consumer(acked, gaps, committed):
    made = object.__new__(Consumer)
    made._acked = defaultdict(list, {PLACE: list(acked)})
    made._gap = defaultdict(CountedTree, {PLACE: CountedTree(Interval(*gap) for gap in gaps)})
    made._acked_index = defaultdict(set, {PLACE: set(acked)})
    made._committed_offset = defaultdict(lambda: None, {PLACE: committed})
    return made


def test_an_offset_that_was_a_gap_and_was_acknowledged_counts_once():
    assert consumer([6, 7, 9, 12], [(7, 9), (10, 12)], 5)._new_offset(PLACE) == 13
    assert consumer([6, 8, 9], [(6, 9)], 5)._new_offset(PLACE) == 10
    assert consumer([6, 7, 9], [(6, 7)], 5)._new_offset(PLACE) == 8


def test_behind_a_hole_only_what_is_new_is_looked_for_in_the_gaps():
    gaps = [(n, n + 1) for n in range(21, 10_020, 2)]
    one = consumer([*range(20, 10_020, 2), 10_030], [*gaps, (10_020, 10_030)], 5)
    assert one._new_offset(PLACE) is None
    one._gap[PLACE].asked = 0
    one._acked[PLACE].append(10_040)
    one._gap[PLACE].addi(10_031, 10_040)
    assert one._new_offset(PLACE) is None
    assert one._gap[PLACE].asked == 1
    one._acked[PLACE].extend(range(6, 20))
    assert one._new_offset(PLACE) == 10_041
