"""How much of each bar each channel was listened to, for as far back as rules look.

Closed minutes are heard from the fold once, and again when a silence is found in them; minutes that are not closed are
read from its channels. Nothing here depends on how the log was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from pipeline.records import Coverage
from pipeline.windows.channels import alive_ms
from pipeline.windows.fold import Cell
from pipeline.windows.parameters import MINUTE_MS, WindowParameters
from pipeline.windows.silence import ChannelKey
from pipeline.windows.state import PartitionState

INTERVALS_MS: Final = (60_000, 300_000, 3_600_000)
# A silence is found minutes after it began: those are revised.
_LEAST_MINUTES: Final = 180

FeedKey = tuple[str, str, str]  # exchange, channel, symbol; the symbol is empty for the channel as a whole
Starts = tuple[int, ...]


@dataclass(slots=True)
class Track:
    """Covered milliseconds by bar start, for each of `INTERVALS_MS`; of a contract: what it missed of its channel."""

    bars: tuple[dict[int, int], dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}, {}))

    def set_minute(self, start: int, covered_ms: int, before_ms: int, kept: tuple[int, int, int]) -> None:
        """Say one minute, of which `before_ms` was said before; keep so many bars of each interval."""
        for bars, interval, most in zip(self.bars, INTERVALS_MS, kept, strict=True):
            bar = start - start % interval
            if bar not in bars:
                for old in [known for known in bars if known <= bar - most * interval]:
                    del bars[old]
                bars[bar] = 0
            bars[bar] += covered_ms - before_ms


class CoverageHistory:
    """Coverage of channels, and of contracts that were listened to for less than their channel."""

    def __init__(self, parameters: WindowParameters, reach_bars: int) -> None:
        self._parameters = parameters
        self._kept = (max(reach_bars, _LEAST_MINUTES), reach_bars, reach_bars)
        self._tracks: dict[FeedKey, Track] = {}
        self._changed: set[FeedKey] = set()
        self._state = PartitionState()
        self._closed_before = 0
        # What was worked out at this tick.
        self._worked_out: dict[tuple[object, ...], Starts] = {}
        # The same tuple is given while it stays the same, so that whoever has worked with it sees it at a glance.
        self._given: dict[tuple[object, ...], Starts] = {}

    def settled(self, coverage: Iterable[Coverage]) -> None:
        """Take in what the fold says of closed minutes; a channel comes before its contracts."""
        for said in coverage:
            key = (said.exchange, said.channel, said.symbol)
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = Track()
            covered = said.alive_ms
            # A revision of a minute from before all that is kept takes away what was said to be covered.
            before = track.bars[0].get(said.start, 0 if said.revision == 1 or said.symbol else MINUTE_MS)
            if said.symbol:
                channel = self._tracks.get((said.exchange, said.channel, ""))
                covered = max(0, (0 if channel is None else channel.bars[0].get(said.start, 0)) - covered)
            track.set_minute(said.start, covered, before, self._kept)
            self._changed.add(key)

    def begin_tick(self, state: PartitionState) -> None:
        """Read open minutes from `state` from now on."""
        self._state = state
        self._closed_before = self._parameters.closed_before(state.watermark)
        self._worked_out = {}

    def covered_ms(self, feed: FeedKey, start: int, interval: int) -> int:
        """Return how much (ms) of the bar from `start` was covered, as far as heard; intervals go by number."""
        exchange, channel, symbol = feed
        track = self._tracks.get((exchange, channel, ""))
        covered = 0 if track is None else track.bars[interval].get(start, 0)
        if symbol:
            missed = self._tracks.get(feed)
            if missed is not None:
                covered -= missed.bars[interval].get(start, 0)
        end = start + INTERVALS_MS[interval]
        if end > self._closed_before:
            live = self._state.channels.get((exchange, channel))
            if live is not None:
                first = max(start, self._closed_before)
                covered += sum(alive_ms(live, minute) for minute in range(first, end, MINUTE_MS))
        return max(0, covered)

    def share(self, feeds: Iterable[FeedKey], start: int, interval: int) -> float:
        """Return the mean share of the bar that was covered, over `feeds`; of an open bar, of what has passed of it."""
        passed = min(INTERVALS_MS[interval], max(1_000, self._state.watermark - start))
        shares = [min(1.0, self.covered_ms(feed, start, interval) / passed) for feed in feeds]
        return sum(shares) / len(shares) if shares else 0.0

    def span_share(self, feeds: Iterable[FeedKey], begin: int, end: int) -> float:
        """Return the mean share of the whole minutes between `begin` and `end` (ms) that was covered, over `feeds`."""
        end = min(end, self._state.watermark)
        minutes = range(begin - begin % MINUTE_MS, end, MINUTE_MS)
        span_ms = end - minutes.start
        shares = [min(1.0, sum(self.covered_ms(feed, minute, 0) for minute in minutes) / span_ms) for feed in feeds]
        return sum(shares) / len(shares) if shares and span_ms > 0 else 0.0

    def covered_before(
        self, feeds: tuple[FeedKey, ...], start: int, interval: int, period: int, least: float
    ) -> Starts:
        """Return the starts of the last `period` bars before `start` with at least the share `least` covered, in order.

        Fewer come back when the search has gone over four times as many bars: what lies further back says little of
        today.
        """
        question = (feeds, start, interval)
        found = self._worked_out.get(question)
        if found is None:
            length = INTERVALS_MS[interval]
            wanted = least * length * len(feeds)
            starts: list[int] = []
            for bar in range(start - length, start - (4 * period + 1) * length, -length):
                if sum([min(length, self.covered_ms(feed, bar, interval)) for feed in feeds]) >= wanted:
                    starts.append(bar)
                    if len(starts) == period:
                        break
            found = tuple(reversed(starts))
            place = (feeds, interval)
            given = self._given.get(place)
            if given == found:
                found = given
            else:
                self._given[place] = found
            self._worked_out[question] = found
        return found

    def is_told_apart(self, feed: FeedKey) -> bool:
        """Tell whether a contract was ever listened to for another time than its channel."""
        return feed in self._tracks

    def cells(self) -> Iterable[Cell]:
        """Yield what changed since the last call, by feed."""
        for key in sorted(self._changed):
            bars = [[list(bars), list(bars.values())] for bars in self._tracks[key].bars]
            yield "/".join(key).encode(), orjson.dumps([key, bars])
        self._changed = set()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in what `cells` holds."""
        for value in cells.values():
            (exchange, channel, symbol), bars = orjson.loads(value)
            minutes, fives, hours = (dict(zip(starts, covered, strict=True)) for starts, covered in bars)
            self._tracks[exchange, channel, symbol] = Track((minutes, fives, hours))


def channel_of(feed: FeedKey) -> ChannelKey:
    """Return the channel that a feed is on."""
    return feed[0], feed[1]
