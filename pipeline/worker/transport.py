"""A Faust transport that delivers whole batches.

A Faust stream costs about 65 µs per message, whatever the agent does with it. Here the consumer hands the stream one
message per fetched partition batch: its value is the list of records, its offset that of the last one. Faust's own
tracking of offsets works unchanged, since it takes the offsets in between as a gap that was already handled.

Registered under the scheme `batches://` by the entry point `faust.transports` in `pyproject.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from faust.transport.drivers import aiokafka as driver

# What aiokafka fetched: objects with offset, timestamp (ms), key and value.
Records = Sequence[Any]


class Batch:
    """One fetched batch of one partition, in the shape of a Kafka record."""

    __slots__ = ("offset", "partition", "timestamp", "timestamp_type", "topic", "value")
    headers: ClassVar[tuple[()]] = ()
    key: ClassVar[None] = None
    checksum: ClassVar[None] = None
    serialized_key_size: ClassVar[int] = 0
    serialized_value_size: ClassVar[int] = 0

    def __init__(self, records: Records) -> None:
        last = records[-1]
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset: int = last.offset
        self.timestamp: int = last.timestamp
        self.timestamp_type: int = last.timestamp_type
        self.value: Records = records


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches, reading what is committed only."""

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:  # noqa: ANN401 - aiokafka has no types
        consumer = super()._create_worker_consumer(transport)
        # Faust reads so only together with transactions of its own.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer


class Consumer(driver.Consumer):
    """The aiokafka consumer, with one message per partition and fetch."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[Any] | None, timeout: float) -> dict[Any, list[Batch]]:  # noqa: ASYNC109
        fetched = cast("Mapping[Any, Records]", await super()._getmany(active_partitions, timeout))
        batches = {partition: [Batch(records)] for partition, records in fetched.items() if records}
        for partition, (batch,) in batches.items():
            if batch.offset < (self._read_offset[partition] or 0):
                # Read again after a seek. A batch that was on its way to the agent meanwhile has set the mark back to
                # its own offset, and Faust would drop all that was asked for. The fold knows what it has.
                self._read_offset[partition] = batch.value[0].offset - 1
            if self._read_offset[partition] == 0:
                # Faust takes this for none read yet, and counts no gap: the group's offset would stay at 1 for ever.
                await self._add_gap(partition, 1, batch.offset)
        return batches

    async def _seek(self, partition: Any, offset: int) -> None:  # noqa: ANN401 - Faust's partition
        # Faust calls aiokafka from the wrong thread here: its buffers could change while they are read.
        async def seek() -> None:
            self._thread.seek(partition, offset)

        await self._thread.call_thread(seek)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:  # noqa: ANN401 - Faust's partition
        # Faust counts the last offset into the gap and, once acknowledged, a second time. The repetition ends the run
        # of consecutive offsets that it commits, so that the group would move by one batch per commit interval.
        await super()._add_gap(tp, offset_from, offset_to - 1)

    def _new_offset(self, tp: Any) -> int | None:  # noqa: ANN401 - as above
        # Records that are read again were a gap before they were acknowledged: each offset may count once only, for the
        # same reason.
        acked, gap, committed = self._acked[tp], self._gap[tp], self._committed_offset[tp] or 0
        acked[:] = {offset for offset in acked if offset >= committed}
        if gap:
            # Behind a hole Faust keeps every offset, and what is below the first gap was looked at before.
            first = gap.begin()
            for known in acked:
                if known >= first and gap.overlaps(known):
                    gap.chop(known, known + 1)
        offset: int | None = super()._new_offset(tp)
        return offset


class Transport(driver.Transport):
    """The aiokafka transport with the consumer above."""

    Consumer = Consumer
