"""The clock of a replay: heartbeats made from the frames' own times.

A recording says when frames came, not when somebody listened. The rules by which coverage is told from it:

- a channel is up from its first frame on: before that nobody knows whether it was subscribed;
- it stays up while frames of any channel keep coming, since they share the recorder, and until the recordings end that
  brought it;
- when no frame at all came for `gap_ms`, the recorder is taken to have stopped at the last frame before.

A recording of live collection holds the collector's own statements. From the first one of an exchange on, nothing is
told here of that exchange, and nothing at the end: its clock stops where the collector's stopped, as it did live. What
else a collector says or asks for besides listening (contracts, answers of REST) is no sign of a channel.

Heartbeats stand in the log before the frames they precede, on every fifth second: a live collector says more, and a
replay of hours should take seconds. In quiet times, when no frame came for `idle_after_ms`, every tenth second does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.feeds.statements import REST, has_instruments, has_statements
from pipeline.records import ChannelState, Frame, Heartbeat

ChannelKey = tuple[str, str]  # exchange, channel

_TICK_MS = 5_000
_IDLE_TICK_MS = 10_000


@dataclass(slots=True)
class _Channel:
    frames: int = 0
    last_frame_time: int | None = None
    beat_ms: int = 0
    connections: set[str] = field(default_factory=set)


@dataclass(slots=True)
class ReplayClock:
    """Turn the times of frames, in the order of `received_time`, into heartbeats."""

    collector: str = "replay"
    gap_ms: int = 600_000
    idle_after_ms: int = 10_000
    _channels: dict[ChannelKey, _Channel] = field(default_factory=dict)
    _stated: set[str] = field(default_factory=set)
    _known: dict[ChannelKey, int] = field(default_factory=dict)
    _last_frame_ms: int = 0
    _tick_ms: int = 0

    def before(self, frame: Frame) -> Iterator[Heartbeat]:
        """Yield the heartbeats that stand before `frame`, and count it."""
        time_ms = max(self._last_frame_ms, frame.received_time // 1000)
        if self._channels and time_ms - self._last_frame_ms > self.gap_ms:
            yield from self._leave(list(self._channels), self._last_frame_ms)
        yield from self._ticks(time_ms)
        if has_statements(frame) and frame.exchange not in self._stated:
            yield from self._give_way(frame.exchange)
        if frame.exchange in self._stated or has_instruments(frame) or frame.channel.startswith(REST):
            self._last_frame_ms = time_ms
            return
        key = (frame.exchange, frame.channel)
        channel = self._channels.get(key)
        if channel is None:
            # Down until now: a heartbeat speaks of the time before it.
            channel = self._channels[key] = _Channel(beat_ms=self._known.get(key, 0))
            yield from self._beat(key, channel, time_ms, "down")
        channel.connections.add(frame.connection)
        channel.frames += 1
        channel.last_frame_time = frame.received_time
        self._last_frame_ms = time_ms

    def leave(self, connections: Iterable[tuple[str, str, str]]) -> Iterator[Heartbeat]:
        """Yield what says that channels are down from the last frame on, since these connections were their last.

        `connections` are (exchange, channel, connection).
        """
        for exchange, name, connection in sorted(connections):
            channel = self._channels.get((exchange, name))
            if channel is not None:
                channel.connections.discard(connection)
                if not channel.connections:
                    yield from self._leave([(exchange, name)], self._last_frame_ms)

    def end(self, until_ms: int) -> Iterator[Heartbeat]:
        """Yield what ends the replay: every channel down, and the clock at `until_ms`, so that bars can close."""
        yield from self._leave(list(self._channels), self._last_frame_ms)
        for key in sorted(self._known):
            yield from self._beat(key, _Channel(beat_ms=self._known[key]), until_ms, "down")

    def _give_way(self, exchange: str) -> Iterator[Heartbeat]:
        self._stated.add(exchange)
        yield from self._leave([key for key in self._channels if key[0] == exchange], self._last_frame_ms)
        self._known = {key: beat_ms for key, beat_ms in self._known.items() if key[0] != exchange}

    def _ticks(self, until_ms: int) -> Iterator[Heartbeat]:
        while self._channels:
            idle = self._tick_ms - self._last_frame_ms >= self.idle_after_ms
            step = _IDLE_TICK_MS if idle else _TICK_MS
            tick = self._tick_ms - self._tick_ms % step + step
            if tick > until_ms:
                return
            self._tick_ms = tick
            for key, channel in self._channels.items():
                yield from self._beat(key, channel, tick, "up")
        self._tick_ms = until_ms

    def _leave(self, keys: list[ChannelKey], last_ms: int) -> Iterator[Heartbeat]:
        for key in keys:
            channel = self._channels.pop(key)
            yield from self._beat(key, channel, last_ms, "up")
            yield from self._beat(key, channel, last_ms + 1, "down")

    def _beat(self, key: ChannelKey, channel: _Channel, time_ms: int, state: ChannelState) -> Iterator[Heartbeat]:
        if time_ms <= channel.beat_ms:
            return
        exchange, name = key
        yield Heartbeat(exchange, name, self.collector, time_ms, state, channel.frames, channel.last_frame_time)
        channel.frames = 0
        channel.beat_ms = self._known[key] = time_ms
