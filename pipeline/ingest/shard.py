"""One share of a channel's topics: always one connection for it, for a moment two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipeline.feeds.live import Topic
from pipeline.ingest.backoff import BackOff
from pipeline.ingest.connection import Connection
from pipeline.ingest.vouching import Able
from pipeline.records import ChannelState

# A connection that lived so long was a good one: after it the first wait is short again.
_GOOD_S: Final = 60.0
# How long a connection that is to be replaced is kept after the new one is ready, for the proof that nothing is missed.
_OVERLAP_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.05

# Topic, since when (ms), and its new state.
Change = tuple[str, int, ChannelState]


class Shard:
    """Keep a connection for `topics`.

    A connection that is lost is followed by another after a wait that grows. One that gets old, or that the exchange
    will close, is closed when its successor is confirmed on all its topics and it has itself received all up to then.
    """

    def __init__(
        self,
        topics: Iterable[Topic],
        per_symbol: bool,
        back_off: BackOff,
        begin: Callable[[Iterable[Topic], Callable[[], None]], Connection],
        changed: Callable[[], None],
    ) -> None:
        self.topics: dict[str, Topic] = {topic.name: topic for topic in topics}
        self._per_symbol = per_symbol
        self._back_off = back_off
        self._begin = begin
        self._changed = changed
        self._has_changed = False
        self._held: Connection | None = None
        self._successor: Connection | None = None
        self._able_by: Connection | None = None
        self._since_ms = 0
        self._proved_ms = 0
        # Since when (ms) the topics of contracts are said to be up.
        self._up: dict[str, int] = {}

    @property
    def confirmed(self) -> int:
        """Return how many topics are confirmed."""
        return max((len(one.confirmed) for one in self._connections() if not one.ended.is_set()), default=0)

    def subscribed(self) -> Iterator[tuple[str, int]]:
        """Yield the topics of contracts that are said to be up, and since when (ms)."""
        yield from self._up.items()

    def add(self, topics: Iterable[Topic]) -> None:
        """Subscribe to more."""
        added = list(topics)
        self.topics.update((topic.name, topic) for topic in added)
        for connection in self._connections():
            connection.add(added)

    def drop(self, names: Iterable[str]) -> None:
        """Want topics no more."""
        dropped = list(names)
        for name in dropped:
            self.topics.pop(name, None)
        for connection in self._connections():
            connection.drop(dropped)

    def look(self) -> tuple[Able | None, list[Change]]:
        """Return since when and up to when it is proved to receive, None if it cannot, and what is new of its topics.

        A whole market needs all topics. Of contracts, those that are confirmed count, and changes are told of them.
        """
        connection = next((one for one in self._connections() if self._counts(one)), None)
        is_other = connection is not self._able_by
        before_ms = self._proved_ms
        changes: list[Change] = []
        if self._per_symbol and (is_other or self._has_changed):
            changes = list(self._changes(connection, before_ms, is_other))
        self._has_changed = False
        had_one = self._able_by is not None
        self._able_by = connection
        if connection is None:
            return None, changes
        if is_other:
            confirmed = connection.confirmed.values()
            begun_ms = max(connection.awake_ms, min(confirmed) if self._per_symbol else max(confirmed))
            if not had_one or begun_ms > before_ms:
                self._since_ms = self._proved_ms = begun_ms
        self._proved_ms = max(self._proved_ms, connection.proved_ms)
        return Able(self._since_ms, self._proved_ms), changes

    async def run(self) -> None:
        """Keep connected until cancelled."""
        async with asyncio.TaskGroup() as group:
            held = self._held = self._open(group)
            while True:
                await _first(held.ended, held.retiring)
                if held.ended.is_set():
                    await self._wait(held)
                    held = self._held = self._open(group)
                else:
                    held = self._held = await self._replace(held, group)
                    self._successor = None
                    self._note()

    async def _replace(self, held: Connection, group: asyncio.TaskGroup) -> Connection:
        """Return the connection that takes the place of `held`, which is closed or lost then."""
        while True:
            successor = self._successor = self._open(group)
            await _first(held.ended, successor.ended, successor.ready)
            if successor.ended.is_set():
                self._successor = None
                if held.ended.is_set():
                    return successor
                await self._wait(successor, held.ended)
                if held.ended.is_set():
                    return held
                continue
            if not held.ended.is_set() and not successor.confirmed.keys() >= held.confirmed.keys():
                # Refused what the old one has. Another attempt may do better.
                successor.close("worse than the one before")
                await successor.ended.wait()
                await self._wait(successor, held.ended)
                if held.ended.is_set():
                    return held
                continue
            confirmed_ms = successor.confirmed_ms if successor.confirmed else 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_OVERLAP_S):
                    while held.proved_ms < confirmed_ms and not held.ended.is_set():  # noqa: ASYNC110 - rare
                        await asyncio.sleep(_LOOK_AGAIN_S)
            # Handed over before it closes, with all that it proved: what counts from now on is the successor.
            self._note()
            self._held, self._successor = successor, held
            self._note()
            held.close("replaced")
            return successor

    def _open(self, group: asyncio.TaskGroup) -> Connection:
        connection = self._begin(self.topics.values(), self._note)
        group.create_task(connection.run())
        return connection

    async def _wait(self, ended: Connection, unless: asyncio.Event | None = None) -> None:
        if ended.lived_s >= _GOOD_S:
            self._back_off.reset()
        wait_s = self._back_off.next_s()
        if unless is None:
            await asyncio.sleep(wait_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await unless.wait()

    def _note(self) -> None:
        self._has_changed = True
        self._changed()

    def _connections(self) -> Iterator[Connection]:
        if self._held is not None:
            yield self._held
        if self._successor is not None:
            yield self._successor

    def _counts(self, connection: Connection) -> bool:
        return connection.is_covering and (self._per_symbol or connection.is_complete)

    def _changes(self, connection: Connection | None, before_ms: int, is_other: bool) -> Iterator[Change]:
        confirmed = {} if connection is None else connection.confirmed
        awake_ms = 0 if connection is None else connection.awake_ms
        for name in [name for name in self._up if name not in confirmed]:
            yield name, max(self._up.pop(name), before_ms), "down"
        for name, confirmed_ms in confirmed.items():
            since_ms = max(confirmed_ms, awake_ms)
            up_ms = self._up.get(name)
            if up_ms is not None:
                # Handed over from a connection that was lost before this one had the topic.
                if not is_other or since_ms <= max(up_ms, before_ms):
                    continue
                yield name, max(up_ms, before_ms), "down"
            self._up[name] = since_ms
            yield name, since_ms, "up"


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
