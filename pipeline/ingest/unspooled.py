"""The outlet of a run that is begun anew if it fails: nothing of it has to outlive this process."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.feeds import Mapping
from pipeline.feeds.feed import Mapped
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.replay import Progress, Replayed, publish
from pipeline.records import Frame


class Unspooled:
    """Map and publish at once, and take for safe what the publisher was given.

    While Kafka hesitates, the publisher itself waits. `observe` is told of every event and refusal, `progress` of the
    counts after every frame.
    """

    def __init__(
        self, publisher: Publisher, observe: Callable[[Mapped], None], counts: Replayed, progress: Progress
    ) -> None:
        self._publisher = publisher
        self._mapping = Mapping({})
        self._observe = observe
        self._counts = counts
        self._progress = progress

    @property
    def has_room(self) -> bool:
        """Tell that more frames may come now."""
        return True

    @property
    def position(self) -> int:
        """Return how many frames were taken."""
        return self._counts.frames

    @property
    def safe_position(self) -> int:
        """Return the same: a failure ends the run, and the next one begins from nothing."""
        return self._counts.frames

    async def room(self) -> None:
        """Return at once."""

    def take(self, frame: Frame) -> None:
        """Publish a frame, its events and its refusals."""
        counts = self._counts
        counts.frames += 1
        counts.time_us = frame.received_time
        self._publisher.frame(frame)
        found = False
        for mapped in self._mapping.map(frame):
            found = True
            publish(mapped, self._publisher, counts)
            self._observe(mapped)
        counts.without_events += not found
        self._progress(counts)

    def leave(self, exchange: str, channel: str, connection: str) -> None:
        """Forget what the messages of a connection assumed from each other."""
        self._mapping.leave(exchange, channel, connection)
