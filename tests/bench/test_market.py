"""The log that the engines are timed on holds what its expected bars say."""

import importlib
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.codec import Codec
from pipeline.records import Heartbeat, Liquidation

HERE = Path(__file__).resolve().parent


@pytest.fixture
def market(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module("market")
    sys.modules.pop("market")


def test_expected_bars_are_the_sums_of_the_log(market):
    log = market.build_log(3_000, contract_count=50, minutes=3)
    codec = Codec()
    events = [event for record in log.main if isinstance(event := codec.decode(record.value), Liquidation)]
    assert len(events) == log.main_liquidations == 3_000
    # The closing events are in minutes of their own.
    last_minute = max(key[2] for key in log.main_bars)
    timed = [event for event in events if event.event_time < last_minute + market.MINUTE_MS]
    assert len(timed) == 3_000 - 50
    bars = log.main_bars.values()
    assert sum(long + short for long, short, *_ in bars) == sum(event.notional_micros for event in timed)
    counts = Counter((e.exchange, e.symbol, e.event_time // market.MINUTE_MS * market.MINUTE_MS) for e in timed)
    assert {key: longs + shorts for key, (_, _, longs, shorts, *_) in log.main_bars.items()} == counts
    assert max(bar[4] for bar in bars) == max(event.notional_micros for event in timed)


def test_no_event_is_late_and_heartbeats_come_every_second(market):
    log = market.build_log(3_000, contract_count=50, minutes=3)
    codec = Codec()
    newest, beats = 0, Counter()
    for record in log.main:
        event = codec.decode(record.value)
        if isinstance(event, Heartbeat):
            assert record.key is None
            beats[event.exchange, event.time] += 1
        else:
            assert record.key == event.asset.encode()
            assert event.event_time > newest - market.LATENESS_MS
            newest = max(newest, event.event_time)
    assert set(beats.values()) == {1}
    times = sorted(time for exchange, time in beats if exchange == "okx")
    assert all(later - earlier == 1000 for earlier, later in pairwise(times[:170]))


def test_every_contract_is_in_the_warm_up_and_closes_its_bars(market):
    log = market.build_log(3_000, contract_count=50, minutes=3)
    assert len(log.warm_up_bars) == 50
    codec = Codec()
    closing = [codec.decode(record.value) for record in log.main if record.key is not None][-50:]
    assert len({(event.exchange, event.symbol) for event in closing}) == 50
    last_end = max(key[2] for key in log.main_bars) + market.MINUTE_MS
    assert all(event.event_time >= last_end + market.LATENESS_MS for event in closing)


def test_a_log_is_a_function_of_its_seed(market):
    assert market.build_log(500, contract_count=20, minutes=1) == market.build_log(500, contract_count=20, minutes=1)
