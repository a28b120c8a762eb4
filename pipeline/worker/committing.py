"""The loop that turns folded batches into checkpoints, one partition at a time, while folding goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from pipeline.records import DeadLetter
from pipeline.windows.checkpoint import take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import WindowParameters
from pipeline.worker.decode import Decoded, Decoder, LogRecord
from pipeline.worker.owned_partition import Observe, OwnedPartition

# Folding stops ahead of committing when this many records wait, so that memory stays bounded.
_MOST_WAITING_RECORDS = 100_000

Acknowledge = Callable[[], object]


class Committing:
    """One claimed partition: `fold` takes batches in, a task commits what has come together.

    While one transaction is under way the next batches are folded; they share the next transaction. So the time that a
    transaction takes costs latency, not throughput. Every method runs on the event loop; the broker is waited for in
    `executor`.
    """

    def __init__(
        self,
        owned: OwnedPartition,
        decoder: Decoder,
        parameters: WindowParameters,
        executor: Executor,
        interval_s: float,
        observe: Observe,
    ) -> None:
        self.owned = owned
        self._decoder = decoder
        self._parameters = parameters
        self._executor = executor
        self._interval_s = interval_s
        self._observe = observe
        self._waiting: list[Acknowledge] = []
        self._waiting_records = 0
        self._dead_letters: list[DeadLetter] = []
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._released = False
        self._under_way: asyncio.Future[None] | None = None

    async def room(self) -> None:
        """Wait until committing has caught up enough to fold more."""
        await self._room.wait()

    def missing_before(self, records: Sequence[LogRecord]) -> int | None:
        """Return the offset of the first record before this batch that was not folded, None if none is missing."""
        expected = self.owned.state.offset + 1
        return expected if records[0].offset > expected else None

    def fold(self, records: Sequence[LogRecord], acknowledge: Acknowledge) -> None:
        """Fold one fetched batch; `acknowledge` is called once its checkpoint is committed."""
        covered = self.owned.state.offset
        fresh = records if records[0].offset > covered else [record for record in records if record.offset > covered]
        if fresh:
            decoded: Decoded = self._decoder.decode(self.owned.partition, fresh)
            self._observe("decoded")
            fold(self.owned.state, decoded.batch, self._parameters)
            self._observe("folded")
            self._dead_letters.extend(decoded.dead_letters)
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
            dead_letters, self._dead_letters = self._dead_letters, []
            self._waiting_records = 0
            self._room.set()
            checkpoint = take(self.owned.state, self._parameters)
            self._observe("taken")
            began = loop.time()
            self._under_way = loop.run_in_executor(self._executor, self.owned.commit, checkpoint, dead_letters)
            try:
                await self._under_way
            finally:
                self._under_way = None
            for acknowledge in waiting:
                acknowledge()
            self._observe("acknowledged")
            await asyncio.sleep(max(0.0, self._interval_s - (loop.time() - began)))

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
