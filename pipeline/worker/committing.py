"""The loop that turns folded batches into checkpoints, one partition at a time, while folding goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from pipeline.worker.owned_partition import Observe, OwnedPartition
from pipeline.worker.partition_fold import Fetched, LogRecord, PartitionFold

# Taking what changed costs folding, which waits for it: of the time between two checkpoints it may be this part, all
# partitions together. Only a worker that is behind comes near it, and there waiting longer makes checkpoints cheaper by
# the record; but no longer than this, and not once it has caught up: then nothing has come to be folded for a while.
_TAKING_SHARE = 0.1
_LONGEST_PAUSE_S = 1.0
_QUIET_S = 0.15
# Folding stops ahead of committing when this many records wait, so that memory stays bounded.
_MOST_WAITING_RECORDS = 100_000

Acknowledge = Callable[[], object]


@dataclass(slots=True)
class Load:
    """What there is to do for a topic: how many `partitions` it has here, and the loop's time (s) of the last fold."""

    partitions: int = 1
    folded_at: float = 0.0


def pause_s(load: Load, began: float, taking_s: float, interval_s: float, now: float) -> float:
    """Return for how long (s) at least no checkpoint is to be taken; 0 when the next one may be.

    The last one `began` at that time, and taking it took `taking_s`; times are those of the event loop.
    """
    if now < began + interval_s:
        return began + interval_s - now
    latest = began + min(_LONGEST_PAUSE_S, taking_s * load.partitions / _TAKING_SHARE)
    return max(0.0, min(latest, load.folded_at + _QUIET_S) - now)


class Committing:
    """One claimed partition: `fold` takes batches in, a task commits what has come together.

    While one transaction is under way the next batches are folded; they share the next transaction. So the time that a
    transaction takes costs latency, not throughput. Every method runs on the event loop; `load` tells what it has to
    do for the partition's topic. The broker is waited for in `executor`.
    """

    def __init__(
        self,
        owned: OwnedPartition,
        fold: PartitionFold,
        executor: Executor,
        interval_s: float,
        observe: Observe,
        load: Load,
    ) -> None:
        self.owned = owned
        self._fold = fold
        self._executor = executor
        self._interval_s = interval_s
        self._observe = observe
        self._load = load
        self._waiting: list[Acknowledge] = []
        self._waiting_records = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._released = False
        self._under_way: asyncio.Future[None] | None = None

    async def room(self) -> None:
        """Wait until committing has caught up enough to fold more."""
        await self._room.wait()

    def missing_before(self, fetched: Fetched) -> int | None:
        """Return the offset from which records before this batch were not folded, None if none is missing."""
        return self._fold.missing_before(fetched)

    def fold(self, records: Sequence[LogRecord], acknowledge: Acknowledge) -> None:
        """Fold one fetched batch; `acknowledge` is called once its checkpoint is committed."""
        self._fold.fold(records)
        self._load.folded_at = asyncio.get_running_loop().time()
        self._waiting.append(acknowledge)
        self._waiting_records += len(records)
        self._work.set()
        if self._waiting_records > _MOST_WAITING_RECORDS:
            self._room.clear()

    async def run(self) -> None:
        """Commit until released. Raises what a transaction raises; after that nothing more is acknowledged."""
        loop = asyncio.get_running_loop()
        while not self._released:
            await self._work.wait()
            self._work.clear()
            if not self._waiting:
                continue
            waiting, self._waiting = self._waiting, []
            self._waiting_records = 0
            self._room.set()
            began = loop.time()
            taken = self._fold.take()
            taking_s = loop.time() - began
            self._observe("taken")
            self._under_way = loop.run_in_executor(self._executor, self.owned.commit, taken)
            try:
                await self._under_way
            finally:
                self._under_way = None
            for acknowledge in waiting:
                acknowledge()
            self._observe("acknowledged")
            while (left_s := pause_s(self._load, began, taking_s, self._interval_s, loop.time())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left_s)

    async def release(self, patience_s: float) -> None:
        """Stop committing; wait up to `patience_s` for the transaction under way. What was not taken is dropped."""
        self._released = True
        self._waiting = []
        self._work.set()
        self._room.set()
        under_way: asyncio.Future[Any] | None = self._under_way
        if under_way is not None:
            await asyncio.wait({under_way}, timeout=patience_s)
        self.owned.close()
