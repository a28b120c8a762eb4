"""Heartbeats cover exactly what is proved: checked with the fold's own reading of them."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.vouching import Able, Vouching
from pipeline.records import Heartbeat
from pipeline.windows.channels import Channel, hear

BASE_MS = 1_700_000_040_000


def covered(said):
    """Return the milliseconds that the fold counts."""
    channel = Channel()
    for time_ms, state in said:
        hear(channel, Heartbeat("x", "c", "one", time_ms, state, 0, None), 0, 30_000)
    return sum(minute.alive_ms for minute in channel.minutes.values())


def test_what_cannot_receive_says_so_each_time():
    vouching = Vouching()
    assert [vouching.say(None, BASE_MS + 1000 * tick) for tick in range(3)] == [
        [(BASE_MS, "down")],
        [(BASE_MS + 1000, "down")],
        [(BASE_MS + 2000, "down")],
    ]


def test_the_covered_time_begins_when_all_is_confirmed():
    vouching = Vouching()
    said = vouching.say(None, BASE_MS)
    said += vouching.say(Able(BASE_MS + 437, BASE_MS + 437), BASE_MS + 437)
    said += vouching.say(Able(BASE_MS + 437, BASE_MS + 1000), BASE_MS + 1300)
    assert said[1:] == [(BASE_MS + 437, "down"), (BASE_MS + 1000, "up")]
    assert covered(said) == 563


def test_without_news_nothing_is_said():
    vouching = Vouching()
    vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 1300)
    assert vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 2300) == []


def test_the_covered_time_ends_at_the_proof():
    vouching = Vouching()
    said = vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 1300)
    # More was proved before the loss was noticed.
    said += vouching.say(Able(BASE_MS, BASE_MS + 1800), BASE_MS + 1801)
    said += vouching.say(None, BASE_MS + 9000)
    assert said[-2:] == [(BASE_MS + 1800, "up"), (BASE_MS + 9000, "down")]
    assert covered(said) == 1800


def test_lost_and_regained_between_two_looks_leaves_a_gap():
    vouching = Vouching()
    said = vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 1300)
    said += vouching.say(Able(BASE_MS + 1700, BASE_MS + 2000), BASE_MS + 2300)
    assert covered(said) == 1000 + 300


def test_what_is_lost_on_the_way_is_not_covered():
    vouching = Vouching()
    said = vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 1300)
    vouching.say(Able(BASE_MS, BASE_MS + 1000), BASE_MS + 1400)
    vouching.withdraw(BASE_MS + 1200)
    said += vouching.say(None, BASE_MS + 2300)
    assert covered(said) <= 1200


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900)), max_size=80))
def test_covered_is_what_was_proved_and_no_more(steps):
    """Walk through openings, proofs, losses and ticks, and add up by hand what was proved."""
    vouching = Vouching()
    now = BASE_MS
    since: int | None = None
    proved = 0
    expected = 0
    said = vouching.say(None, now)
    for kind, wait in steps:
        now += wait
        if kind == 0 and since is None:
            since = proved = now
        elif kind == 1 and since is not None:
            proved = now - wait // 2
        elif kind == 2 and since is not None:
            expected += proved - since
            since = None
        able = None if since is None else Able(since, proved)
        said += vouching.say(able, now)
    if since is not None:
        expected += proved - since
    times = [time_ms for time_ms, _ in said]
    assert times == sorted(set(times))
    assert covered(said) == expected
