"""One channel of one exchange: its topics, its connections, and what is said of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from pipeline.feeds.live import Channel, Topic
from pipeline.ingest.backoff import BackOff
from pipeline.ingest.connection import Connection, Counts, Line
from pipeline.ingest.intake import Intake
from pipeline.ingest.placing import place
from pipeline.ingest.shard import Change, Shard
from pipeline.ingest.vouching import Able, Vouching
from pipeline.records import Heartbeat, Instrument, Subscription
from pipeline.settings import Settings

# Connections are replaced at an age drawn from this share of the most that the exchange allows, so that not all of them
# are replaced at once and there is time for several attempts.
_AGES: Final = (0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to say of a channel."""

    heartbeats: list[Heartbeat]
    subscriptions: list[Subscription]


class Listening:
    """Listen to one channel.

    `changed(self)` is called when something may be to be said at once; `look` returns it. With `needs_list` nothing is
    covered before `understand` is called: rows whose contracts are not known are refused.
    """

    def __init__(
        self,
        line: Line,
        collector: str,
        settings: Settings,
        intake: Intake,
        random: Random,
        changed: Callable[[Listening], None],
        needs_list: bool = False,
    ) -> None:
        self.counts = Counts()
        self._line = line
        self._channel = line.channel
        self._collector = collector
        self._settings = settings
        self._intake = intake
        self._random = random
        self._changed = changed
        self._vouching = Vouching()
        self._shards: list[Shard] = []
        self._topics: dict[str, Topic] = {}
        # Also those that are wanted no more: there is something left to say of them.
        self._symbols: dict[str, str] = {}
        self._assets: dict[str, str] = {}
        self._unheard: list[Subscription] = []
        self._told_data = 0
        self._opened_ms = 0
        self._is_understood = not needs_list
        self._is_deaf = False
        # Before this nothing is covered, whatever the connections can prove.
        self._from_ms = 0
        self._more = asyncio.Event()

    @property
    def channel(self) -> Channel:
        """Return what is listened to."""
        return self._channel

    @property
    def is_up(self) -> bool:
        """Tell whether it was last said to be up."""
        return self._vouching.is_up

    @property
    def topics(self) -> int:
        """Return how many topics are wanted."""
        return len(self._topics)

    @property
    def confirmed(self) -> int:
        """Return how many topics are confirmed."""
        return sum(shard.confirmed for shard in self._shards)

    def want(self, instruments: Sequence[Instrument]) -> None:
        """Listen to the topics of these contracts, and no longer to those of others."""
        wanted = {topic.name: topic for topic in self._channel.topics(instruments)}
        self._assets.update((instrument.symbol, instrument.asset) for instrument in instruments)
        new = [topic for name, topic in wanted.items() if name not in self._topics]
        gone = [name for name in self._topics if name not in wanted]
        self._topics = wanted
        if self._channel.per_symbol:
            # Said at once, since an earlier process may have left them up.
            now_ms = self._intake.now_ms()
            self._symbols.update((topic.name, topic.symbol) for topic in new if topic.symbol is not None)
            self._unheard += self._subscriptions((topic.name, now_ms, "down") for topic in new)
        for shard in self._shards:
            shard.drop(name for name in gone if name in shard.topics)
        held = [list(shard.topics.values()) for shard in self._shards]
        for index, added in enumerate(place(held, new, self._channel.limits)):
            if index == len(self._shards):
                self._shards.append(self._shard(index, added))
                self._more.set()
            elif added:
                self._shards[index].add(added)
        if new or gone:
            self._changed(self)

    def look(self, now_ms: int, clock_offset_ms: int | None) -> Said:
        """Return the heartbeats and changed subscriptions that are due."""
        ables: list[Able | None] = []
        subscriptions, self._unheard = self._unheard, []
        for shard in self._shards:
            able, changes = shard.look()
            ables.append(able)
            subscriptions += self._subscriptions(changes)
        return Said(self._heartbeats(now_ms, clock_offset_ms, self._able(ables)), subscriptions)

    def repeat(self, since_ms: int) -> list[Subscription]:
        """Return the contracts that are subscribed, as if they were since `since_ms` at the earliest."""
        return self._subscriptions(
            (name, max(up_ms, since_ms), "up") for shard in self._shards for name, up_ms in shard.subscribed()
        )

    def lose(self, kept_ms: int) -> None:
        """Say that the channel is down, and was not heard after `kept_ms`: frames are lost on their way."""
        self._is_deaf = True
        self._vouching.withdraw(kept_ms)

    def regain(self, since_ms: int) -> None:
        """Say of the channel what it is again: frames are kept since `since_ms`."""
        self._is_deaf = False
        self._from_ms = max(self._from_ms, since_ms)

    def understand(self, since_ms: int) -> None:
        """Say that all contracts are known to what is received since `since_ms`."""
        if not self._is_understood:
            self._is_understood = True
            self._from_ms = max(self._from_ms, since_ms)
            self._changed(self)

    async def run(self) -> None:
        """Listen until cancelled. A fault of our own is raised."""
        async with asyncio.TaskGroup() as group:
            running = 0
            while True:
                self._more.clear()
                for shard in self._shards[running:]:
                    group.create_task(shard.run())
                running = len(self._shards)
                await self._more.wait()

    def _shard(self, number: int, topics: Iterable[Topic]) -> Shard:
        def begin(topics: Iterable[Topic], changed: Callable[[], None]) -> Connection:
            # Two connections of one moment need two names.
            self._opened_ms = max(self._opened_ms + 1, self._intake.now_ms())
            name = f"{self._collector}/{self._channel.name}/{self._opened_ms}-{number}"
            most_s = self._channel.limits.connection_age_s
            age_s = None if most_s is None else most_s * self._random.uniform(*_AGES)
            return Connection(self._line, name, topics, self._intake, self.counts, age_s, changed)

        back_off = BackOff(self._settings.retry_first_s, self._settings.retry_most_s, self._random)
        return Shard(topics, self._channel.per_symbol, back_off, begin, lambda: self._changed(self))

    def _able(self, ables: Sequence[Able | None]) -> Able | None:
        able = [one for one in ables if one is not None]
        is_whole = self._channel.per_symbol or len(able) == len(ables)
        if not self._is_understood or self._is_deaf or not able or not is_whole:
            return None
        since = (min if self._channel.per_symbol else max)(one.since_ms for one in able)
        return Able(max(since, self._from_ms), min(one.proved_ms for one in able))

    def _heartbeats(self, now_ms: int, clock_offset_ms: int | None, able: Able | None) -> list[Heartbeat]:
        beats = []
        for time_ms, state in self._vouching.say(able, now_ms):
            frames = self.counts.data - self._told_data
            self._told_data = self.counts.data
            beats.append(
                Heartbeat(
                    self._line.exchange,
                    self._channel.name,
                    self._collector,
                    time_ms,
                    state,
                    frames,
                    self.counts.last_data_us,
                    clock_offset_ms,
                )
            )
        return beats

    def _subscriptions(self, changes: Iterable[Change]) -> list[Subscription]:
        return [
            Subscription(
                self._line.exchange,
                self._channel.name,
                symbol,
                self._assets[symbol],
                self._collector,
                time_ms,
                state,
            )
            for name, time_ms, state in changes
            if (symbol := self._symbols.get(name)) is not None
        ]
