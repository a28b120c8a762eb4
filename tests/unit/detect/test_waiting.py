"""Liquidations that no rule has to see yet wait, and nothing is found otherwise, or later, for that."""

from __future__ import annotations

import random

import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, batch, candle, heartbeat, liquidation, run

from pipeline.detect.detectors import cascade
from pipeline.detect.engine import Engine
from pipeline.detect.rules import CascadeRule, RollingThresholdRule, Rules, SurgeRule
from pipeline.detect.waiting import ANY_ROOM, ENDLESS, MOST_EVENTS, NO_ROOM, Room, WaitingEvents, least_room

USD = 1_000_000
MINUTE_MS = 60_000
CONTRACT = CONTRACTS[0][:2]


def row(number=1, micros=10, time_ms=BASE_MS, contract=CONTRACTS[0]):
    [found] = batch([liquidation(number, time_ms, contract, micros=micros)], 0).liquidations
    return found


def waiting_with(room=ANY_ROOM, contracts=(CONTRACT,)):
    waiting = WaitingEvents()
    waiting.set_room("BTC", BASE_MS, contracts, room)
    return waiting


def test_without_room_everything_is_seen_at_once():
    assert WaitingEvents().take("BTC", [row()], 0) == [row()]
    assert waiting_with(NO_ROOM).take("BTC", [row()], 0) == [row()]


def test_what_is_within_the_room_waits_until_more_comes():
    waiting = waiting_with(Room(25, ENDLESS, ENDLESS))
    assert waiting.take("BTC", [row(1)], 0) == []
    assert waiting.take("BTC", [row(2)], 0) == []
    assert waiting.take("BTC", [row(3)], 0) == [row(1), row(2), row(3)]


@pytest.mark.parametrize(
    "beyond",
    [
        row(2, time_ms=BASE_MS - 1),
        row(2, time_ms=BASE_MS + MINUTE_MS),
        row(2, contract=CONTRACTS[2]),
        row(2, micros=1_000),
    ],
    ids=["before the minute", "after it", "another contract", "too large"],
)
def test_what_no_room_was_given_for_is_seen(beyond):
    waiting = waiting_with(Room(100, ENDLESS, ENDLESS))
    assert waiting.take("BTC", [row(1)], 0) == []
    assert waiting.take("BTC", [beyond], 0) == [row(1), beyond]


def test_a_contract_may_have_less_room_than_the_asset():
    waiting = waiting_with(Room(100, ENDLESS, ENDLESS, {CONTRACT: (15, ENDLESS)}), (CONTRACT, CONTRACTS[2][:2]))
    assert waiting.take("BTC", [row(1), row(2, 50, contract=CONTRACTS[2])], 0) == []
    assert len(waiting.take("BTC", [row(3)], 0)) == 3


def test_not_more_than_so_many_wait():
    waiting = waiting_with()
    assert waiting.take("BTC", [row(number) for number in range(MOST_EVENTS)], 0) == []
    assert len(waiting.take("BTC", [row(99)], 0)) == MOST_EVENTS + 1


def test_what_is_due_is_seen():
    waiting = waiting_with(Room(ENDLESS, ENDLESS, 1_000))
    waiting.take("BTC", [row(1)], 999)
    assert waiting.due(999) == []
    assert waiting.due(1_000) == [("BTC", [row(1)])]
    assert waiting.due(1_000) == []
    assert waiting.take("BTC", [row(2)], 1_000) == [row(2)]


def test_after_a_restart_the_same_waits_with_the_same_room():
    waiting = waiting_with(Room(25, 9, 70_000))
    waiting.take("BTC", [row(1)], 0)
    cells = {name.decode(): value for name, value in waiting.cells()}
    assert list(waiting.cells()) == []
    restarted = WaitingEvents()
    restarted.restore(cells)
    assert restarted.take("BTC", [row(2)], 0) == []
    assert restarted.take("BTC", [row(3)], 0) == [row(1), row(2), row(3)]


def test_the_least_of_several_rooms():
    one, other = Room(10, 7, 300, {CONTRACT: (5, 6)}), Room(20, 3, ENDLESS, {CONTRACT: (4, 9)})
    assert least_room([one, ANY_ROOM, other]) == Room(10, 3, 300, {CONTRACT: (4, 6)})


def market(seed, seconds=3_000):
    """Return a log of two assets with quiet and violent times, in which nothing is late."""
    chance = random.Random(seed)
    log, number = [], 0
    for second in range(seconds):
        now = BASE_MS + second * 1_000
        log += [heartbeat(now, channel) for channel in CHANNELS]
        if second % 60 == 7:
            start = now - now % MINUTE_MS - MINUTE_MS
            log += [candle(start, contract, chance.uniform(90, 110), 10**9) for contract in CONTRACTS]
        is_crash = second % 900 > 840
        for _ in range(chance.randrange(9) if is_crash else chance.random() < 0.4):
            number += 1
            size = int(chance.lognormvariate(8.5 if is_crash else 7.0, 1.8) * USD)
            side = "long" if chance.random() < 0.85 else "short"
            log.append(liquidation(number, now + chance.randrange(1_000), chance.choice(CONTRACTS), side, size))
    return log


RULES = Rules(
    surge=SurgeRule(floor_usd=5_000),
    rolling_threshold=RollingThresholdRule(base_usd=300_000),
    cascade=CascadeRule(floor_usd=20_000, least_move_sd=0.0),
)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_found_at_the_same_tick_as_if_nothing_waited(seed, monkeypatch):
    log = market(seed)
    seen = []
    see = Engine._see
    monkeypatch.setattr(Engine, "_see", lambda engine, *what: (seen.append(what), see(engine, *what)))
    found, _ = run(log, rules=RULES)
    less = len(seen)
    seen.clear()
    monkeypatch.setattr(WaitingEvents, "set_room", lambda *_: None)
    monkeypatch.setattr(cascade, "room", lambda *_: (0, 0, 0))
    at_once, _ = run(log, rules=RULES)
    assert less < 0.6 * len(seen)

    first, first_at_once = ({one: said[1] for one, said in any_.anomalies.items()} for any_ in (found, at_once))
    assert first == first_at_once
    assert {one.kind for one in first.values()} >= {"surge", "rolling_threshold", "cascade"}
    last, last_at_once = ({one: said[max(said)] for one, said in any_.anomalies.items()} for any_ in (found, at_once))
    assert {key: (one.value, one.state, one.ended) for key, one in last.items()} == {
        key: (one.value, one.state, one.ended) for key, one in last_at_once.items()
    }
