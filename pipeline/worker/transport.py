"""A Faust transport that delivers whole batches.

A Faust stream costs about 65 µs per message, whatever the agent does with it. Here the consumer hands the stream one
message per fetched partition batch: its value is the batch, its offset that of the last record.

Faust can lose such a message on its way: a rebalance takes it away between the consumer and the agent, or a seek comes
in between. So each batch says from where on it is whole, and whoever folds it can ask for what is missing. Nothing is
folded, and so acknowledged, out of its order: the last acknowledged offset is how far the group is, and Faust's search
for gaps among the offsets has nothing to find.

Registered under the scheme `batches://` by the entry point `faust.transports` in `pyproject.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.worker.partition_fold import Fetched

# Records as aiokafka fetches them: objects with offset, timestamp (ms), key and value.
Records = Sequence[Any]


class Message:
    """One fetched batch of one partition, in the shape of a Kafka record."""

    __slots__ = ("offset", "partition", "timestamp", "timestamp_type", "topic", "value")
    headers: ClassVar[tuple[()]] = ()
    key: ClassVar[None] = None
    checksum: ClassVar[None] = None
    serialized_key_size: ClassVar[int] = 0
    serialized_value_size: ClassVar[int] = 0

    def __init__(self, records: Records, begin: int) -> None:
        last = records[-1]
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset: int = last.offset
        self.timestamp: int = last.timestamp
        self.timestamp_type: int = last.timestamp_type
        self.value = Fetched(records, begin)


class HandedOut:
    """From which offset on the records of each partition come next: from its oldest if nothing is said."""

    def __init__(self) -> None:
        self._next: dict[Any, int] = {}

    def sought(self, partition: Any, offset: int) -> None:  # noqa: ANN401 - aiokafka's partition
        """Take note that what comes next is read from `offset` on."""
        self._next[partition] = offset

    def message(self, partition: Any, records: Records) -> Message:  # noqa: ANN401 - as above
        """Return the fetched records of one partition as one message, and take note of them."""
        first = records[0].offset
        begin = min(first, self._next.get(partition, 0))
        self._next[partition] = records[-1].offset + 1
        return Message(records, begin)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches, reading what is committed only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Faust's
        super().__init__(*arguments, **options)
        self._handed_out = HandedOut()

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:  # noqa: ANN401 - aiokafka has no types
        consumer = super()._create_worker_consumer(transport)
        # Faust reads so only together with transactions of its own.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    async def _fetch_records(self, *arguments: Any, **options: Any) -> dict[Any, Any]:  # noqa: ANN401 - Faust's
        # No seek can come between the end of the fetch and what is noted of it: nothing is waited for.
        fetched = cast("Mapping[Any, Records]", await super()._fetch_records(*arguments, **options))
        return {place: [self._handed_out.message(place, records)] for place, records in fetched.items() if records}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every partition to the offset of the group, to its oldest where none is committed (None, for Faust)."""
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> dict[Any, int | None]:
        committed: dict[Any, int | None] = {}
        for partition in self._ensure_consumer().assignment():
            committed[partition] = offset = await self._ensure_consumer().committed(partition)
            # Where nothing is committed aiokafka's own method would go on from wherever it is.
            self.seek(partition, offset or 0)
        return committed

    def seek(self, partition: Any, offset: int) -> None:  # noqa: ANN401 - Faust's partition
        """Read `partition` from `offset` on; called in this thread."""
        super().seek(partition, offset)
        self._handed_out.sought(partition, offset)


class Consumer(driver.Consumer):
    """The aiokafka consumer, with one message per partition and fetch."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[Any] | None, timeout: float) -> dict[Any, list[Message]]:  # noqa: ASYNC109
        fetched = cast("dict[Any, list[Message]]", await super()._getmany(active_partitions, timeout))
        for partition in fetched:
            # Faust would drop what is read again after a seek, if a message that was on its way meanwhile has set the
            # mark back to its own offset. The fold knows what it has.
            self._read_offset[partition] = None
        return fetched

    async def _seek(self, partition: Any, offset: int) -> None:  # noqa: ANN401 - Faust's partition
        # Faust calls aiokafka from the wrong thread here: its buffers could change while they are read.
        async def seek() -> None:
            self._thread.seek(partition, offset)

        await self._thread.call_thread(seek)

    def _new_offset(self, tp: Any) -> int | None:  # noqa: ANN401 - Faust's partition
        """Return the offset behind the last one acknowledged, None if none was since the last call."""
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return newest + 1


class Transport(driver.Transport):
    """The aiokafka transport with the consumer above."""

    Consumer = Consumer
