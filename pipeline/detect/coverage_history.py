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
from pipeline.windows.state import PartitionState

INTERVALS_MS: Final = (60_000, 300_000, 3_600_000)
# A silence is found minutes after it began: those are revised.
_LEAST_MINUTES: Final = 180

FeedKey = tuple[str, str, str]  # exchange, channel, symbol; the symbol is empty for the channel as a whole
Feeds = tuple[FeedKey, ...]
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


@dataclass(slots=True)
class _Searched:
    """The last search for covered bars before `start`: when it was made, of what, and which of the bars were open.

    It holds while the epoch is the same and the open bars are covered as `open_covered` says.
    """

    start: int
    tick: int
    epoch: int
    open_bars: list[int]
    open_covered: list[bool]
    found: Starts

    def let_go(self, newest: int) -> None:
        """Take note that bars up to the one that starts at `newest` are open no more."""
        if self.open_bars and min(self.open_bars) <= newest:
            still = [at for at, bar in enumerate(self.open_bars) if bar > newest]
            self.open_bars = [self.open_bars[at] for at in still]
            self.open_covered = [self.open_covered[at] for at in still]


class CoverageHistory:
    """Coverage of channels, and of contracts that were listened to for less than their channel."""

    def __init__(self, parameters: WindowParameters, reach_bars: int) -> None:
        self._parameters = parameters
        self._kept = (max(reach_bars, _LEAST_MINUTES), reach_bars, reach_bars)
        self._tracks: dict[FeedKey, Track] = {}
        self._changed: set[FeedKey] = set()
        self._state = PartitionState()
        self._closed_before = 0
        # Before this nothing was covered.
        self._first = 1 << 62
        self._tick = 0
        # Rises when what was said of a closed minute is revised: what was found of closed bars may be otherwise now.
        self.epoch = 0
        self._searched: dict[tuple[Feeds, int], _Searched] = {}
        # By exchange, channel and begin (ms), what was found of closed minutes while these are the same.
        self._closed_since: dict[tuple[str, str, int], int] = {}

    def settled(self, coverage: Iterable[Coverage]) -> None:
        """Take in what the fold says of closed minutes; a channel comes before its contracts."""
        self._closed_since = {}
        for said in coverage:
            key = (said.exchange, said.channel, said.symbol)
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = Track()
            if said.revision > 1:
                self.epoch += 1
            self._first = min(self._first, said.start)
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
        closed_before = self._parameters.closed_before(state.watermark)
        if closed_before != self._closed_before:
            self._closed_since = {}
        self._state, self._closed_before = state, closed_before
        self._tick += 1

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
        """Return the mean share of the time from `begin` to `end` (ms) that was covered, over `feeds`.

        It is that of the whole minutes in which they lie, up to the watermark.
        """
        begin -= begin % MINUTE_MS
        end = min(end, self._state.watermark)
        if end <= begin:
            return 0.0
        open_minutes = range(max(begin, self._closed_before), end, MINUTE_MS)
        shares = []
        for exchange, channel, _ in feeds:
            live = self._state.channels.get((exchange, channel))
            covered = self._closed_ms(exchange, channel, begin) + sum([alive_ms(live, one) for one in open_minutes])
            shares.append(min(1.0, covered / (end - begin)))
        return sum(shares) / len(shares) if shares else 0.0

    def _closed_ms(self, exchange: str, channel: str, begin: int) -> int:
        """Return how much (ms) of the closed minutes from `begin` (ms) on a channel was listened to."""
        key = exchange, channel, begin
        covered = self._closed_since.get(key)
        if covered is None:
            track = self._tracks.get((exchange, channel, ""))
            minutes = {} if track is None else track.bars[0]
            closed = range(begin, self._closed_before, MINUTE_MS)
            covered = self._closed_since[key] = sum([minutes.get(one, 0) for one in closed])
        return covered

    def covered_before(self, feeds: Feeds, start: int, interval: int, period: int, least: float) -> Starts:
        """Return the starts of the last `period` bars before `start` with at least the share `least` covered, in order.

        Fewer come back when the search has gone over four times as many bars: what lies further back says little of
        today. While nothing has changed, the same tuple comes back.
        """
        known = self._searched.get((feeds, interval))
        if known is not None and known.start == start:
            if known.tick == self._tick:
                return known.found
            if known.epoch == self.epoch:
                open_covered = [self.is_covered(feeds, bar, interval, least) for bar in known.open_bars]
                if open_covered == known.open_covered:
                    known.tick = self._tick
                    known.let_go(self._closed_before - INTERVALS_MS[interval])
                    return known.found
        length = INTERVALS_MS[interval]
        found: list[int] = []
        open_bars: list[int] = []
        open_covered = []
        first = min(self._first, self._closed_before)
        furthest = max(start - 4 * period * length, first - first % length)
        for bar in range(start - length, furthest - 1, -length):
            is_covered = self.is_covered(feeds, bar, interval, least)
            if bar + length > self._closed_before:
                open_bars.append(bar)
                open_covered.append(is_covered)
            if is_covered:
                found.append(bar)
                if len(found) == period:
                    break
        starts = tuple(reversed(found))
        if known is not None and known.found == starts:
            starts = known.found
        self._searched[feeds, interval] = _Searched(start, self._tick, self.epoch, open_bars, open_covered, starts)
        return starts

    def is_final(self, feeds: Feeds, interval: int) -> bool:
        """Tell whether the last such search can have no other answer before the epoch is another."""
        return not self._searched[feeds, interval].open_bars

    def is_covered(self, feeds: Feeds, bar: int, interval: int, least: float) -> bool:
        """Tell whether at least the share `least` of the bar from `bar` on was covered, as a mean over `feeds`."""
        length = INTERVALS_MS[interval]
        covered = [min(length, self.covered_ms(feed, bar, interval)) for feed in feeds]
        return sum(covered) >= least * length * len(feeds)

    def feed(self, contract: FeedKey) -> FeedKey:
        """Return whose coverage holds for a contract: its own, where it ever differed, or that of its channel."""
        return contract if contract in self._tracks else (contract[0], contract[1], "")

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
            self._first = min([self._first, *minutes, *fives, *hours])
