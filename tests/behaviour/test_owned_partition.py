"""Partitions that are committed at the same time, on both brokers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from conftest import wait_until
from fault_rig import Rig

from pipeline.topics import BARS, EVENTS, PULSES, WORKER_STATE, topic_name
from pipeline.worker.owned_partition import OwnedPartition, Place
from pipeline.worker.partition_fold import Output, Taken

pytestmark = pytest.mark.timeout(240)

PARTITIONS = 4
ROUNDS = 12


def test_what_is_committed_at_the_same_time_can_be_read(broker, tmp_path, topic_prefix):
    rig = Rig(broker, tmp_path, topic_prefix, partitions=PARTITIONS)
    events, cells, bars, pulses = (topic_name(one, topic_prefix) for one in (EVENTS, WORKER_STATE, BARS, PULSES))

    def commit(number: int, begin: Barrier) -> None:
        # Every round another owner: the first transaction of each is the one that could stay open.
        partition, round_ = number % PARTITIONS, number // PARTITIONS
        owned = OwnedPartition(Place(events, partition, f"{round_}-{partition}", cells), rig.settings, lambda _: None)
        begin.wait()
        owned.claim()
        for _ in range(2):
            outputs = [Output(bars, partition, b"bar", b"bar"), Output(pulses, 0, b"pulse", b"pulse")]
            owned.commit(Taken(outputs, [(b"cell", b"%d" % number)]))
        owned.close()

    with ThreadPoolExecutor(PARTITIONS) as threads:
        for round_ in range(ROUNDS):
            begin = Barrier(PARTITIONS)
            numbers = range(round_ * PARTITIONS, (round_ + 1) * PARTITIONS)
            assert list(threads.map(lambda number, begin=begin: commit(number, begin), numbers)) == [None] * PARTITIONS
    wait_until(lambda: not rig.worker_lag().get("outputs"), timeout_s=30)
    committed = 2 * PARTITIONS * ROUNDS
    assert [sum(1 for _ in rig.values(topic)) for topic in (BARS, PULSES, WORKER_STATE)] == [committed] * 3
