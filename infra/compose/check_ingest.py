# ruff: noqa: INP001 - a script of its own
"""Succeed if the broker has appended a heartbeat of this collector within SECONDS: `check_ingest.py SECONDS`.

The health check of ingest, which is in no consumer group. It says a heartbeat of each channel every second, up or down,
into every partition of `events`. A process that hangs says none; while Kafka is away, there are none to be seen.
"""

import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.codec import Codec
from pipeline.errors import OperationError
from pipeline.kafka_client import client_config
from pipeline.records import Heartbeat, RefusedError
from pipeline.settings import Settings, read_settings
from pipeline.topics import EVENTS, topic_name

_TIMEOUT_S = 5.0
_RECORDS = 1_000


def main() -> int:
    """Return the exit code: 0 if there is a heartbeat, 1 otherwise, with the reason in one line."""
    try:
        settings = read_settings()
        lately_s = float(sys.argv[1])
        if has_heartbeat(settings, lately_s):
            return 0
    except (OperationError, KafkaException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"no heartbeat of the collector {settings.collector} within {lately_s:g} s\n")
    return 1


def has_heartbeat(settings: Settings, lately_s: float) -> bool:
    """Read one partition from so many seconds ago on, until a heartbeat of this collector comes."""
    codec = Codec()
    # It commits nothing and joins nothing; the client wants a name all the same.
    config = {**client_config(settings, "health"), "group.id": f"{settings.topic_prefix}health"}
    consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": False})
    try:
        since_ms = int((time.time() - lately_s) * 1000)
        wanted = TopicPartition(topic_name(EVENTS, settings.topic_prefix), 0, since_ms)
        found = consumer.offsets_for_times([wanted], _TIMEOUT_S)[0]
        if found.error is not None:
            raise KafkaException(found.error)
        consumer.assign([found])
        until_s = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until_s:
            for message in consumer.consume(_RECORDS, 0.5):
                if message.error() is None and is_heartbeat(codec, message.value() or b"", settings.collector):
                    return True
        return False
    finally:
        consumer.close()


def is_heartbeat(codec: Codec, value: bytes, collector: str) -> bool:
    """Tell whether a record of the topic is a heartbeat of this collector."""
    try:
        record = codec.decode(value)
    except RefusedError:
        return False
    return isinstance(record, Heartbeat) and record.collector == collector


if __name__ == "__main__":
    sys.exit(main())
