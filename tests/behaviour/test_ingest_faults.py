"""What the exchanges' faults become: in the log, in what heartbeats vouch for, and in the worker's rows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from market_rig import NOON_MS, collected

from pipeline.embedded.exchange_server import Fault, Play
from pipeline.feeds.discovery import feed_of
from pipeline.feeds.statements import has_instruments, learn_instruments
from pipeline.ingest.exchange_collector import Choice
from pipeline.records import Heartbeat, Liquidation, MarketMetric, Subscription

MINUTE_S = 60
ASSETS = frozenset({"BTC", "ETH", "SOL", "XRP", "DOGE"})
THREE = ("binance", "bybit", "okx")


def play(*faults: Fault, speed: float = 1.0) -> Play:
    return Play(seed=3, speed=speed, hours=6.0, traps_per_hour=0.0, faults=faults)


@pytest.fixture(scope="module")
def silent():
    """Binance acknowledges and sends nothing from minute 40 to minute 55, while the others go on."""
    begin, lasts = 40 * MINUTE_S, 15 * MINUTE_S
    said = {"proof_interval_s": 2.0, "heartbeat_interval_s": 2.0}
    return collected(play(Fault("silent", "binance", begin, lasts)), THREE, 60 * MINUTE_S, **said)


def test_silence_is_found_within_five_minutes_and_is_a_row(silent):
    assert [(one.exchange, one.channel) for one in silent.rows().silences.values()] == [("binance", "forceOrder")]
    [silence] = silent.rows().silences.values()
    times = [one.received_time / 1000 for one in silent.of(Liquidation, exchange="binance")]
    last_s = max(silent.second(time) for time in times if silent.second(time) < 40 * MINUTE_S)
    first_s = min(silent.second(time) for time in times if silent.second(time) > 40 * MINUTE_S)
    assert first_s > 55 * MINUTE_S
    # The worker hears of data by heartbeats: two seconds apart, and each counts what came until it was said.
    assert abs(silent.second(silence.began) - last_s) <= 2
    assert abs(silent.second(silence.ended) - first_s) <= 2
    assert silent.second(silence.found) - last_s < 5 * MINUTE_S
    assert silence.probability <= silent.settings.silence_probability


def test_coverage_is_zero_from_the_last_data_on_although_the_connection_is_well(silent):
    coverage = silent.rows().coverage
    alive = {
        minute: coverage["binance", "forceOrder", NOON_MS + minute * 60_000, ""].alive_ms for minute in range(1, 58)
    }
    assert all(alive[minute] == 60_000 for minute in (*range(1, 39), 57))
    assert all(alive[minute] == 0 for minute in range(40, 55))
    for exchange, channel in (("okx", "liquidation-orders"), ("bybit", "linear")):
        assert all(coverage[exchange, channel, NOON_MS + minute * 60_000, ""].alive_ms == 60_000 for minute in alive)
    # Nothing is wrong with it as far as ingest can see.
    assert len(silent.covered("binance", "forceOrder")) == 1
    assert not silent.said("connection_lost")
    assert not silent.said("connection_stalled")
    assert len(silent.what("unheard", "binance")) > 100


def test_who_never_acknowledges_covers_nothing_and_is_asked_again_and_left():
    found = collected(play(Fault("deaf", "okx", 0, 200), speed=5.0), ("okx",), 400)
    # Asked three times on each connection, 10 and 20 s apart; 40 s later the connection is given up.
    opened = [found.second(entry["time_us"] / 1000) for entry in found.what("opened", "okx")]
    assert len(opened) == 4
    assert all(70 < after - before < 72 for before, after in pairwise(opened))
    assert len(found.said("connection_lost", reason="no subscription was ever confirmed")) == 3
    assert len(found.said("subscriptions_unconfirmed", topics=2)) == 3 * 2
    [(begin, end)] = found.covered("okx", "liquidation-orders")
    assert abs(begin - opened[3]) < 1
    assert end > 395
    assert min(found.second(one.received_time / 1000) for one in found.of(Liquidation)) >= begin
    coverage = found.rows().coverage
    assert coverage["okx", "liquidation-orders", NOON_MS + 60_000, ""].alive_ms == 0
    assert coverage["okx", "liquidation-orders", NOON_MS + 5 * 60_000, ""].alive_ms == 60_000


def test_who_does_not_read_is_vouched_for_only_when_its_answers_come():
    begin, lasts = 100, 45
    found = collected(play(Fault("slow-reader", "bybit", begin, lasts), speed=20.0), ("bybit",), 240)
    for channel in ("linear", "inverse"):
        beats = found.of(Heartbeat, exchange="bybit", channel=channel)
        # What a heartbeat says, and when it was said: the frame of the statement tells.
        said = [(found.second(beat.time), beat.state) for beat in beats]
        assert not [time for time, _ in said if begin + 1 < time < begin + lasts - 1]
        # Messages went on coming, so the connection was neither stalled nor lost, and all of it is proved in the end.
        assert len(found.covered("bybit", channel)) == 1
        assert found.covered("bybit", channel)[0][1] > 235
    assert not found.said("connection_lost")
    received = [found.second(one.received_time / 1000) for one in found.of(Liquidation)]
    assert sum(begin < time < begin + lasts for time in received) > 100


def test_who_neither_reads_nor_sends_stalls_and_is_uncovered():
    begin, lasts = 100, 30
    faults = (Fault("slow-reader", "binance", begin, lasts), Fault("silent", "binance", begin - 5, lasts + 10))
    found = collected(play(*faults, speed=5.0), ("binance",), 240)
    first, second = found.covered("binance", "forceOrder")
    assert begin - 2 < first[1] <= begin
    assert begin + lasts <= second[0] < begin + lasts + 2
    [stalled] = found.said("connection_stalled")
    assert found.said("connection_awake")
    assert stalled["channel"] == "forceOrder"
    assert not found.said("connection_lost")
    alive = [row.alive_ms for (_, _, start, _), row in sorted(found.rows().coverage.items()) if start > NOON_MS]
    assert sum(60_000 - one for one in alive[:2]) == round((second[0] - first[1]) * 1000)


def test_a_clock_off_by_minutes_is_on_the_heartbeats_and_a_warning():
    found = collected(play(Fault("clock", "okx", 150, 120), speed=5.0), ("okx", "bybit"), 400)
    offsets = [(found.second(beat.time), beat.clock_offset_ms) for beat in found.of(Heartbeat, exchange="okx")]
    # Asked once a minute.
    assert {offset for time, offset in offsets if 1 < time < 150} == {0}
    assert {offset for time, offset in offsets if 182 < time < 270} == {300_000}
    assert {offset for time, offset in offsets if time > 302} == {0}
    assert {beat.clock_offset_ms for beat in found.of(Heartbeat, exchange="bybit") if found.second(beat.time) > 1} == {
        0
    }
    assert found.said("clock_differs", exchange="okx", offset_ms=300_000)
    assert not found.said("clock_differs", exchange="bybit")
    # It is the exchange's clock that is wrong: what was received is covered as ever.
    assert len(found.covered("okx", "liquidation-orders")) == 1


def contracts_path(exchange: str) -> str:
    return urlsplit(feed_of(exchange).live.metadata.requests[0].url).path


def asked(found, exchange: str) -> list[tuple[float, str, int]]:
    return [
        (entry["time_us"] / 1e6 - NOON_MS / 1000, entry["path"], entry["status"])
        for entry in found.what("asked", exchange)
    ]


def test_too_many_requests_leave_the_host_alone_as_long_as_it_says():
    found = collected(play(Fault("429", "bybit", 0, 9.5), speed=5.0), ("bybit", "okx"), 120)
    requests = asked(found, "bybit")
    refused = [time for time, _, status in requests if status == 429]
    assert refused
    assert max(refused) < 9.5
    for at in refused:
        assert not [time for time, _, _ in requests if at < time < at + 2]
    assert len(found.said("host_left_alone", host="api.bybit.com", seconds=2.0)) == len(set(refused))
    assert found.said("contracts_unavailable", exchange="bybit")
    # Without contracts there is nothing to subscribe to; afterwards everything is as ever.
    first_s = min(time for time, path, status in requests if status == 200 and path.startswith(contracts_path("bybit")))
    assert first_s >= 9.5
    [(begin, end)] = found.covered("bybit", "linear")
    assert first_s <= begin < first_s + 10
    assert end > 115
    assert len(found.of(Subscription, exchange="bybit", state="up")) == 45
    # Another host is asked meanwhile.
    assert {status for _, _, status in asked(found, "okx")} == {200}


def test_a_host_that_is_broken_is_asked_again_after_waits_that_grow():
    found = collected(play(Fault("5xx", "bybit", 0, 60), speed=5.0), ("bybit",), 200)
    requests = asked(found, "bybit")
    assert {status for time, _, status in requests if time < 60} == {503}
    path = contracts_path("bybit")
    times = [time for time, asked_for, _ in requests if asked_for.startswith(path)]
    failed = [time for time in times if time < 60]
    # Two lists, of each four attempts a time; the waits between the times grow.
    given_up = len(found.said("contracts_unavailable", exchange="bybit"))
    assert 4 <= given_up <= 10
    assert 8 * (given_up - 1) < len(failed) <= 8 * given_up
    waits = [after - before for before, after in pairwise(failed)]
    assert max(waits[: len(waits) // 2]) < max(waits[len(waits) // 2 :])
    assert not found.said("host_left_alone")
    [(begin, end)] = found.covered("bybit", "linear")
    assert begin >= 60
    assert end > 195
    coverage = found.rows().coverage
    assert coverage["bybit", "linear", NOON_MS, ""].alive_ms == 0


@pytest.mark.parametrize("kind", ["429", "5xx"])
def test_market_data_stay_within_the_budget_while_they_are_refused(kind):
    choice = Choice(symbols=ASSETS)
    fault = Fault(kind, "okx", 100, 150)
    found = collected(play(fault), ("okx",), 400, choice=choice)
    live = feed_of("okx").live
    weights = {urlsplit(one.url).path: one.weight for one in (*live.metadata.requests, live.clock.request)}
    for poll in live.polls:
        for request in poll.requests(contracts_of(found)):
            weights[urlsplit(request.url).path] = request.weight
    [budget] = {*live.budgets.values()}
    spent = [(time, weights[urlsplit(path).path]) for time, path, _ in asked(found, "okx")]
    most = max(sum(weight for at, weight in spent if time <= at < time + budget.per_s) for time, _ in spent)
    assert 0 < most <= budget.weight
    statuses = Counter((100 <= time < 250, status) for time, _, status in asked(found, "okx"))
    assert statuses[True, 429 if kind == "429" else 503] > 5
    assert statuses[False, 200] > 20
    assert set(statuses) == {(True, 429 if kind == "429" else 503), (False, 200)}
    assert found.said("poll_incomplete", exchange="okx")
    # Liquidations come by sockets, which do not mind.
    assert len(found.covered("okx", "liquidation-orders")) == 1
    metrics = [found.second(one.received_time / 1000) for one in found.of(MarketMetric)]
    assert [time for time in metrics if time < 100]
    assert [time for time in metrics if time > 250]


def contracts_of(found):
    known = {}
    for frame in found.frames:
        if has_instruments(frame):
            learn_instruments(frame, known)
    return [one for one in known.values() if one.asset in ASSETS]
