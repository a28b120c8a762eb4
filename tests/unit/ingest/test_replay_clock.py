"""The clock of a replay: who is said to have listened, and when."""

from __future__ import annotations

from pipeline.feeds.statements import INSTRUMENTS, STATEMENTS
from pipeline.ingest.replay_clock import ReplayClock
from pipeline.records import Frame
from pipeline.windows.fold import Batch, fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

BASE_MS = 1_700_000_040_000


def frame(at_ms: int, exchange: str = "binance", connection: str = "file"):
    return Frame(exchange, "forceOrder", connection, 0, (BASE_MS + at_ms) * 1000, b"")


def alive(items, clock=None) -> tuple[dict[tuple[str, int], int], int]:
    """Return the milliseconds heard by exchange and minute after the replay's end, and the last watermark."""
    clock = clock or ReplayClock()
    beats = []
    last = 0
    for item in items:
        if isinstance(item, Frame):
            beats += clock.before(item)
            last = item.received_time // 1000
        else:
            beats += clock.leave(item)
    beats += clock.end(last + 66_000)
    state = PartitionState()
    fold(state, Batch([], [(0, beat) for beat in beats], 0), WindowParameters())
    heard = {(one.exchange, (one.start - BASE_MS) // 60_000): one.alive_ms for one in state.settled_coverage}
    return {key: ms for key, ms in heard.items() if ms}, state.watermark - BASE_MS


def test_a_channel_is_heard_from_its_first_frame_to_the_last():
    heard, watermark = alive([frame(10_300), frame(40_000), frame(95_200)])
    assert heard == {("binance", 0): 49_700, ("binance", 1): 35_200}
    assert watermark == 95_200 + 66_000


def test_another_channel_of_the_same_recorder_stays_up_while_frames_come():
    heard, _ = alive([frame(0), frame(20_000, "bybit"), frame(60_000)])
    assert heard == {("binance", 0): 60_000, ("bybit", 0): 40_000}


def test_ten_minutes_without_a_frame_mean_that_the_recorder_had_stopped():
    heard, _ = alive([frame(0), frame(30_000), frame(30_000 + 600_000), frame(1_300_001), frame(1_310_001)])
    assert heard[("binance", 5)] == 60_000
    assert ("binance", 15) not in heard
    assert heard[("binance", 21)] == 10_000


def test_a_recording_that_ends_takes_only_its_own_channels_along():
    over = {("binance", "forceOrder", "file")}
    heard, _ = alive([frame(0), frame(0, "bybit", "other"), frame(20_000), over, frame(60_000, "bybit", "other")])
    assert heard == {("binance", 0): 20_000, ("bybit", 0): 60_000}


def test_a_channel_of_two_recordings_is_up_until_the_second_ends():
    over = {("binance", "forceOrder", "file")}
    heard, _ = alive([frame(0), frame(5_000, connection="b"), frame(20_000), over, frame(60_000, connection="b")])
    assert heard == {("binance", 0): 60_000}


def test_the_heartbeats_of_a_channel_rise_and_speak_of_every_frame():
    clock = ReplayClock()
    frames = [frame(at) for at in (0, 0, 1, 4_999, 5_000, 5_000, 61_000, 700_000, 700_000)]
    beats = [beat for one in frames for beat in clock.before(one)]
    beats += list(clock.end(BASE_MS + 900_000))
    times = [beat.time for beat in beats]
    assert times == sorted(set(times))
    assert sum(beat.frames for beat in beats) == len(frames)


def test_days_of_silence_cost_nothing():
    clock = ReplayClock()
    beats = [beat for one in (frame(0), frame(30 * 86_400_000)) for beat in clock.before(one)]
    assert len(beats) < 10


def said(at_ms: int, exchange: str = "binance", channel: str = STATEMENTS, connection: str = "tokyo/statements"):
    return Frame(exchange, channel, connection, 0, (BASE_MS + at_ms) * 1000, b"{}")


def test_a_recording_with_its_collectors_own_statements_gets_no_others():
    clock = ReplayClock()
    items = [
        said(0, channel=INSTRUMENTS, connection="tokyo/instruments"),
        said(100, channel="rest:exchangeInfo", connection="tokyo/fapi/v1/exchangeInfo?"),
        said(200),
        *(frame(at_ms, connection="tokyo/forceOrder/1-0") for at_ms in range(300, 900_000, 20_000)),
        said(900_000),
        frame(1_900_000),
    ]
    beats = [beat for item in items for beat in clock.before(item)]
    assert not beats
    assert not list(clock.leave({("binance", "forceOrder", "tokyo/forceOrder/1-0")}))
    assert not list(clock.end(BASE_MS + 2_000_000))


def test_statements_of_one_exchange_leave_the_others_to_the_clock():
    heard, watermark = alive([frame(0, "bybit"), said(1_000), frame(20_000), frame(60_000, "bybit")])
    assert heard == {("bybit", 0): 60_000}
    assert watermark == 60_000 + 66_000


def test_what_was_told_before_the_first_statement_ends_there():
    """A recording may begin in the middle; afterwards the collector speaks for itself, and nobody else to the end."""
    clock = ReplayClock()
    items = [frame(0), frame(12_000), said(13_000), frame(60_000)]
    beats = [beat for item in items for beat in clock.before(item)] + list(clock.end(BASE_MS + 126_000))
    assert [(beat.time - BASE_MS, beat.state) for beat in beats] == [
        (0, "down"),
        (5_000, "up"),
        (10_000, "up"),
        (12_000, "up"),
        (12_001, "down"),
    ]
