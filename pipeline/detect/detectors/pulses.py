"""Pulses: what a partition tells the rules of the whole market, at every tick.

A pulse has the liquidations since the tick before, summed up by second and exchange over all assets of the partition,
the largest of them, and the watermark, so that whoever reads the pulses of all partitions knows from which of them
nothing older can come. A tick without liquidations has a pulse as well: the rules of the market wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MOST_CONTRIBUTORS, Contributor, note_largest
from pipeline.detect.tick_events import TickEvents
from pipeline.records import COMPLETENESS_ORDER, COMPLETENESS_RANKS, Pulse, PulseChannel, PulseLargest, PulseSum
from pipeline.windows.fold import SECOND_MS, Cell
from pipeline.windows.parameters import MINUTE_MS

# About 300 kB, well below the broker's usual limit of one megabyte.
_SUMS_PER_PULSE: Final = 4_000


@dataclass(slots=True)
class _Sum:
    """What comes together of one second and exchange; of the largest event micro-dollars, negative, and id."""

    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0
    newest: int = 0
    rank: int = 0
    largest: Contributor = (1, b"")

    def record(self, second: int, exchange: str) -> PulseSum:
        return PulseSum(
            second,
            exchange,
            "",
            self.long_micros,
            self.short_micros,
            self.long_count,
            self.short_count,
            self.newest,
            COMPLETENESS_ORDER[self.rank],
            -self.largest[0],
            self.largest[1],
        )


class PulsesDetector(Detector):
    """Finds nothing itself, and says what the rules of the whole market read."""

    name = "pulses"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._span_ms = facts.rules.rolling_threshold.span_s * 1_000
        self._sums: dict[tuple[int, str], _Sum] = {}
        self._largest: dict[int, list[Contributor]] = {}
        self._after = 0
        self._told_minute = 0
        self._changed = False

    def take_tick(self, events: TickEvents) -> None:
        """Sum the liquidations up."""
        sums, largest = self._sums, self._largest
        for event_id, exchange, _, _, _, position, _, micros, time, _, _, kind, _ in events.rows:
            second = time - time % SECOND_MS
            one = sums.get((second, exchange))
            if one is None:
                one = sums[second, exchange] = _Sum()
            if position == "long":
                one.long_micros += micros
                one.long_count += 1
            else:
                one.short_micros += micros
                one.short_count += 1
            one.newest = max(one.newest, time)
            rank = COMPLETENESS_RANKS[kind]
            one.rank = max(one.rank, rank)
            event = (-micros, event_id)
            one.largest = min(one.largest, event)
            minute = second - second % MINUTE_MS
            of_minute = largest.get(minute)
            if of_minute is None:
                of_minute = largest[minute] = []
            if len(of_minute) < MOST_CONTRIBUTORS or event < of_minute[-1]:
                note_largest(of_minute, event)

    def judge(self) -> None:
        """Say what has come together."""
        watermark = self.facts.watermark
        sums = [one.record(second, exchange) for (second, exchange), one in sorted(self._sums.items())]
        largest = [
            PulseLargest(minute, -event[0], event[1])
            for minute, events in sorted(self._largest.items())
            for event in events
        ]
        self._sums, self._largest = {}, {}
        parts = [sums[begin : begin + _SUMS_PER_PULSE] for begin in range(0, len(sums) or 1, _SUMS_PER_PULSE)]
        channels = None
        minute = watermark - watermark % MINUTE_MS
        if minute > self._told_minute:
            self._told_minute = minute
            channels = self._channels(watermark)
        for number, part in enumerate(parts):
            self.facts.pulses.append(
                Pulse(
                    partition=self.facts.partition,
                    after=self._after,
                    watermark=watermark,
                    part=number,
                    follows=number + 1 < len(parts),
                    sums=part,
                    channels=channels if number == 0 else None,
                    largest=largest if number == 0 else [],
                )
            )
        self._after = watermark
        self._changed = True

    def cells(self) -> Iterable[Cell]:
        """Yield the one cell: the watermark of the last pulse, and the minute in which channels were last told."""
        if self._changed:
            self._changed = False
            yield b"last", orjson.dumps([self._after, self._told_minute])

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cell."""
        if "last" in cells:
            self._after, self._told_minute = orjson.loads(cells["last"])

    def _channels(self, watermark: int) -> list[PulseChannel]:
        feeds = sorted({channel for feeds in self.facts.feeds.values() for channel in feeds.channels})
        share = self.facts.coverage.span_share
        return [PulseChannel(feed[0], feed[1], share([feed], watermark - self._span_ms, watermark)) for feed in feeds]
