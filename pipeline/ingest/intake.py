"""The one way in: everything that enters becomes a frame with a time of its own, in one order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from pipeline.feeds import Mapping
from pipeline.feeds.feed import Mapped
from pipeline.ingest.spooling_publisher import SpoolingPublisher
from pipeline.records import DeadLetter, Frame, Heartbeat

_log = structlog.get_logger()

# The clock of a computer is corrected now and then; by more than this somebody should know.
_BACK_US: Final = 1_000_000
_DAY_US: Final = 86_400_000_000
_LOOK_AGAIN_S: Final = 0.01
# Below what makes the publisher turn to the disk at once.
_MOST_WAITING: Final = 40_000


class Outlet(Protocol):
    """Where frames go. The order of the calls is the order of everything behind them."""

    @property
    def has_room(self) -> bool:
        """Tell whether more frames may come now; who reads sockets stops reading while there is none."""
        ...

    @property
    def position(self) -> int:
        """Return how many frames were taken."""
        ...

    @property
    def safe_position(self) -> int:
        """Return how many of them, from the first on, would outlive a kill of this process."""
        ...

    async def room(self) -> None:
        """Return when there is room."""
        ...

    def take(self, frame: Frame) -> None:
        """Publish a frame and what it means, or keep it safe until that can be done."""
        ...

    def leave(self, exchange: str, channel: str, connection: str) -> None:
        """Hear that a connection has ended, behind its frames."""
        ...


class Intake:
    """Make frames of what comes in and hand them on at once.

    `received_time` (µs since 1970) rises with every frame of the process, also where the computer's clock stands still
    or goes back, so that sorting recorded frames by it restores the order in which they were worked on.
    """

    def __init__(self, outlet: Outlet, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._outlet = outlet
        self._now_ns = now_ns
        self._last_us = 0
        self._is_back = False
        self._day_ends_us = 0
        self._on_new_day: list[Callable[[int], None]] = []
        # Bound once: they are called for every message.
        self._take = outlet.take
        self.leave = outlet.leave
        self.room = outlet.room

    @property
    def has_room(self) -> bool:
        """Tell whether more may come in."""
        return self._outlet.has_room

    @property
    def position(self) -> int:
        """Return how many frames have come in."""
        return self._outlet.position

    @property
    def safe_position(self) -> int:
        """Return how many of them, from the first on, can be lost no more."""
        return self._outlet.safe_position

    def now_ns(self) -> int:
        """Return what the clock says (ns since 1970)."""
        return self._now_ns()

    def now_us(self) -> int:
        """Return the time (µs since 1970), not before that of the last frame."""
        return max(self._last_us, self._now_ns() // 1000)

    def now_ms(self) -> int:
        """Return the time in whole milliseconds."""
        return self.now_us() // 1000

    def next_ms(self) -> int:
        """Return the first whole millisecond behind the last frame: what begins with it can be said from there on."""
        return self.now_ms() + 1

    def on_new_day(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called before the first frame of each further UTC day, with the time of midnight (ms)."""
        self._on_new_day.append(tell)

    def bring(self, exchange: str, channel: str, connection: str, payload: bytes, sequence: int | None = None) -> Frame:
        """Take in one message and return its frame.

        Without a `sequence` the receive time is taken for it, which is unique over restarts: for connections that have
        one name for ever, such as REST answers and the collector's own statements.
        """
        received_us = self._now_ns() // 1000
        if received_us >= self._day_ends_us:
            self._begin_day(received_us)
        if received_us <= self._last_us:
            if received_us < self._last_us - _BACK_US and not self._is_back:
                self._is_back = True
                _log.warning("clock_went_back", seconds=round((self._last_us - received_us) / 1e6, 3))
            received_us = self._last_us + 1
        self._last_us = received_us
        frame = Frame(
            exchange, channel, connection, received_us if sequence is None else sequence, received_us, payload
        )
        self._take(frame)
        return frame

    def _begin_day(self, received_us: int) -> None:
        is_first = not self._day_ends_us
        midnight_us = received_us - received_us % _DAY_US
        self._day_ends_us = midnight_us + _DAY_US
        if not is_first:
            for tell in self._on_new_day:
                tell(midnight_us // 1000)


class Published:
    """The outlet that maps and publishes at once.

    `observe` is told of every event and refusal. While Kafka hesitates, so many records may wait for its confirmation;
    then the senders have to wait, until the publisher takes Kafka for away and turns to the disk.
    """

    def __init__(self, publisher: SpoolingPublisher, mapping: Mapping, observe: Callable[[Mapped], None]) -> None:
        self._publisher = publisher
        self._mapping = mapping
        self._observe = observe

    @property
    def has_room(self) -> bool:
        """Tell whether the broker keeps up, or the disk takes its place."""
        publisher = self._publisher
        return publisher.waiting < _MOST_WAITING or publisher.way != "direct"

    @property
    def position(self) -> int:
        """Return how many frames were published."""
        return self._publisher.position

    @property
    def safe_position(self) -> int:
        """Return how many of them the broker or the disk has."""
        return self._publisher.safe_position

    async def room(self) -> None:
        """Return when the broker has caught up, or the disk takes its place."""
        while not self.has_room:
            self._publisher.hear()
            await asyncio.sleep(_LOOK_AGAIN_S)

    def take(self, frame: Frame) -> None:
        """Publish a frame, its events and its refusals."""
        publisher = self._publisher
        publisher.frame(frame)
        for mapped in self._mapping.map(frame):
            if isinstance(mapped, DeadLetter):
                publisher.dead_letter(mapped)
            elif isinstance(mapped, Heartbeat):
                publisher.heartbeat(mapped)
            else:
                publisher.event(mapped)
            self._observe(mapped)

    def leave(self, exchange: str, channel: str, connection: str) -> None:
        """Forget what the messages of a connection assumed from each other."""
        self._mapping.leave(exchange, channel, connection)
