"""Where a batch begins, and how far the group's offset goes."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from faust.types import TP

from pipeline.worker.transport import Consumer, HandedOut

PLACE = TP("events", 0)


class Record(NamedTuple):
    """As much of a fetched record as a message asks for."""

    offset: int
    topic: str = "events"
    partition: int = 0
    timestamp: int = 0
    timestamp_type: int = 0


def begins(handed_out, *offsets):
    return handed_out.message(PLACE, [Record(offset) for offset in offsets]).value.begin


def test_a_batch_begins_behind_what_was_handed_out_before():
    handed_out = HandedOut()
    assert begins(handed_out, 2, 3) == 0  # the oldest there is
    assert begins(handed_out, 4, 5) == 4
    assert begins(handed_out, 8, 9) == 6  # markers of transactions lie between


def test_a_batch_behind_a_seek_begins_where_it_led_to():
    handed_out = HandedOut()
    begins(handed_out, 0, 1, 2, 3)
    handed_out.sought(PLACE, 1)
    assert begins(handed_out, 2, 3) == 1
    handed_out.sought(PLACE, 7)
    assert begins(handed_out, 9) == 7


def test_a_batch_never_begins_behind_its_first_record():
    handed_out = HandedOut()
    begins(handed_out, *range(10))
    assert begins(handed_out, 5, 6) == 5


def test_partitions_have_nothing_to_do_with_each_other():
    handed_out = HandedOut()
    begins(handed_out, 0, 1)
    handed_out.sought(TP("events", 1), 100)
    assert begins(handed_out, 5) == 2


def test_the_group_goes_behind_the_last_offset_acknowledged():
    consumer = object.__new__(Consumer)
    consumer._acked = defaultdict(list, {PLACE: [499, 999]})
    consumer._acked_index = defaultdict(set, {PLACE: {499, 999}})
    assert consumer._new_offset(PLACE) == 1_000
    assert consumer._new_offset(PLACE) is None
    assert not consumer._acked_index[PLACE]
