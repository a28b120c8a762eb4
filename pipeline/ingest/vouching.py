"""From what the connections of a channel prove to its heartbeats: exact to the millisecond, never ahead of the proof.

An `up` heartbeat vouches for the time since the collector's heartbeat before it, whatever that one said, and a `down`
one for nothing. So the covered time begins with a `down` at exactly the moment from which the channel could receive,
and ends with an `up` at the moment up to which it is proved.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.records import ChannelState


@dataclass(frozen=True, slots=True)
class Able:
    """A channel that can receive: without a gap since `since_ms`, proved up to `proved_ms` (ms since 1970)."""

    since_ms: int
    proved_ms: int


class Vouching:
    """Keep what was said of one channel, and say what is new."""

    def __init__(self) -> None:
        self.is_up = False
        self._said_ms = 0
        self._proved_ms = 0

    def say(self, able: Able | None, now_ms: int) -> list[tuple[int, ChannelState]]:
        """Return the times and states of the heartbeats that are due, the times rising; none when there is no news.

        `able` is None for a channel that cannot receive. Call it whenever that may have changed.
        """
        said: list[tuple[int, ChannelState]] = []
        if self.is_up and (able is None or able.since_ms > self._proved_ms):
            # Lost, or lost and regained.
            self._add(said, self._proved_ms, "up")
            self.is_up = False
        if able is None:
            self._add(said, now_ms, "down")
            return said
        if not self.is_up:
            self._add(said, able.since_ms, "down")
            self.is_up = True
            self._proved_ms = self._said_ms
        self._proved_ms = max(self._proved_ms, able.proved_ms)
        self._add(said, self._proved_ms, "up")
        return said

    def withdraw(self, kept_ms: int) -> None:
        """Take back what is proved after `kept_ms`, as far as it is not said yet."""
        self._proved_ms = max(self._said_ms, min(self._proved_ms, kept_ms))

    def _add(self, said: list[tuple[int, ChannelState]], time_ms: int, state: ChannelState) -> None:
        if time_ms > self._said_ms:
            said.append((time_ms, state))
            self._said_ms = time_ms
