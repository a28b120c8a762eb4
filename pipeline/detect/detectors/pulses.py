"""Pulses: what a partition tells the rules of the whole market, at every tick.

A pulse has the liquidations since the tick before, summed up by second and exchange over all assets of the partition,
the largest of them, and the watermark, so that whoever reads the pulses of all partitions knows from which of them
nothing older can come. A tick without liquidations has a pulse as well: the rules of the market wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import orjson

from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MOST_CONTRIBUTORS
from pipeline.detect.tick_events import Integers, TickEvents, groups_of
from pipeline.records import COMPLETENESS_ORDER, Pulse, PulseChannel, PulseLargest, PulseSum
from pipeline.windows.fold import SECOND_MS, Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

# About 300 kB, well below the broker's usual limit of one megabyte.
_SUMS_PER_PULSE: Final = 4_000


class PulsesDetector(Detector):
    """Finds nothing itself, and says what the rules of the whole market read."""

    name = "pulses"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._span_ms = facts.rules.rolling_threshold.span_s * 1_000
        self._sums: list[PulseSum] = []
        self._largest: list[PulseLargest] = []
        self._after = 0
        self._told_minute = 0
        self._changed = False

    def take_tick(self, events: TickEvents) -> None:
        """Sum the liquidations up."""
        self._sums = _sums(events)
        self._largest = _largest(events)

    def judge(self) -> None:
        """Say what has come together."""
        watermark = self.facts.watermark
        sums, largest = self._sums, self._largest
        self._sums, self._largest = [], []
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


def _sums(events: TickEvents) -> list[PulseSum]:
    """Return what comes together of each second and exchange, by second and exchange's name."""
    groups = groups_of(events.times // SECOND_MS, events.exchanges)
    micros, is_long, counts = events.micros, events.is_long, groups.counts
    columns = np.array((micros, micros * is_long, is_long, events.times, events.ranks)).take(groups.order, axis=1)
    added_up = np.add.reduceat(columns[:3], groups.begins, axis=1)
    most = np.maximum.reduceat(columns[3:], groups.begins, axis=1)
    sizes = np.maximum.reduceat(columns[0], groups.begins)
    # Of events of equal size the one with the smallest id counts.
    chosen = groups.order[columns[0] == sizes.repeat(counts)].tolist()
    ids: dict[tuple[int, str], bytes] = {}
    for place in chosen:
        row = events.rows[place]
        key = row[8] // SECOND_MS, row[1]
        ids[key] = min(row[0], ids.get(key, row[0]))
    sums = [
        PulseSum(
            second * SECOND_MS,
            exchange,
            "",
            longs,
            both - longs,
            n_longs,
            count - n_longs,
            newest,
            COMPLETENESS_ORDER[rank],
            size,
            event_id,
        )
        for ((second, exchange), event_id), count, size, both, longs, n_longs, newest, rank in zip(
            ids.items(), counts.tolist(), sizes.tolist(), *added_up.tolist(), *most.tolist(), strict=True
        )
    ]
    return sorted(sums)


def _largest(events: TickEvents) -> list[PulseLargest]:
    """Return the ten largest events of each minute, or all if there are fewer, by minute."""
    largest = []
    for minute, places in events.minutes:
        rows = events.rows if isinstance(places, slice) else [events.rows[place] for place in places.tolist()]
        largest += _largest_of(minute, rows, events.micros[places])
    return largest


def _largest_of(minute: int, rows: Sequence[LiquidationRow], micros: Integers) -> list[PulseLargest]:
    """Return the ten largest of the events of a minute, which have `micros` each."""
    if len(rows) > MOST_CONTRIBUTORS:
        least = np.partition(micros, -MOST_CONTRIBUTORS)[-MOST_CONTRIBUTORS]
        rows = [rows[place] for place in (micros >= least).nonzero()[0].tolist()]
    largest = sorted([(-row[7], row[0]) for row in rows])[:MOST_CONTRIBUTORS]
    return [PulseLargest(minute, -size, event_id) for size, event_id in largest]
