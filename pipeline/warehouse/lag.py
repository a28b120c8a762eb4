"""How far a consumer group is behind its topics."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.kafka_client import KafkaUnavailableError, consumer_config
from pipeline.settings import Settings
from pipeline.topics import EVENTS, PULSES, SINK_TOPICS, Topic, topic_name
from pipeline.warehouse.grouping import offset_of, place_of

_TIMEOUT_S = 10.0
_RETRY_S = 0.1
# A broker that has just started says so until it knows who keeps the group.
_COORDINATOR_MOVES = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}


def group_lag(settings: Settings, group: str, topics: Iterable[Topic]) -> dict[tuple[str, int], int]:
    """Return, by topic (without prefix) and partition, how many offsets `group` (without prefix) has not committed.

    A partition of which the group has committed nothing counts from its first offset. The end is that of committed
    transactions. Joins no group. Raises `KafkaUnavailableError` if the broker does not answer or lacks a topic.
    """
    names = {topic_name(topic, settings.topic_prefix): topic.name for topic in topics}
    # A short wait makes the end of a partition known at once, not when the broker gives up waiting for more.
    consumer = Consumer({**consumer_config(settings, "lag", group), "fetch.wait.max.ms": 10})
    try:
        known = consumer.list_topics(timeout=_TIMEOUT_S).topics
        missing = [name for name in names if name not in known]
        if missing:
            raise KafkaUnavailableError(
                f"{settings.bootstrap_servers} has no topic {', '.join(missing)}: run `liquidations topics`"
            )
        partitions = [TopicPartition(name, partition) for name in names for partition in known[name].partitions]
        committed = _committed(consumer, partitions)
        spans = _spans(consumer, partitions)
    except KafkaException as error:
        raise KafkaUnavailableError(
            f"no Kafka broker answers at {settings.bootstrap_servers}: {error.args[0].str()}"
        ) from error
    finally:
        consumer.close()
    behind = {}
    for done in committed:
        first, end = spans[done.topic, done.partition]
        behind[names[done.topic], done.partition] = max(0, end - max(first, done.offset))
    return behind


def worker_lag(settings: Settings) -> dict[str, int]:
    """Return, by topic, how many records the worker has not committed: offsets of events, then records of pulses.

    When there are none, everything that the events led to is published. Raises as `group_lag`.
    """
    events = sum(group_lag(settings, "worker", [EVENTS]).values())
    return {EVENTS.name: events, PULSES.name: _unread(settings, "worker", PULSES)}


def sink_lag(settings: Settings) -> int:
    """Return how many offsets of the topics that it copies the sink has not committed: 0 when all rows are in."""
    return sum(group_lag(settings, "sink", SINK_TOPICS).values())


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return consumer.committed(partitions, timeout=_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _unread(settings: Settings, group: str, topic: Topic) -> int:
    """Return how many committed records of `topic`, which has one partition, `group` has not committed.

    They are counted, for transactions leave markers among them that have offsets, too.
    """
    place = TopicPartition(topic_name(topic, settings.topic_prefix), 0)
    consumer = Consumer({**consumer_config(settings, "lag", group), "fetch.wait.max.ms": 10})
    try:
        (done,) = _committed(consumer, [place])
        first, _ = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        consumer.assign([TopicPartition(place.topic, 0, max(first, done.offset))])
        deadline = time.monotonic() + _TIMEOUT_S
        found = 0
        while True:
            message = consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - a public constant of the client
            error = message.error()
            if error is None:
                found += 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - as above
                return found
            else:
                raise KafkaException(error)
    except KafkaException as error:
        raise KafkaUnavailableError(f"cannot read {place.topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _spans(consumer: Consumer, partitions: Iterable[TopicPartition]) -> dict[tuple[str, int], tuple[int, int]]:
    """Return the first offset and the end of each partition.

    The end is read, not asked for: asked for the latest offset, the embedded broker names the one behind the first
    record of the last batch.
    """
    firsts, ends, unread = {}, {}, {}
    for partition in partitions:
        place = (partition.topic, partition.partition)
        first, told = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S)
        firsts[place], ends[place] = first, told
        if told > first:
            unread[place] = TopicPartition(*place, told - 1)
    consumer.assign(list(unread.values()))
    deadline = time.monotonic() + _TIMEOUT_S
    while unread:
        message = consumer.poll(max(0.0, deadline - time.monotonic()))
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - a public constant of the client
        error = message.error()
        if error is None:
            continue
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - as above
            raise KafkaException(error)
        ends[place_of(message)] = offset_of(message)
        unread.pop(place_of(message), None)
    return {place: (first, ends[place]) for place, first in firsts.items()}
