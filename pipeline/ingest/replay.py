"""A recording enters the pipeline: frames are published, mapped, and their events published with the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.feeds import Mapping
from pipeline.feeds.feed import Instruments, Mapped
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.recordings import EndOfRecording
from pipeline.ingest.replay_clock import ReplayClock
from pipeline.records import DeadLetter, Frame, Heartbeat, Liquidation, Subscription
from pipeline.windows.parameters import MINUTE_MS


@dataclass(slots=True)
class Replayed:
    """What a replay published.

    `frames` read, `events` found in them (repetitions included), `dead_letters` for refusals, and frames that held
    neither (acknowledgements, answers to pings). `statements` are the heartbeats and subscriptions that a collector's
    own frames hold. `time_us` is the receive time of the newest frame, 0 before the first.
    """

    frames: int = 0
    events: int = 0
    dead_letters: int = 0
    without_events: int = 0
    statements: int = 0
    time_us: int = 0


# Called often; what it is given goes on changing.
Progress = Callable[[Replayed], None]


def replay(
    items: Iterable[Frame | EndOfRecording],
    instruments: Instruments,
    publisher: Publisher,
    lateness_ms: int,
    progress: Progress,
) -> Replayed:
    """Publish everything in `items`, which are in the order of their times, and return the counts.

    Frames of live collection bring their collector's own heartbeats; for the others they are made from the frames'
    times.
    """
    clock = ReplayClock()
    mapping = Mapping(instruments)
    counts = Replayed()
    newest_ms = 0
    for item in items:
        if isinstance(item, EndOfRecording):
            for heartbeat in clock.leave(item.connections):
                publisher.heartbeat(heartbeat)
            for ended in item.connections:
                mapping.leave(*ended)
            continue
        for heartbeat in clock.before(item):
            publisher.heartbeat(heartbeat)
        publisher.frame(item)
        found = False
        for mapped in mapping.map(item):
            found = True
            publish(mapped, publisher, counts)
            if isinstance(mapped, Liquidation):
                newest_ms = max(newest_ms, mapped.event_time)
        counts.frames += 1
        counts.without_events += not found
        counts.time_us = max(counts.time_us, item.received_time)
        progress(counts)
    newest_ms = max(newest_ms, counts.time_us // 1000)
    for heartbeat in clock.end(newest_ms + MINUTE_MS + lateness_ms):
        publisher.heartbeat(heartbeat)
    publisher.flush()
    progress(counts)
    return counts


def publish(mapped: Mapped, publisher: Publisher, counts: Replayed) -> None:
    """Publish what a frame holds and count it."""
    if isinstance(mapped, DeadLetter):
        publisher.dead_letter(mapped)
        counts.dead_letters += 1
    elif isinstance(mapped, Heartbeat):
        publisher.heartbeat(mapped)
        counts.statements += 1
    elif isinstance(mapped, Subscription):
        publisher.event(mapped)
        counts.statements += 1
    else:
        publisher.event(mapped)
        counts.events += 1
