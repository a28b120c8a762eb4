"""A recorded day by itself: at midnight every collector says again what it knows."""

from __future__ import annotations

import pytest
from market_rig import Collected, collected, refusals, rows_of

from pipeline.embedded.exchange_server import Play
from pipeline.feeds.mapping import Mapping
from pipeline.feeds.statements import has_instruments, nothing_known_payload
from pipeline.records import Heartbeat, Liquidation, Subscription

# 2026-11-24 23:57:00 UTC.
START_MS = 1_795_564_620_000
MIDNIGHT_MS = START_MS + 180_000


@pytest.fixture(scope="module")
def days() -> tuple[Collected, list, list]:
    """Return all that was collected, and the frames of the second day with what they mean by themselves."""
    found = collected(Play(speed=8.0, traps_per_hour=0.0), ("okx", "bybit"), 420.0, start_ms=START_MS)
    frames = [frame for frame in found.frames if frame.received_time >= MIDNIGHT_MS * 1000]
    mapping = Mapping({})
    return found, frames, [mapped for frame in frames for mapped in mapping.map(frame)]


def test_the_day_begins_with_all_contracts_and_subscriptions(days):
    found, frames, _ = days
    before = [frame for frame in found.frames if frame.received_time < MIDNIGHT_MS * 1000]
    for exchange in ("okx", "bybit"):
        first = next(frame for frame in frames if frame.exchange == exchange)
        assert has_instruments(first)
        said = {
            line for frame in before if has_instruments(frame) and frame.exchange == exchange for line in _lines(frame)
        }
        assert len(said) > 40
        # Where the collector began, it knew none.
        begun = next(frame for frame in before if has_instruments(frame) and frame.exchange == exchange)
        assert begun.payload == nothing_known_payload()
        assert set(_lines(first)) == said - {nothing_known_payload()}
    again = [frame for frame in frames if has_instruments(frame)]
    assert len(again) == 2
    subscribed = [one for one in found.of(Subscription, state="up") if one.time == MIDNIGHT_MS]
    assert len(subscribed) == len({one.symbol for one in found.of(Subscription, state="up")}) == 45


def _lines(frame):
    return frame.payload.splitlines()


def test_the_second_day_alone_holds_the_same_events(days):
    found, _, alone = days
    live = [one for one in found.of(Liquidation) if one.received_time >= MIDNIGHT_MS * 1000]
    assert len(live) > 500
    assert {one.exchange for one in live} == {"okx", "bybit"}
    assert [one for one in alone if isinstance(one, Liquidation)] == live
    assert refusals(alone) == []


def test_the_second_day_alone_gives_the_same_bars_from_its_second_minute_on(days):
    found, _, alone = days
    whole, day = found.rows(), rows_of(alone, found.settings)
    since_ms = MIDNIGHT_MS + 60_000
    bars = {key: bar for key, bar in whole.bars.items() if key[2] >= since_ms}
    assert len(bars) > 100
    assert {key: bar for key, bar in day.bars.items() if key[2] >= since_ms} == bars
    coverage = {key: row for key, row in whole.coverage.items() if key[2] >= since_ms}
    assert {key: row for key, row in day.coverage.items() if key[2] >= since_ms} == coverage


def test_saying_it_again_changes_no_row(days):
    found, _, _ = days
    once = [one for one in found.records if not (isinstance(one, Subscription) and one.time == MIDNIGHT_MS)]
    assert len(once) == len(found.records) - 45
    assert rows_of(once, found.settings) == found.rows()
    assert found.of(Heartbeat, state="up")
