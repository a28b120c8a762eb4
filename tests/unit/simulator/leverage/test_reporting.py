"""What the exchanges show of the market is what the ledger says happened, less what each of them leaves out."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import orjson
import pytest

from pipeline.embedded.simulator.leverage import Outage, Run, frames, listings
from pipeline.embedded.simulator.leverage.ledger import ledger_lines
from pipeline.embedded.simulator.leverage.listings import CHANNELS
from pipeline.feeds import Mapping
from pipeline.records import Candle, DeadLetter, Frame, Heartbeat, Liquidation

INSTRUMENTS = {(one.exchange, one.symbol): one.instrument for one in listings()}


@pytest.fixture(scope="session")
def seen(restless):
    """Return the events by exchange, as the mapping reads them; repetitions count once."""
    mapping = Mapping(INSTRUMENTS)
    found = defaultdict(dict)
    for item in restless.items:
        if isinstance(item, Frame):
            for event in mapping.map(item):
                assert isinstance(event, Liquidation), event
                found[event.exchange].setdefault(event.event_id, event)
    return {exchange: list(events.values()) for exchange, events in found.items()}


def true_orders(restless, exchange):
    return [order for order in restless.ledger.orders if order.exchange == exchange]


def lost(restless, exchange, event_time, delay_ms=1_100):
    """Tell whether an order may have been lost in an outage."""
    return any(
        outage.exchange == exchange and outage.begin - delay_ms <= event_time < outage.end
        for outage in restless.ledger.outages
    )


def keys(events):
    return Counter((one.symbol, one.position, one.event_time, one.notional_micros) for one in events)


def true_keys(orders):
    return Counter((one.symbol, one.position, one.time_ms, one.micros) for one in orders)


def test_full_feeds_show_everything_outside_of_outages(restless, seen):
    for exchange in ("gate", "htx"):
        true, shown = true_keys(true_orders(restless, exchange)), keys(seen[exchange])
        assert not shown - true
        missing = true - shown
        assert all(lost(restless, exchange, time_ms) for _, _, time_ms, _ in missing)
        assert bool(missing) == (exchange == "gate")


def test_bybit_shows_everything_some_orders_in_two_rows(restless, seen):
    true, shown = defaultdict(int), defaultdict(int)
    for order in true_orders(restless, "bybit"):
        true[order.symbol, order.position, order.time_ms] += order.micros
    for event in seen["bybit"]:
        shown[event.symbol, event.position, event.event_time] += event.notional_micros
    assert true.keys() == shown.keys()
    assert all(abs(true[key] - shown[key]) <= 1 for key in true)
    assert len(seen["bybit"]) > len(true)


def test_binance_shows_the_latest_of_a_second(restless, seen):
    assert not keys(seen["binance"]) - true_keys(true_orders(restless, "binance"))
    assert len(seen["binance"]) < len(true_orders(restless, "binance"))
    pushed = defaultdict(list)
    for item in restless.items:
        if isinstance(item, Frame) and item.exchange == "binance" and b"forceOrder" in item.payload:
            message = orjson.loads(item.payload)["data"]
            pushed[message["o"]["s"]].append(message["E"])
    for times in pushed.values():
        distinct = sorted(set(times))
        assert all(later - earlier >= 1_000 for earlier, later in pairwise(distinct))


def test_bitget_shows_the_largest_of_a_second_and_position(restless, seen):
    largest = {}
    for order in true_orders(restless, "bitget"):
        key = order.symbol, order.position, order.time_ms // 1000
        largest[key] = max(largest.get(key, 0), order.micros)
    shown = {(one.symbol, one.position, one.event_time // 1000): one.notional_micros for one in seen["bitget"]}
    assert shown == largest
    assert len(seen["bitget"]) == len(largest)


def test_okx_shows_one_of_a_contract_and_second(restless, seen):
    assert not keys(seen["okx"]) - true_keys(true_orders(restless, "okx"))
    seconds = Counter((one.symbol, one.event_time // 1000) for one in seen["okx"])
    assert set(seconds.values()) == {1}
    late = [one for one in seen["okx"] if one.received_time // 1000 - one.event_time > 60_000]
    assert late


def test_a_silent_exchange_is_up_and_one_that_is_down_says_so(restless):
    beats = [item for item in restless.items if isinstance(item, Heartbeat)]
    assert {(beat.exchange, beat.channel) for beat in beats} == set(CHANNELS.items())
    for outage in restless.ledger.outages:
        inside = [one for one in beats if one.exchange == outage.exchange and outage.begin < one.time <= outage.end]
        assert {one.state for one in inside} == {"down" if outage.kind == "down" else "up"}
        assert sum(one.frames for one in inside) == 0
        outside = [one for one in beats if one.exchange == outage.exchange and one not in inside]
        assert {one.state for one in outside} == {"up"}
    frames_read = sum(beat.frames for beat in beats)
    assert frames_read == sum(isinstance(item, Frame) for item in restless.items)


def test_items_come_in_the_order_of_receipt(restless):
    newest = 0
    for item in restless.items:
        time_us = item.time * 1000 if isinstance(item, Heartbeat) else item.received_time
        if isinstance(item, Candle):
            continue
        assert time_us >= newest
        newest = time_us


def test_as_a_recording_it_says_the_same(restless):
    mapping = Mapping(INSTRUMENTS)
    direct, recorded = [], []
    for item in restless.items:
        if isinstance(item, Heartbeat | Candle):
            direct.append(item)
        elif isinstance(item, Frame):
            direct += mapping.map(item)
    mapping = Mapping(INSTRUMENTS)
    for frame in frames(restless.items):
        recorded += mapping.map(frame)
    assert not any(isinstance(one, DeadLetter) for one in recorded)
    assert recorded == direct


def test_candles_hold_the_forced_orders(restless):
    candles = {(one.exchange, one.symbol, one.start): one for one in restless.items if isinstance(one, Candle)}
    listed = [one for one in listings() if one.exchange in {"binance", "bybit", "okx"}]
    assert len(candles) == len(listed) * restless.scenario.seconds // 60
    for exchange in ("binance", "bybit", "okx"):
        for order in true_orders(restless, exchange):
            candle = candles[exchange, order.symbol, order.time_ms - order.time_ms % 60_000]
            assert candle.volume_micros > 0.9 * order.micros
    for candle in candles.values():
        assert candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high


def test_an_exchange_that_is_down_has_no_candles(restless):
    outage = Outage("bybit", 90, 150, "down")
    run = Run(replace(restless.scenario, seconds=300, outages=(outage,)))
    minutes = {
        exchange: {
            (one.start - run.scenario.start_ms) // 60_000
            for one in run.items()
            if isinstance(one, Candle) and one.exchange == exchange
        }
        for exchange in ("bybit", "okx")
    }
    assert minutes == {"bybit": {0, 3, 4}, "okx": {0, 1, 2, 3, 4}}


def test_fewer_heartbeats_change_nothing_else(restless):
    run = Run(replace(restless.scenario, seconds=600), heartbeat_s=5)
    found = [item for item in run.items() if isinstance(item, Heartbeat)]
    assert {beat.time // 1000 % 5 for beat in found[: -2 * len(CHANNELS)]} == {0}
    assert run.ledger.orders == [
        one for one in restless.ledger.orders if one.time_ms < restless.scenario.start_ms + 600_000
    ]


def test_the_ledger_as_lines(restless):
    rows = [orjson.loads(line) for line in ledger_lines(restless.ledger)]
    kinds = Counter(row["kind"] for row in rows)
    assert kinds["outage"] == 2
    assert kinds["cascade"] == len(restless.ledger.cascades) > 0
    total = sum(row["long_micros"] + row["short_micros"] for row in rows if row["kind"] == "minute")
    assert total == sum(order.micros for order in restless.ledger.orders)
    by_contract = restless.ledger.contract_minutes.values()
    assert total == sum(sums.long_micros + sums.short_micros for sums in by_contract)
