"""The publisher of live collection: what Kafka does not take in time waits on the disk, in order.

Three ways, chosen in `hear`:

- *direct*: records go to librdkafka, which sends and repeats them without giving up. They are remembered until they are
  confirmed.
- *spooling*, when the oldest unconfirmed record is older than `spool_after_ms`, or too many are unconfirmed: what is
  unconfirmed is written to the spool, and so is everything that comes. librdkafka keeps trying with what it has.
- *draining*, once all that librdkafka had is confirmed: the spool is read and published, while what comes is appended
  behind it, until nothing is left.

Everything passes in one sequence, so the order within each partition is the order of the calls. What is in the spool is
deleted when Kafka has confirmed it. A process that is killed leaves it to the next, which publishes it first; what was
published and not yet noted as confirmed is published twice, which the events' ids and the heartbeats' times make
harmless.

Records are spooled, not frames: they are exactly what would have been published, and a new process need not know what
the mapping of a connection remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from pipeline.codec import Codec
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.spool import Entry, Group, Place, Spool, SpoolFullError, claim_spool, sync
from pipeline.kafka_client import KafkaUnavailableError
from pipeline.records import DeadLetter, Frame, identity
from pipeline.settings import Settings

_log = structlog.get_logger()

Way = Literal["direct", "spooling", "draining"]

_EVERY_PARTITION = -2
# Records that are remembered together until all of them are confirmed.
_BATCH_RECORDS = 500
# Unconfirmed at most, in librdkafka's memory and ours.
_MOST_RECORDS = 50_000
_MOST_BYTES = 64 * 1024 * 1024
# While draining: enough to keep the broker busy, little to publish twice.
_DRAINING_RECORDS = 20_000
_DRAINING_BYTES = 16 * 1024 * 1024
_DRAIN_READ_BYTES = 256 * 1024
_TURN_S = 0.01
_LOOK_S = 0.02
_SYNC_S = 1.0
_REPORT_S = 60.0
# Lists of all contracts are large; the broker limits what is left of them after compression.
_MOST_RECORD_BYTES = 16 * 1024 * 1024
_SHOWN_BYTES = 64 * 1024
# What the collector itself says is kept when there is no room for data any more.
_OWN_CHANNELS = ("collector", "instruments")


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames that could not be kept, because the spool has no room.

    `last_kept` is the receive time (µs) of the last data frame before them. `ended` is that of the last frame that was
    taken before there was room again, None while it goes on.
    """

    last_kept: int
    ended: int | None
    frames: int


class _Batch:
    """Records that were given to librdkafka one after the other.

    `groups` holds them until they are in the spool. `place` is where the spool may be cut when all are confirmed,
    `number` that of the last frame among them (0 if they come from the spool).
    """

    __slots__ = ("_refused", "begun_s", "bytes", "delivered", "groups", "number", "place", "records", "waiting")

    def __init__(self, begun_s: float, number: int, refused: Callable[[KafkaError, str, bytes], bool]) -> None:
        self.begun_s = begun_s
        self.number = number
        self.groups: list[list[Entry]] = []
        self.place: Place | None = None
        self.records = 0
        self.bytes = 0
        self.waiting = 0
        self._refused = refused
        # Bound once: it goes along with every record.
        self.delivered = self._delivered

    def forget(self) -> None:
        """Let go of the records at once: the bound method is a circle, which would keep them for a while."""
        del self.groups, self.delivered

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None or self._refused(error, message.topic() or "", message.value() or b""):
            self.waiting -= 1


