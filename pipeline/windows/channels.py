"""Heartbeats become a watermark and, per channel and minute, the time in which somebody listened.

Only heartbeats move the clock. Event times order nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.records import Heartbeat, Silence
from pipeline.windows.parameters import MINUTE_MS
from pipeline.windows.silence import SLOT_MS, ChannelKey, Habit
from pipeline.windows.spans import Span, left, shared, total_ms
from pipeline.windows.subscriptions import Contract


@dataclass(slots=True)
class Listening:
    """What is known of one channel in one minute: milliseconds covered (0 to 60000) and data messages read."""

    alive_ms: int = 0
    frames: int = 0


@dataclass(slots=True)
class Slot:
    """One channel in one slot of `pipeline.windows.silence`: milliseconds covered, data messages by collector."""

    alive_ms: int = 0
    frames: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class LastData:
    """The last heartbeat of a channel that brought data, its time (ms), and what was settled since.

    `alive_ms` and `frames` are what its minute was up to then, known once that is settled. `settled` are the minutes
    that were said to be covered, as spans from the first one's start to the last one's end.
    """

    time: int = 0
    alive_ms: int = 0
    frames: int = 0
    settled: list[Span] = field(default_factory=list)

    def hear(self, time: int) -> None:
        """Take note of data."""
        self.time = max(self.time, time)
        if self.settled:
            self.settled = []


@dataclass(slots=True)
class Channel:
    """One channel of one exchange.

    `collectors` gives each collector's last heartbeat time (ms) and whether it was up; `newest` is the latest of these
    times, `newest_up` that of those who are up, 0 if none is. `minutes` holds the minutes that can still be asked for,
    by their start, `spans` when each collector listened in them, so that two who listen at once count once, and `slots`
    what is not judged yet.

    `silence` is the one that lasts: through it no heartbeat vouches for anything. `resumed` is the end of the last one.
    """

    collectors: dict[str, tuple[int, bool]] = field(default_factory=dict)
    newest: int = 0
    newest_up: int = 0
    resumed: int = 0
    minutes: dict[int, Listening] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    slots: dict[int, Slot] = field(default_factory=dict)
    last_data: LastData = field(default_factory=LastData)
    habit: Habit = field(default_factory=Habit)
    silence: Silence | None = None

    def forget_before(self, time: int) -> None:
        """Forget when collectors listened before `time`."""
        for collector, spans in self.spans.items():
            if spans and spans[0][1] <= time:
                self.spans[collector] = [span for span in spans if span[1] > time]

    def reckon(self) -> None:
        """Find `newest` and `newest_up` from the collectors."""
        self.newest = max((time for time, _ in self.collectors.values()), default=0)
        self.newest_up = max((time for time, up in self.collectors.values() if up), default=0)


def hear(channel: Channel, heartbeat: Heartbeat, closed_before: int, behind_ms: int, judged_before: int = 0) -> bool:
    """Take one heartbeat of `channel`; return False for one that says nothing new (a repetition).

    A heartbeat that is up vouches for the time since the same collector's heartbeat before it, whatever that one said,
    if the two are at most `behind_ms` apart and the channel is not known to be silent. Minutes that start before
    `closed_before` are settled and not touched; what belongs into a slot before `judged_before` counts in that one.
    """
    collector, time, frames = heartbeat.collector, heartbeat.time, heartbeat.frames
    before = channel.collectors.get(collector)
    if before is not None and time <= before[0]:
        return False
    up = heartbeat.state == "up"
    channel.collectors[collector] = (time, up)
    if len(channel.collectors) == 1:
        channel.newest, channel.newest_up = time, time if up else 0
    else:
        channel.reckon()
    minute = time - time % MINUTE_MS
    if minute >= closed_before:
        listening = channel.minutes.get(minute)
        if listening is None:
            listening = channel.minutes[minute] = Listening()
        listening.frames += frames
    # A heartbeat on the edge of two slots speaks of the one before.
    place = max(time - 1 - (time - 1) % SLOT_MS, judged_before)
    slot = channel.slots.get(place)
    if slot is None:
        slot = channel.slots[place] = Slot()
    if up and before is not None and time - before[0] <= behind_ms and channel.silence is None:
        begin = max(before[0], channel.resumed)
        others = [span for other, spans in channel.spans.items() if other != collector for span in spans]
        for first, last in left(max(begin, closed_before), time, others):
            slot.alive_ms += last - first
            _cover(channel, first, last)
        _extend(channel, collector, begin, time)
    if frames > 0:
        slot.frames[collector] = slot.frames.get(collector, 0) + frames
        channel.last_data.hear(time)
    return True


def alive_ms(channel: Channel | None, start: int) -> int:
    """Return how many milliseconds of the minute from `start` the channel was alive, as far as heard."""
    listening = None if channel is None else channel.minutes.get(start)
    return 0 if listening is None else listening.alive_ms


def alive_until(channel: Channel, start: int, time: int) -> int:
    """Return how many milliseconds of the minute from `start` the channel was alive before `time`."""
    spans = [span for spans in channel.spans.values() for span in spans]
    return min(alive_ms(channel, start), total_ms(spans, start, min(time, start + MINUTE_MS)))


def contract_alive_ms(channel: Channel | None, contract: Contract | None, start: int) -> int:
    """Return the same for one contract of a channel that is subscribed contract by contract.

    That is the time in which, by the same collector, the channel was up and the contract subscribed. None stands for a
    contract that was never confirmed.
    """
    alive = alive_ms(channel, start)
    if channel is None or contract is None or not alive:
        return 0
    for collector, (time, _) in channel.collectors.items():
        if time > start and not contract.is_subscribed_since(collector, start):
            break
    else:
        return alive
    both: list[Span] = []
    for collector, spans in channel.spans.items():
        both += shared(spans, contract.spans.get(collector, ()))
    return min(alive, total_ms(both, start, start + MINUTE_MS))


def next_watermark(channels: Mapping[ChannelKey, Channel], watermark: int, behind_ms: int) -> int:
    """Return the watermark (ms) after the latest heartbeat; it never goes back.

    It is the lowest last heartbeat among the channels that are up and not `behind_ms` behind the newest heartbeat. When
    no channel is up nothing can arrive in time, so the newest heartbeat alone moves it.
    """
    newest = max([channel.newest for channel in channels.values()])
    least = newest - behind_ms
    up = [channel.newest_up for channel in channels.values() if channel.newest_up and channel.newest_up >= least]
    return max(watermark, min(up, default=newest))


def _cover(channel: Channel, begin: int, end: int) -> None:
    while begin < end:
        minute = begin - begin % MINUTE_MS
        until = min(end, minute + MINUTE_MS)
        listening = channel.minutes.get(minute)
        if listening is None:
            listening = channel.minutes[minute] = Listening()
        listening.alive_ms += until - begin
        begin = until


def _extend(channel: Channel, collector: str, begin: int, end: int) -> None:
    if begin >= end:
        return
    spans = channel.spans.setdefault(collector, [])
    if spans and spans[-1][1] >= begin:
        spans[-1] = (spans[-1][0], end)
    else:
        spans.append((begin, end))
