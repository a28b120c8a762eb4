"""Heartbeats become a watermark and, per channel and minute, the time in which somebody listened.

Only heartbeats move the clock. Event times order nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.records import Heartbeat
from pipeline.windows.parameters import MINUTE_MS

ChannelKey = tuple[str, str]


@dataclass(slots=True)
class Listening:
    """What is known of one channel in one minute: milliseconds covered (0 to 60000) and frames read."""

    alive_ms: int = 0
    frames: int = 0


@dataclass(slots=True)
class Channel:
    """One channel of one exchange.

    `collectors` gives each collector's last heartbeat time (ms) and whether it was up. `covered_until` is the end of
    the time already counted, so that two collectors which listen at once count once. `minutes` holds the minutes that
    can still be asked for, by their start.
    """

    collectors: dict[str, tuple[int, bool]] = field(default_factory=dict)
    covered_until: int = 0
    minutes: dict[int, Listening] = field(default_factory=dict)

    def last_up(self) -> int | None:
        """Return the newest heartbeat time among the collectors that are up, or None if none is."""
        return max((time for time, up in self.collectors.values() if up), default=None)

    def last(self) -> int:
        """Return the newest heartbeat time of any collector."""
        return max(time for time, _ in self.collectors.values())


def hear(channel: Channel, heartbeat: Heartbeat, closed_before: int, behind_ms: int) -> bool:
    """Take one heartbeat of `channel`; return False for one that says nothing new (a repetition).

    A heartbeat that is up vouches for the time since the same collector's heartbeat before it, whatever that one said,
    if the two are at most `behind_ms` apart. Minutes that start before `closed_before` are settled and not touched.
    """
    before = channel.collectors.get(heartbeat.collector)
    if before is not None and heartbeat.time <= before[0]:
        return False
    up = heartbeat.state == "up"
    channel.collectors[heartbeat.collector] = (heartbeat.time, up)
    minute = heartbeat.time - heartbeat.time % MINUTE_MS
    if minute >= closed_before:
        channel.minutes.setdefault(minute, Listening()).frames += heartbeat.frames
    if up and before is not None and heartbeat.time - before[0] <= behind_ms:
        _cover(channel, max(before[0], channel.covered_until, closed_before), heartbeat.time)
    return True


def alive_ms(channels: Mapping[ChannelKey, Channel], key: ChannelKey, start: int) -> int:
    """Return how many milliseconds of the minute from `start` the channel was alive, as far as heard."""
    channel = channels.get(key)
    if channel is None:
        return 0
    listening = channel.minutes.get(start)
    return 0 if listening is None else listening.alive_ms


def next_watermark(channels: Mapping[ChannelKey, Channel], watermark: int, behind_ms: int) -> int:
    """Return the watermark (ms) after the latest heartbeat; it never goes back.

    It is the lowest last heartbeat among the channels that are up and not `behind_ms` behind the newest heartbeat. When
    no channel is up nothing can arrive in time, so the newest heartbeat alone moves it.
    """
    newest = max(channel.last() for channel in channels.values())
    up = [last for channel in channels.values() if (last := channel.last_up()) is not None]
    return max(watermark, min((last for last in up if newest - last <= behind_ms), default=newest))


def _cover(channel: Channel, begin: int, end: int) -> None:
    while begin < end:
        minute = begin - begin % MINUTE_MS
        until = min(end, minute + MINUTE_MS)
        channel.minutes.setdefault(minute, Listening()).alive_ms += until - begin
        begin = until
    channel.covered_until = max(channel.covered_until, end)
