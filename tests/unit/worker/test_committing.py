"""When the next checkpoint may be taken."""

from __future__ import annotations

import pytest

from pipeline.worker.committing import Load, pause_s

INTERVAL_S = 0.2


def test_there_is_a_least_time_between_two_checkpoints():
    assert pause_s(Load(), began=5.0, taking_s=0.0, interval_s=INTERVAL_S, now=5.05) == pytest.approx(0.15)
    assert pause_s(Load(), began=5.0, taking_s=0.0, interval_s=INTERVAL_S, now=5.2) == 0


def test_who_is_behind_spends_a_tenth_of_the_time_on_checkpoints():
    busy = Load(partitions=4, folded_at=5.29)
    assert pause_s(busy, began=5.0, taking_s=0.0125, interval_s=INTERVAL_S, now=5.3) == pytest.approx(0.14)
    busy.folded_at = 5.49
    assert pause_s(busy, began=5.0, taking_s=0.0125, interval_s=INTERVAL_S, now=5.5) == 0


def test_nobody_waits_longer_than_a_second():
    busy = Load(partitions=100, folded_at=5.99)
    assert pause_s(busy, began=5.0, taking_s=0.5, interval_s=INTERVAL_S, now=5.9) == pytest.approx(0.1)
    assert pause_s(busy, began=5.0, taking_s=0.5, interval_s=INTERVAL_S, now=6.0) == 0


def test_who_has_caught_up_waits_no_longer():
    load = Load(partitions=4, folded_at=5.1)
    assert pause_s(load, began=5.0, taking_s=0.5, interval_s=INTERVAL_S, now=5.2) == pytest.approx(0.05)
    assert pause_s(load, began=5.0, taking_s=0.5, interval_s=INTERVAL_S, now=5.3) == 0
