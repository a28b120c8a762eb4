"""What the market misses before a batch of pulses."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pipeline.codec import Codec
from pipeline.detect.rules import Rules
from pipeline.records import Pulse
from pipeline.settings import Settings
from pipeline.worker.market_fold import MarketFold
from pipeline.worker.partition_fold import Fetched

CODEC = Codec()


class Record(NamedTuple):
    """A fetched pulse."""

    offset: int
    value: bytes
    timestamp: int = 0


def pulse(offset, partition, second):
    """Return the pulse of a second, which follows that of the second before."""
    after = max(0, second - 1) * 1_000
    return Record(offset, CODEC.encode(Pulse(partition, after, second * 1_000, 0, False, [], None)))


@pytest.fixture
def fold():
    made = MarketFold(Settings(partitions=2), CODEC, Rules(), lambda _step: None)
    made.restore({})
    made.fold([pulse(0, 0, 1), pulse(1, 1, 1)])
    return made


def test_markers_of_transactions_are_not_missed(fold):
    assert fold.missing_before(Fetched([pulse(4, 0, 2)], begin=2)) is None


def test_what_was_read_again_is_not_missed(fold):
    assert fold.missing_before(Fetched([pulse(1, 1, 1), pulse(4, 0, 2)], begin=1)) is None


def test_a_lost_batch_is_missed_by_pulses_of_a_partition_that_it_had_none_of(fold):
    # Offset 3 had the second pulse of partition 1: of what comes now none names it.
    assert fold.missing_before(Fetched([pulse(5, 0, 2)], begin=4)) == 2


def test_pulses_that_the_broker_has_lost_are_missed(fold):
    assert fold.missing_before(Fetched([pulse(5, 0, 3)], begin=2)) == 2


def test_pulses_after_others_of_the_same_batch_are_not_missed(fold):
    assert fold.missing_before(Fetched([pulse(3, 0, 2), pulse(5, 0, 3)], begin=2)) is None
