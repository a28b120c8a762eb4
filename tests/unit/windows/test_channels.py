"""The watermark: named cases."""

from __future__ import annotations

from event_logs import CHANNELS, heartbeat

from pipeline.windows.channels import Channel, hear, next_watermark


def watermark_after(*heartbeats, behind_ms=30_000):
    channels = {}
    watermark = 0
    for beat in heartbeats:
        channel = channels.setdefault((beat.exchange, beat.channel), Channel())
        hear(channel, beat, 0, behind_ms)
        watermark = next_watermark(channels, watermark, behind_ms)
    return watermark


def test_the_slowest_channel_that_is_up_sets_it():
    assert watermark_after(heartbeat(1_000, CHANNELS[0]), heartbeat(2_500, CHANNELS[1])) == 1_000
    both = (heartbeat(1_000, CHANNELS[0]), heartbeat(2_500, CHANNELS[1]), heartbeat(2_000, CHANNELS[0]))
    assert watermark_after(*both) == 2_000


def test_a_channel_that_is_down_is_left_out():
    assert (
        watermark_after(
            heartbeat(1_000, CHANNELS[0]), heartbeat(1_500, CHANNELS[0], "down"), heartbeat(9_000, CHANNELS[1])
        )
        == 9_000
    )


def test_a_channel_too_far_behind_is_left_out():
    slow, fast = heartbeat(1_000, CHANNELS[0]), CHANNELS[1]
    assert watermark_after(slow, heartbeat(31_000, fast)) == 1_000
    assert watermark_after(slow, heartbeat(31_001, fast)) == 31_001


def test_when_everything_is_down_the_clock_goes_on():
    assert watermark_after(heartbeat(1_000), heartbeat(2_000, state="down"), heartbeat(99_000, state="down")) == 99_000


def test_it_never_goes_back():
    assert watermark_after(heartbeat(50_000, CHANNELS[0]), heartbeat(45_000, CHANNELS[1])) == 50_000


def test_a_collector_that_dies_does_not_hold_the_channel_back_while_another_listens():
    assert watermark_after(heartbeat(1_000, collector="one"), heartbeat(9_000, collector="two")) == 9_000


def test_a_repeated_or_older_heartbeat_of_one_collector_says_nothing():
    channel = Channel()
    assert hear(channel, heartbeat(5_000), 0, 30_000)
    assert not hear(channel, heartbeat(5_000), 0, 30_000)
    assert not hear(channel, heartbeat(4_000, state="down"), 0, 30_000)
    assert (channel.newest, channel.newest_up) == (5_000, 5_000)
