"""How far an event came that is in no table: into the topic `events`, into `frames` only, or not to us at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fault_rig import Rig

from pipeline.feeds import Mapping
from pipeline.feeds.gzipped import unpacked
from pipeline.records import DeadLetter, Frame, Liquidation, RefusedError
from pipeline.topics import EVENTS, FRAMES

# Exchange, symbol, position, time (ms, 0: none is told), value in micro-dollars.
Event = tuple[str, str, str, int, int]


def last_seen(rig: Rig, event: Event) -> str:
    """Return in words where `event` was last seen. The broker must be running."""
    if any(_is(record, event) for record in rig.records(EVENTS)):
        return "in the topic events, so the sink lost it"
    frames = [record for record in rig.records(FRAMES) if isinstance(record, Frame)]
    told = [*_told(event, sorted(frames, key=lambda frame: frame.received_time))]
    return "; ".join(told) or "in no frame, so it never came, or was lost before it was published"


def _told(event: Event, frames: Iterable[Frame]) -> Iterator[str]:
    """Say what became of the frames that hold the event, all frames being mapped again in their order."""
    mapping = Mapping({})
    for frame in frames:
        mapped = list(mapping.map(frame))
        where = f"in frame {frame.sequence} of {frame.connection}, received at {frame.received_time / 1000:.3f} ms"
        if any(_is(one, event) for one in mapped):
            yield f"{where}, which is mapped, so it was lost on the way to the topic events"
        elif frame.exchange == event[0] and _names(frame, event):
            refusals = [f"{one.reason} ({one.message})" for one in mapped if isinstance(one, DeadLetter)]
            if refusals:
                yield f"{where}, refused: {', '.join(refusals)}"


def _is(record: object, event: Event) -> bool:
    if not isinstance(record, Liquidation):
        return False
    time_ms = 0 if record.event_time_kind == "received" else record.event_time
    return (record.exchange, record.symbol, record.position, time_ms, record.notional_micros) == event


def _names(frame: Frame, event: Event) -> bool:
    try:
        text = unpacked(frame.payload).decode(errors="replace")
    except RefusedError:
        return False
    return event[1] in text and (not event[3] or str(event[3]) in text)
