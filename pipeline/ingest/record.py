"""`liquidations record`: the frames topic into a folder of days.

The folder knows how far each partition is recorded (see `pipeline.ingest.recording_folder`), so nothing is committed to
the broker and there is no group: a recorder that is killed goes on where its folder ends.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.codec import Codec
from pipeline.ingest.manifest import Log
from pipeline.ingest.recording_folder import Observe, RecordingFolder, locked
from pipeline.kafka_client import KafkaUnavailableError, client_config, consumer_config
from pipeline.records import Frame, RefusedError
from pipeline.settings import Settings
from pipeline.topics import FRAMES, topic_name

_log = structlog.get_logger()

_TIMEOUT_S = 10.0
_MOST_READ = 5_000
_LONGEST_READ_S = 0.1
_MOST_HELD_BYTES = 32_000_000
_LOOK_FOR_PARTITIONS_S = 30.0
_RETRY_S = 0.1


@dataclass(slots=True)
class Recorded:
    """What one run of the recorder did: frames written, steps, and records that the recording lacks."""

    frames: int = 0
    steps: int = 0
    missing: int = 0


def run_record(
    settings: Settings,
    codec: Codec,
    folder: Path,
    stop: threading.Event,
    *,
    until_now: bool = False,
    from_now: bool = False,
    observe: Observe = lambda _step: None,
) -> Recorded:
    """Record until `stop` is set, or, with `until_now`, what the log holds at the start; then return what was done.

    A folder that was recorded into before goes on where it ended. Another one begins with the oldest frame of the log,
    or, with `from_now`, with the next. Raises `OperationError` if another process records into the folder, if it
    belongs to another log, and for a disk or broker that does not do what is asked.
    """
    with locked(folder):
        log = _log_of(settings)
        recorder = _Recorder(settings, codec, RecordingFolder(folder, log, observe), log)
        return recorder.run(stop, until_now=until_now, from_now=from_now)


def _log_of(settings: Settings) -> Log:
    """Return which log the frames topic is; the id tells it from one of the same name that was made again."""
    name = topic_name(FRAMES, settings.topic_prefix)
    admin = AdminClient(client_config(settings, "record"))
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT_S)[name].result(_TIMEOUT_S)
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaUnavailableError(
                f"{settings.bootstrap_servers} has no topic {name}: run `liquidations topics`"
            ) from error
        raise KafkaUnavailableError(
            f"no Kafka broker answers at {settings.bootstrap_servers}: {cause.str()}"
        ) from error
    return Log(name, str(described.topic_id))


class _Recorder:
    def __init__(self, settings: Settings, codec: Codec, folder: RecordingFolder, log: Log) -> None:
        self._settings = settings
        self._codec = codec
        self._folder = folder
        self._topic = log.topic
        self._interval_s = settings.record_interval_ms / 1000
        self._counts = Recorded()
        self._held_bytes = 0
        # The next offset to read of each partition that has moved since the last step.
        self._moved: dict[int, int] = {}
        # The next offset to read of each assigned partition, and those whose end was met.
        self._reached: dict[int, int] = {}
        self._ended: set[int] = set()
        # Partitions of which nothing is recorded until their end is met.
        self._passed_over: set[int] = set()
        # An offset that the broker has deleted while we read must not be stepped over in silence.
        self._consumer = Consumer({**consumer_config(settings, "record", "record"), "auto.offset.reset": "error"})

    def run(self, stop: threading.Event, *, until_now: bool, from_now: bool) -> Recorded:
        stepped_s = looked_s = time.monotonic()
        try:
            self._assign(from_now=from_now)
            _log.info("record_started", topic=self._topic, partitions=len(self._reached))
            while not stop.is_set() and not (until_now and self._is_at_end()):
                for message in self._consumer.consume(_MOST_READ, timeout=_LONGEST_READ_S):
                    self._take(message)
                now_s = time.monotonic()
                if self._held_bytes >= _MOST_HELD_BYTES or now_s >= stepped_s + self._interval_s:
                    self._step()
                    stepped_s = now_s
                    if until_now:
                        _log.info("record_goes_on", frames=self._counts.frames)
                if now_s >= looked_s + _LOOK_FOR_PARTITIONS_S:
                    self._step()
                    # A partition that is added later is recorded from its beginning.
                    self._assign(from_now=False)
                    looked_s = now_s
            self._step()
        except KafkaException as error:
            raise KafkaUnavailableError(f"cannot read {self._topic}: {error.args[0].str()}") from error
        finally:
            self._consumer.close()
        _log.info("record_stopped", frames=self._counts.frames, missing=self._counts.missing)
        return self._counts

    def _assign(self, *, from_now: bool) -> None:
        """Read every partition, each from where it is recorded up to."""
        try:
            partitions = sorted(
                self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic].partitions
            )
        except KafkaException:
            if not self._reached:
                raise
            # The broker is away for a while, and there is something to read when it is back.
            return
        if set(partitions) == set(self._reached):
            return
        positions = [
            TopicPartition(self._topic, partition, self._begin(partition, from_now)) for partition in partitions
        ]
        self._consumer.assign(positions)

    def _begin(self, partition: int, from_now: bool) -> int:
        """Return where to read on.

        The end of a partition is where reading meets it, not what the broker says: asked for it, the embedded one names
        the offset behind the first record of the last batch.
        """
        lowest, end = self._told_span(partition)
        position = self._folder.positions.get(partition)
        if position is None:
            self._folder.begin(partition, end if from_now else lowest)
            if from_now:
                self._passed_over.add(partition)
        elif position.next < lowest:
            self._lose(partition, position.next, lowest, "deleted before it was recorded")
        return self._reached.setdefault(partition, self._folder.positions[partition].next)

    def _told_span(self, partition: int) -> tuple[int, int]:
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_TIMEOUT_S)
            except KafkaException as error:
                # A topic that was made a moment ago has partitions without a leader.
                if error.args[0].code() not in _LEADER_MOVES or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_S)

    def _lose(self, partition: int, begin: int, end: int, reason: str) -> None:
        self._folder.skip(partition, begin, end)
        self._counts.missing += end - begin
        _log.error("record_missing", partition=partition, begin=begin, end=end, reason=reason)

    def _is_at_end(self) -> bool:
        return self._ended >= self._reached.keys()

    def _take(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None and partition in self._passed_over:
            return
        if error is None and partition is not None and offset is not None:
            self._ended.discard(partition)
            try:
                frame = self._codec.decode(message.value() or b"")
                if not isinstance(frame, Frame):
                    raise RefusedError("wrong_record_type", f"a {type(frame).__name__} is no frame")
            except RefusedError as refusal:
                # Nothing of the exchange's: only we write frames. What it is stays in the topic to be looked at.
                self._step()
                self._lose(partition, offset, offset + 1, str(refusal))
            else:
                self._held_bytes += self._folder.add(frame, partition, offset)
            self._moved[partition] = self._reached[partition] = offset + 1
        elif error is not None and error.code() == KafkaError._PARTITION_EOF and partition is not None:  # noqa: SLF001
            self._ended.add(partition)
            if partition in self._passed_over:
                self._passed_over.discard(partition)
                self._moved[partition] = self._reached[partition] = offset or 0
        elif error is not None and (error.fatal() or error.code() in _NO_WAY_ON):
            raise KafkaUnavailableError(
                f"cannot read {self._topic}/{partition} on from {self._reached.get(partition or 0)}: {error.str()}"
            )
        elif error is not None:
            _log.warning("record_read_failed", error=error.str())

    def _step(self) -> None:
        if not self._moved:
            return
        self._counts.frames += self._folder.step(self._moved)
        self._counts.steps += 1
        self._moved.clear()
        self._held_bytes = 0


_LEADER_MOVES = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
# Waiting cures none of these: the topic is gone, or what is to be read next was deleted meanwhile.
_NO_WAY_ON = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
}
