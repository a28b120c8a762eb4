"""What pongs and messages prove, and when a connection is taken for dead."""

from pipeline.ingest.liveness import Liveness

NOW_MS = 1_700_000_000_000


def begun():
    return Liveness(stall_s=10, silence_s=60, now_s=0.0, now_ms=NOW_MS)


def test_a_pong_proves_the_time_of_its_ping():
    liveness = begun()
    payload = liveness.ping(NOW_MS + 1000)
    liveness.message(5.0, NOW_MS + 5000, 0)
    assert liveness.proved_ms(0) == NOW_MS
    liveness.pong(payload, 0)
    assert liveness.proved_ms(0) == NOW_MS + 1000


def test_a_pong_that_answers_nothing_proves_nothing():
    liveness = begun()
    payload = liveness.ping(NOW_MS + 1000)
    liveness.pong(b"1700000009999", 0)
    liveness.pong(b"", 0)
    assert liveness.proved_ms(0) == NOW_MS
    liveness.pong(payload, 0)
    liveness.pong(payload, 0)
    assert liveness.proved_ms(0) == NOW_MS + 1000


def test_the_proof_never_goes_back():
    liveness = begun()
    first, second = liveness.ping(NOW_MS + 1000), liveness.ping(NOW_MS + 2000)
    liveness.pong(second, 0)
    liveness.pong(first, 0)
    assert liveness.proved_ms(0) == NOW_MS + 2000


def test_messages_prove_where_pings_are_never_answered():
    liveness = begun()
    for number in range(10):
        liveness.ping(NOW_MS + number)
    assert liveness.is_mute
    liveness.message(11.0, NOW_MS + 11_000, 0)
    assert liveness.proved_ms(0) == NOW_MS + 11_000


def test_one_answer_shows_that_pings_are_answered():
    liveness = begun()
    liveness.pong(liveness.ping(NOW_MS), 0)
    for number in range(50):
        liveness.ping(NOW_MS + number)
    assert not liveness.is_mute
    liveness.message(60.0, NOW_MS + 60_000, 0)
    assert liveness.proved_ms(0) == NOW_MS


def test_many_open_pings_take_little_memory():
    liveness = begun()
    for number in range(10_000):
        liveness.ping(NOW_MS + number)
    assert len(liveness._open) <= 200


def test_silence_stalls_and_then_kills():
    liveness = begun()
    liveness.pong(liveness.ping(NOW_MS), 0)
    liveness.message(100.0, NOW_MS + 100_000, 0)
    assert not liveness.is_stalled(109.9)
    assert liveness.is_stalled(110.1)
    assert not liveness.is_dead(159.9)
    assert liveness.is_dead(160.1)


def test_who_answers_no_pings_may_be_quiet_for_longer():
    liveness = begun()
    liveness.message(100.0, NOW_MS + 100_000, 0)
    assert not liveness.is_stalled(130.0)


def test_a_proof_counts_when_everything_before_it_is_safe():
    liveness = begun()
    first, second = liveness.ping(NOW_MS + 1000), liveness.ping(NOW_MS + 2000)
    liveness.pong(first, position=10)
    liveness.pong(second, position=20)
    assert liveness.proved_ms(9) == NOW_MS
    assert liveness.proved_ms(10) == NOW_MS + 1000
    assert liveness.proved_ms(19) == NOW_MS + 1000
    assert liveness.proved_ms(25) == NOW_MS + 2000


def test_proofs_by_messages_take_little_memory():
    liveness = begun()
    for number in range(10):
        liveness.ping(NOW_MS + number)
    for number in range(10_000):
        liveness.message(1.0, NOW_MS + number, number)
    assert len(liveness._proofs) <= 200
    assert liveness.proved_ms(10_000) == NOW_MS + 9_999
