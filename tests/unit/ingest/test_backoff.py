"""Waits grow to a bound and differ."""

from random import Random

from pipeline.ingest.backoff import BackOff


def test_waits_stay_below_a_ceiling_that_doubles():
    for seed in range(200):
        back_off = BackOff(0.5, 10.0, Random(seed))
        for ceiling in (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
            assert 0 <= back_off.next_s() <= ceiling


def test_waits_use_the_whole_range():
    waits = []
    for seed in range(500):
        back_off = BackOff(1.0, 60.0, Random(seed))
        back_off.next_s()
        waits.append(back_off.next_s())
    assert min(waits) < 0.1
    assert max(waits) > 1.9


def test_a_reset_begins_again():
    back_off = BackOff(0.1, 60.0, Random(1))
    for _ in range(20):
        back_off.next_s()
    back_off.reset()
    assert back_off.next_s() <= 0.1


def test_the_same_seed_gives_the_same_waits():
    first, second = BackOff(1, 60, Random(7)), BackOff(1, 60, Random(7))
    assert [first.next_s() for _ in range(10)] == [second.next_s() for _ in range(10)]
