"""What was liquidated in the whole market, second by second, as far back as the rule looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final

import orjson

from pipeline.detect.finding import (
    Contributor,
    largest_stored,
    merge_largest,
    note_largest,
    stored_largest,
)
from pipeline.records import COMPLETENESS_RANKS, PulseLargest, PulseSum
from pipeline.windows.fold import SECOND_MS, Cell
from pipeline.windows.parameters import MINUTE_MS


@dataclass(slots=True)
class ExchangeSums:
    """One exchange: micro-dollars, events, and the rank of the least complete feed."""

    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0
    rank: int = 0

    def add(self, other: ExchangeSums) -> None:
        """Take the sums of other events."""
        self.long_micros += other.long_micros
        self.short_micros += other.short_micros
        self.long_count += other.long_count
        self.short_count += other.short_count
        self.rank = max(self.rank, other.rank)


_SUMS: Final = attrgetter(*(field.name for field in fields(ExchangeSums)))


@dataclass(slots=True)
class _Minute:
    """Sums by the start of the second (ms) and exchange, and the largest events."""

    seconds: dict[int, dict[str, ExchangeSums]] = field(default_factory=dict)
    largest: list[Contributor] = field(default_factory=list)


class MarketWindow:
    """The seconds with events of the last `span_ms`."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._minutes: dict[int, _Minute] = {}
        self._changed: set[int] = set()
        self._written: set[int] = set()

    def add(self, sums: Sequence[PulseSum]) -> None:
        """Take sums of one second."""
        for one in sums:
            start = one.second - one.second % MINUTE_MS
            minute = self._minutes.setdefault(start, _Minute())
            self._changed.add(start)
            exchanges = minute.seconds.setdefault(one.second, {})
            exchanges.setdefault(one.exchange, ExchangeSums()).add(
                ExchangeSums(
                    one.long_micros,
                    one.short_micros,
                    one.long_count,
                    one.short_count,
                    COMPLETENESS_RANKS[one.completeness],
                )
            )

    def note(self, events: Iterable[PulseLargest]) -> None:
        """Take the largest events of a pulse."""
        for minute, micros, event_id in events:
            note_largest(self._minutes.setdefault(minute, _Minute()).largest, (-micros, event_id))
            self._changed.add(minute)

    def totals(self, now: int) -> dict[str, ExchangeSums]:
        """Return what each exchange liquidated in the window at `now` (ms)."""
        found: dict[str, ExchangeSums] = {}
        for second, exchanges in self._seconds():
            if second > now - self._span_ms:
                for exchange, sums in exchanges.items():
                    found.setdefault(exchange, ExchangeSums()).add(sums)
        return found

    def largest(self, now: int) -> list[Contributor]:
        """Return the largest events of the minutes that the window at `now` (ms) touches."""
        return merge_largest(
            *(minute.largest for start, minute in self._minutes.items() if not self._is_over(start, now))
        )

    def sums_by_second(self) -> dict[int, int]:
        """Return micro-dollars by the start of the second (ms)."""
        return {
            second: sum(sums.long_micros + sums.short_micros for sums in exchanges.values())
            for second, exchanges in self._seconds()
        }

    def cells(self, now: int) -> Iterator[Cell]:
        """Yield the minutes that changed; forget and delete those that have left the window at `now` (ms)."""
        for start in [start for start in self._minutes if self._is_over(start, now)]:
            del self._minutes[start]
            self._changed.discard(start)
            if start in self._written:
                self._written.remove(start)
                yield b"%d" % start, None
        for start in sorted(self._changed):
            self._written.add(start)
            minute = self._minutes[start]
            seconds = [
                [second, [[exchange, *_SUMS(sums)] for exchange, sums in exchanges.items()]]
                for second, exchanges in minute.seconds.items()
            ]
            yield b"%d" % start, orjson.dumps([seconds, stored_largest(minute.largest)])
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Go on from a checkpoint."""
        for name, value in cells.items():
            seconds, largest = orjson.loads(value)
            self._minutes[int(name)] = _Minute(
                {
                    second: {exchange: ExchangeSums(*sums) for exchange, *sums in exchanges}
                    for second, exchanges in seconds
                },
                largest_stored(largest),
            )
            self._written.add(int(name))

    def _seconds(self) -> Iterator[tuple[int, dict[str, ExchangeSums]]]:
        for minute in self._minutes.values():
            yield from minute.seconds.items()

    def _is_over(self, start: int, now: int) -> bool:
        return start + MINUTE_MS - SECOND_MS <= now - self._span_ms