class SpoolingPublisher(Publisher):
    """Publish records, and keep them in `spool` while Kafka is away.

    A call of `frame` begins a group, and what is published until the next one belongs to it: all of a group is kept, or
    nothing. `hear` must be called often, which `run` does. `on_loss` is told, by either of them, when frames begin to
    be lost and when that is over; frames of the channels `collector` and `instruments`, which it may publish, still
    find room then for a while. Only `flush` and `close` wait for Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        spool: Spool,
        on_loss: Callable[[Loss], None],
        linger_ms: int = 5,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        endless = {
            "message.timeout.ms": 0,
            "message.max.bytes": _MOST_RECORD_BYTES,
            "reconnect.backoff.max.ms": 2_000,
            "error_cb": _note,
        }
        super().__init__(settings, codec, linger_ms, endless)
        # Their order is part of the spool's format.
        self._topics = (self._frames, self._events, self._dead_letters)
        self._indices = {topic: index for index, topic in enumerate(self._topics)}
        self._spool = spool
        self._on_loss = on_loss
        self._now_s = now_s
        self._after_s = settings.spool_after_ms / 1000
        self._way: Way = "direct" if spool.is_empty else "draining"
        self._batches: deque[_Batch] = deque()
        self._batch: _Batch | None = None  # the newest, which still takes records
        self._all_saved = True  # what is unconfirmed is in the spool
        self._unconfirmed = 0
        self._unconfirmed_bytes = 0
        self._group: list[Entry] = []
        self._group_time = 0
        self._group_is_ours = False
        self._set_aside: list[tuple[str, bytes, str]] = []  # topic, value, the broker's words
        self._unread: deque[tuple[Group, Place]] = deque()  # read from the spool, not yet published
        self._number = 0
        self._spooled_number = 0
        self._safe = 0
        self._last_kept = 0  # receive time (us) of a data frame
        self._losing_since_s: float | None = None
        self._lost_in_this = 0
        self._losses: list[Loss] = []  # not yet told of
        self._way_since_s = now_s()
        self._synced_s = self._reported_s = now_s()
        self.lost_frames = 0
        self.refused_records = 0

    @property
    def way(self) -> Way:
        """Return whether records go to Kafka, to the disk, or from the disk to Kafka."""
        return self._way

    @property
    def spooled_bytes(self) -> int:
        """Return how much waits on the disk."""
        return self._spool.bytes

    @property
    def position(self) -> int:
        """Return how many frames were taken."""
        return self._number

    @property
    def safe_position(self) -> int:
        """Return how many of the frames taken would outlive a kill of this process: all before this number.

        They are confirmed by Kafka, or in the spool. Frames that were lost and told of count as passed.
        """
        return self._safe

    @property
    def waiting(self) -> int:
        """Return how many records were given to Kafka and are not confirmed yet. It is bounded."""
        return self._unconfirmed

    def frame(self, frame: Frame) -> None:
        """Publish a frame as it came, and begin its group."""
        if self._way == "direct" and (self._unconfirmed >= _MOST_RECORDS or self._unconfirmed_bytes >= _MOST_BYTES):
            self._turn()
        self._end_group()
        self._number += 1
        self._group_time = frame.received_time
        self._group_is_ours = frame.channel in _OWN_CHANNELS
        if self._way == "direct":
            self._begin_group_of_batch()
        super().frame(frame)

    def hear(self) -> None:
        """Do what is due: hear of confirmations, choose the way, write and read the spool. Takes about 10 ms at most.

        Raise `KafkaUnavailableError` if Kafka refuses records for good, for another reason than their size.
        """
        self._turn()
        self._tell_losses()

    async def run(self) -> None:
        """Call `hear` for ever, and have the disk written every second."""
        while True:
            busy = self._turn()
            self._tell_losses()
            now_s = self._now_s()
            if now_s - self._synced_s >= _SYNC_S:
                self._synced_s = now_s
                descriptors = self._spool.unsynced()
                if descriptors:
                    await asyncio.to_thread(sync, descriptors)
            await asyncio.sleep(0 if busy else _LOOK_S)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything is confirmed, or, after `timeout_s`, write what is not into the spool.

        Raise `KafkaUnavailableError` if there is no room for it.
        """
        until_s = self._now_s() + timeout_s
        while (self._batches or not self._spool.is_empty) and self._now_s() < until_s:
            if not self._turn():
                self._producer.poll(_LOOK_S)
        self._end_group()
        self._tell_losses()
        if not self._save_unconfirmed():
            raise KafkaUnavailableError(
                f"{self._bootstrap_servers} did not confirm {self._unconfirmed} records within {timeout_s:g} s, and the"
                f" spool {self._spool.folder} has no room for them"
            )

    def close(self, timeout_s: float = 10.0) -> None:
        """Flush and let go of the spool. What is left in it is published by the next process that takes it."""
        try:
            self.flush(timeout_s)
        finally:
            left = self._spool.bytes
            self._spool.close()
            self._producer.purge()
            if left:
                _log.warning("spool_left", folder=str(self._spool.folder), bytes=left)

    def _turn(self) -> bool:
        """Do what is due and return whether there is more to do at once."""
        self._producer.poll(0)
        self._end_group()
        self._publish_set_aside()
        self._batch = None
        self._confirm()
        if self._failure is not None:
            self._save_unconfirmed()
            self._spool.flush()
            self._raise_failure()
        busy = False
        if self._is_away():
            if self._way != "spooling":
                self._go("spooling")
            self._save_unconfirmed()
        elif self._way == "spooling" and not self._batches:
            self._go("draining")
        if self._way == "draining":
            busy = self._drain()
        if self._way != "direct" and self._all_saved and self._spool.flush():
            self._safe = max(self._safe, self._spooled_number)
        if self._losing_since_s is not None and self._has_room():
            self._end_loss(self._losing_since_s)
        self._report(self._now_s())
        return busy

    def _is_away(self) -> bool:
        """Return whether Kafka does not keep up: once it did not, until all that was given to it is confirmed."""
        if not self._batches:
            return False
        if self._way == "spooling":
            return True
        return (
            self._now_s() - self._batches[0].begun_s > self._after_s
            or self._unconfirmed >= _MOST_RECORDS
            or self._unconfirmed_bytes >= _MOST_BYTES
        )

    def _has_room(self) -> bool:
        """Return whether data can be taken again: by Kafka, or by the spool once it has what is unconfirmed."""
        return self._way == "direct" or (self._save_unconfirmed() and self._spool.regain())

    def _go(self, way: Way) -> None:
        now_s = self._now_s()
        facts = {"spooled_bytes": self._spool.bytes, "after_s": round(now_s - self._way_since_s, 1)}
        if way == "spooling":
            oldest_s = round(now_s - self._batches[0].begun_s, 1)
            _log.warning("kafka_away", unconfirmed=self._unconfirmed, oldest_s=oldest_s, **facts)
        elif way == "draining":
            _log.info("kafka_back", **facts)
        else:
            _log.info("spool_drained", **facts)
        self._way = way
        self._way_since_s = now_s

    def _produce(self, topic: str, key: bytes, value: bytes, partition: int = -1) -> None:
        entry = Entry(self._indices[topic], partition, key, value)
        if self._way != "direct":
            self._group.append(entry)
            return
        batch = self._batch or self._begin_group_of_batch()
        batch.groups[-1].append(entry)
        self._send(batch, entry)

    def _produce_everywhere(self, topic: str, key: bytes, value: bytes) -> None:
        self._produce(topic, key, value, _EVERY_PARTITION)

    def _begin_group_of_batch(self) -> _Batch:
        batch = self._batch
        if batch is None or batch.records >= _BATCH_RECORDS:
            batch = self._batch = self._begin_batch(self._number)
        batch.groups.append([])
        self._all_saved = False
        batch.number = self._number
        return batch

    def _begin_batch(self, number: int) -> _Batch:
        batch = _Batch(self._now_s(), number, self._is_set_aside)
        self._batches.append(batch)
        return batch

    def _send(self, batch: _Batch, entry: Entry) -> None:
        topic = self._topics[entry.topic]
        if entry.partition != _EVERY_PARTITION:
            self._send_to(batch, topic, entry, entry.partition)
            return
        for partition in self._partitions:
            self._send_to(batch, topic, entry, partition)

    def _send_to(self, batch: _Batch, topic: str, entry: Entry, partition: int) -> None:
        try:
            self._producer.produce(
                topic, value=entry.value, key=entry.key, partition=partition, on_delivery=batch.delivered
            )
        except KafkaException as error:
            if not self._is_set_aside(error.args[0], topic, entry.value):
                raise KafkaUnavailableError(f"cannot publish to {topic}: {error.args[0].str()}") from error
            return
        size = len(entry.value)
        batch.records += 1
        batch.bytes += size
        batch.waiting += 1
        self._unconfirmed += 1
        self._unconfirmed_bytes += size

    def _is_set_aside(self, error: KafkaError, topic: str, value: bytes) -> bool:
        """Return whether a refused record is to be left out, being too large; else note that publishing has failed."""
        if error.code() not in _TOO_LARGE:
            # The batch is never confirmed, so all of it is kept.
            if self._failure is None:
                self._failure = error
            return False
        self.refused_records += 1
        _log.error("record_too_large", topic=topic, bytes=len(value), error=error.str())
        if topic != self._dead_letters:
            self._set_aside.append((topic, value, error.str()))
        return True

    def _publish_set_aside(self) -> None:
        while self._set_aside:
            topic, value, message = self._set_aside.pop()
            self._group_is_ours = True
            self.dead_letter(
                DeadLetter(
                    dead_letter_id=identity("publish", topic, value.hex()),
                    stage="mapping",
                    reason="record_too_large",
                    message=f"{len(value)} bytes for {topic}, of which the first are kept: {message}",
                    exchange="",
                    channel=topic,
                    connection="",
                    sequence=0,
                    index=0,
                    received_time=self._group_time,
                    payload=value[:_SHOWN_BYTES],
                )
            )
            self._end_group()

    def _end_group(self) -> None:
        """Put what was published since the last frame into the spool; while there is no room, data are lost."""
        group, self._group = self._group, []
        if not group:
            return
        self._spooled_number = self._number
        ours = self._group_is_ours
        if (ours or self._losing_since_s is None) and self._save_unconfirmed():
            try:
                self._spool.append(group, must=ours)
            except SpoolFullError as error:
                self._begin_loss(str(error))
            else:
                if not ours:
                    self._last_kept = self._group_time
                return
        if not ours:
            self.lost_frames += 1
            self._lost_in_this += 1

    def _confirm(self) -> None:
        """Forget the batches that Kafka has confirmed, in order, and their place on the disk."""
        place = None
        batches = self._batches
        while batches and batches[0].waiting == 0:
            batch = batches.popleft()
            self._unconfirmed -= batch.records
            self._unconfirmed_bytes -= batch.bytes
            place = batch.place or place
            batch.forget()
            self._safe = max(self._safe, batch.number)
        if place is not None:
            self._spool.confirm(place)

    def _save_unconfirmed(self) -> bool:
        """Write into the spool what only librdkafka has, and return whether all of it is there."""
        if self._all_saved:
            return True
        saved = None
        for batch in self._batches:
            while batch.groups:
                try:
                    self._spool.append(batch.groups[0], must=True)
                except SpoolFullError as error:
                    self._begin_loss(str(error))
                    return False
                batch.groups.pop(0)
                saved = batch
                self._spooled_number = max(self._spooled_number, batch.number)
        if saved is not None:
            self._spool.flush()
            saved.place = self._spool.end()
            # librdkafka sends them by itself; reading them again would publish them twice.
            self._spool.skip_to_end()
        self._all_saved = True
        return True

    def _drain(self) -> bool:
        """Publish from the spool for a moment, and return whether there is more to do at once."""
        until_s = self._now_s() + _TURN_S
        while self._now_s() < until_s:
            if self._unconfirmed >= _DRAINING_RECORDS or self._unconfirmed_bytes >= _DRAINING_BYTES:
                return False
            if not self._unread:
                self._unread.extend(self._spool.read(_DRAIN_READ_BYTES))
            if not self._unread and self._spool.flush():
                self._unread.extend(self._spool.read(_DRAIN_READ_BYTES))
            if not self._unread:
                self._go_direct()
                return False
            batch = self._begin_batch(0)
            while self._unread and batch.records < _BATCH_RECORDS:
                group, batch.place = self._unread.popleft()
                for entry in group:
                    self._send(batch, entry)
        return True

    def _go_direct(self) -> None:
        """Everything on the disk is published; what the disk had no room for follows from memory."""
        left = self._spool.take_unwritten()
        if not left:
            self._safe = max(self._safe, self._spooled_number)
        self._go("direct")
        for group in left:
            batch = self._begin_group_of_batch()
            for entry in group:
                batch.groups[-1].append(entry)
                self._send(batch, entry)
        self._batch = None

    def _begin_loss(self, reason: str) -> None:
        if self._losing_since_s is None:
            self._losing_since_s = self._now_s()
            self._lost_in_this = 0
            _log.error("spool_full", folder=str(self._spool.folder), reason=reason, bytes=self._spool.bytes)
            self._losses.append(Loss(self._last_kept, None, 0))

    def _end_loss(self, since_s: float) -> None:
        self._losing_since_s = None
        seconds = round(self._now_s() - since_s, 1)
        _log.error("frames_lost", frames=self._lost_in_this, seconds=seconds, lost_in_all=self.lost_frames)
        self._losses.append(Loss(self._last_kept, self._group_time, self._lost_in_this))

    def _tell_losses(self) -> None:
        # Between two frames and never within one, so that what is said of it stands at a place of its own.
        losses, self._losses = self._losses, []
        for loss in losses:
            self._on_loss(loss)

    def _report(self, now_s: float) -> None:
        if now_s - self._reported_s >= _REPORT_S:
            self._reported_s = now_s
            if self._way != "direct":
                _log.warning(
                    "spool_in_use",
                    way=self._way,
                    bytes=self._spool.bytes,
                    unconfirmed=self._unconfirmed,
                    lost_frames=self.lost_frames,
                )


def open_spool(settings: Settings) -> Spool:
    """Return a spool for one process, with what earlier processes left for the same topics."""
    return claim_spool(settings.spool_dir / (settings.topic_prefix or "topics"), settings.spool_bytes)


def _note(error: KafkaError) -> None:
    # Every attempt to connect ends here; that Kafka is away is said once, and each minute how much waits.
    _log.debug("kafka_client", error=error.str())


_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
