"""The order in which pulses of many partitions are judged, whatever order they come in.

A pulse waits until every partition has passed its watermark: then all that the partitions read up to it is here. Pulses
of one watermark are given out together, watermarks in their order. So what is given out is a function of the logs of
the partitions, though their pulses come in another order in every run. A partition that lags holds the others back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import orjson

from pipeline.records import Pulse, PulseChannel, PulseLargest, PulseSum
from pipeline.windows.fold import Cell

# The pulses of this partition are the clock: they alone are kept when they bring nothing.
CLOCK = 0

Place = tuple[int, int, int]  # watermark, partition, part


@dataclass(slots=True)
class Progress:
    """How far one partition is: watermark (ms) and part of its last pulse, and the last watermark that is whole."""

    watermark: int = 0
    part: int = -1
    passed: int = 0


class PulseOrder:
    """The pulses that wait, and how far each partition is."""

    def __init__(self, partitions: int) -> None:
        self.progress = [Progress() for _ in range(partitions)]
        self._order: list[Place] = []
        self._held: dict[Place, Pulse] = {}
        self._changed: set[Place] = set()
        self._written: set[Place] = set()

    @property
    def passed(self) -> int:
        """Return the watermark (ms) that every partition has passed, 0 before each has spoken."""
        return min(known.passed for known in self.progress)

    @property
    def newest(self) -> int:
        """Return the watermark (ms) of the partition that is furthest ahead."""
        return max(known.passed for known in self.progress)

    @property
    def held_by(self) -> int:
        """Return the partition that is furthest behind."""
        return min(range(len(self.progress)), key=lambda partition: self.progress[partition].passed)

    @property
    def waiting(self) -> int:
        """Return how many pulses wait."""
        return len(self._order)

    def misses_some_before(self, pulse: Pulse) -> bool:
        """Tell whether pulses of the same partition that come before this one were never taken."""
        known = self.progress[pulse.partition]
        if pulse.part:
            return (known.watermark, known.part) < (pulse.watermark, pulse.part - 1)
        return pulse.after > known.passed

    def take(self, pulse: Pulse) -> None:
        """Take one pulse; one that was taken already changes nothing."""
        known = self.progress[pulse.partition]
        if (pulse.watermark, pulse.part) <= (known.watermark, known.part):
            return
        known.watermark, known.part = pulse.watermark, pulse.part
        if not pulse.follows:
            known.passed = pulse.watermark
        if pulse.sums or pulse.channels is not None or pulse.partition == CLOCK:
            place = pulse.watermark, pulse.partition, pulse.part
            heappush(self._order, place)
            self._held[place] = pulse
            self._changed.add(place)

    def passed_by_all(self) -> Iterator[tuple[int, list[Pulse]]]:
        """Yield each watermark that every partition has passed, with its pulses, once."""
        passed = self.passed
        while self._order and self._order[0][0] <= passed:
            watermark = self._order[0][0]
            pulses = []
            while self._order and self._order[0][0] == watermark:
                place = heappop(self._order)
                pulses.append(self._held.pop(place))
                self._changed.add(place)
            yield watermark, pulses

    def cells(self) -> Iterator[Cell]:
        """Yield the pulses that wait and were not written, and delete those that wait no more."""
        for place in sorted(self._changed):
            name = "/".join(map(str, place)).encode()
            if place in self._held:
                self._written.add(place)
                yield name, _stored(self._held[place])
            elif place in self._written:
                self._written.remove(place)
                yield name, None
        self._changed = set()

    def stored_progress(self) -> list[tuple[Any, ...]]:
        """Return how far each partition is, as `restore` wants it."""
        return [astuple(known) for known in self.progress]

    def restore(self, progress: Iterable[Iterable[int]], held: Mapping[str, bytes]) -> None:
        """Go on from a checkpoint."""
        self.progress = [Progress(*known) for known in progress]
        for value in held.values():
            pulse = _restored(value)
            place = pulse.watermark, pulse.partition, pulse.part
            self._held[place] = pulse
            self._written.add(place)
        self._order = list(self._held)
        heapify(self._order)


def _stored(pulse: Pulse) -> bytes:
    sums = [[*one[:-1], one.largest_id.hex()] for one in pulse.sums]
    head = [pulse.partition, pulse.after, pulse.watermark, pulse.part, pulse.follows]
    channels = None if pulse.channels is None else [list(one) for one in pulse.channels]
    largest = [[minute, micros, event_id.hex()] for minute, micros, event_id in pulse.largest]
    return orjson.dumps([*head, sums, channels, largest])


def _restored(value: bytes) -> Pulse:
    partition, after, watermark, part, follows, sums, channels, largest = orjson.loads(value)
    return Pulse(
        partition,
        after,
        watermark,
        part,
        follows,
        [PulseSum._make([*one[:-1], bytes.fromhex(one[-1])]) for one in sums],
        None if channels is None else [PulseChannel(*one) for one in channels],
        [PulseLargest(minute, micros, bytes.fromhex(event_id)) for minute, micros, event_id in largest],
    )
