"""Silences in replays: heartbeats are made from the frames themselves, and a hole in a recording is none."""

from __future__ import annotations

import pytest

from pipeline.embedded.simulator import simulate
from pipeline.ingest.recordings import read_recordings
from pipeline.ingest.replay_clock import ReplayClock
from pipeline.records import Frame
from pipeline.windows.fold import Batch, fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

MINUTE_MS = 60_000


def silences(items):
    """Return the silences of a replay, and its last watermark (ms)."""
    clock, state, parameters = ReplayClock(), PartitionState(), WindowParameters()
    last_ms = 0
    for item in items:
        beats = clock.before(item) if isinstance(item, Frame) else clock.leave(item.connections)
        fold(state, Batch([], [(0, beat) for beat in beats], 0), parameters)
        if isinstance(item, Frame):
            last_ms = max(last_ms, item.received_time // 1000)
    fold(state, Batch([], [(0, beat) for beat in clock.end(last_ms + 66_000)], 0), parameters)
    return state.settled_silences, last_ms


@pytest.mark.parametrize("recording", ["binance_btcusdt_2024-12", "binance_forceorder_csv", "multi_venue_small"])
def test_no_recorded_data_hold_a_silence(shared_dir, recording):
    found, last_ms = silences(read_recordings([shared_dir / "data" / recording]))
    assert last_ms
    assert not found


def test_a_simulated_market_with_its_crash_holds_none():
    assert not silences(simulate(seed=7))[0]


def test_a_hole_in_a_recording_is_none_and_one_channel_that_stops_is():
    frames = list(simulate(seed=3, hours=3.0))
    begin = frames[0].received_time // 1000 + 100 * MINUTE_MS
    hole = [one for one in frames if not begin <= one.received_time // 1000 < begin + 20 * MINUTE_MS]
    assert not silences(hole)[0]
    stopped = [one for one in frames if one.exchange != "binance" or one.received_time // 1000 < begin]
    (silence,) = silences(stopped)[0]
    assert (silence.exchange, silence.channel) == ("binance", "forceOrder")
    assert begin - 20_000 < silence.began <= begin + 5_000
    assert silence.found - silence.began < 5 * MINUTE_MS
