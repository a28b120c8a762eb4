"""How far a consumer group is behind its topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from pipeline.kafka_client import KafkaUnavailableError, client_config, consumer_config
from pipeline.settings import Settings
from pipeline.topics import EVENTS, PULSES, SINK_TOPICS, Topic, topic_name
from pipeline.warehouse.grouping import offset_of, place_of

_TIMEOUT_S = 10.0
_RETRY_S = 0.1
# A broker says so that has just started, until it knows who keeps the group, or that has just made a topic, until it
# knows who leads its partitions.
_PASSING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}

T = TypeVar("T")


def group_lag(settings: Settings, group: str, topics: Iterable[Topic]) -> dict[tuple[str, int], int]:
    """Return, by topic (without prefix) and partition, how many offsets `group` (without prefix) has not committed.

    A partition of which the group has committed nothing counts from its first offset. The end is that of committed
    transactions. Joins no group. Raises `KafkaUnavailableError` if the broker does not answer or lacks a topic.
    """
    names = {topic_name(topic, settings.topic_prefix): topic.name for topic in topics}
    # A short wait makes the end of a partition known at once, not when the broker gives up waiting for more.
    consumer = Consumer({**consumer_config(settings, "lag", group), "fetch.wait.max.ms": 10})
    try:
        partitions = _partitions(consumer, settings, names)
        committed = _committed(consumer, partitions)
        spans = _spans(consumer, partitions)
    except KafkaException as error:
        raise _no_answer(settings, error) from error
    finally:
        consumer.close()
    behind = {}
    for done in committed:
        first, end = spans[done.topic, done.partition]
        behind[names[done.topic], done.partition] = max(0, end - max(first, done.offset))
    return behind


def worker_lag(settings: Settings) -> dict[str, int]:
    """Return how many records the worker has not committed: offsets of `events`, records of `pulses`, and `outputs`.

    Those are what it has written and nobody can read yet. When there are none of all three, everything that the events
    led to can be read. Raises as `group_lag`.
    """
    events = sum(group_lag(settings, "worker", [EVENTS]).values())
    # In this order: what is held back is written by those who have committed what is asked for before.
    held_back = _held_back(settings, [PULSES])
    pulses = _unread(settings, "worker", PULSES)
    held_back += _held_back(settings, SINK_TOPICS)
    return {EVENTS.name: events, PULSES.name: pulses, "outputs": held_back}


def sink_lag(settings: Settings) -> int:
    """Return how many offsets of the topics that it copies the sink has not committed: 0 when all rows are in."""
    return sum(group_lag(settings, "sink", SINK_TOPICS).values())


def _no_answer(settings: Settings, error: KafkaException) -> KafkaUnavailableError:
    return KafkaUnavailableError(f"no Kafka broker answers at {settings.bootstrap_servers}: {error.args[0].str()}")


def _partitions(client: Consumer | AdminClient, settings: Settings, names: Iterable[str]) -> list[TopicPartition]:
    """Return every partition of the topics. Raise `KafkaUnavailableError` if one is missing."""
    known = client.list_topics(timeout=_TIMEOUT_S).topics
    missing = [name for name in names if name not in known]
    if missing:
        raise KafkaUnavailableError(
            f"{settings.bootstrap_servers} has no topic {', '.join(missing)}: run `liquidations topics`"
        )
    return [TopicPartition(name, partition) for name in names for partition in known[name].partitions]


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    return _patiently(lambda: consumer.committed(partitions, timeout=_TIMEOUT_S))


def _watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    return _patiently(lambda: consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S))


def _patiently(ask: Callable[[], T]) -> T:
    """Return what `ask` returns, asking again while the broker says that it does not know yet."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _held_back(settings: Settings, topics: Iterable[Topic]) -> int:
    """Return how many offsets of `topics` are behind the beginning of a transaction that is not over.

    A transaction that is committed is over a little later, once its markers are written: on a busy machine that takes
    some hundred milliseconds.
    """
    admin = AdminClient(client_config(settings, "lag"))
    try:
        places = _partitions(admin, settings, [topic_name(topic, settings.topic_prefix) for topic in topics])
        final = _ends(admin, places, IsolationLevel.READ_COMMITTED)
        written = _ends(admin, places, IsolationLevel.READ_UNCOMMITTED)
    except KafkaException as error:
        raise _no_answer(settings, error) from error
    return sum(max(0, end - seen) for seen, end in zip(final, written, strict=True))


def _ends(admin: AdminClient, places: list[TopicPartition], isolation: IsolationLevel) -> list[int]:
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = dict.fromkeys(places, latest)

    def ask() -> list[int]:
        told = admin.list_offsets(wanted, isolation_level=isolation, request_timeout=_TIMEOUT_S)
        return [told[place].result().offset for place in places]

    return _patiently(ask)


def _unread(settings: Settings, group: str, topic: Topic) -> int:
    """Return how many committed records of `topic`, which has one partition, `group` has not committed.

    They are counted, for transactions leave markers among them that have offsets, too.
    """
    place = TopicPartition(topic_name(topic, settings.topic_prefix), 0)
    consumer = Consumer({**consumer_config(settings, "lag", group), "fetch.wait.max.ms": 10})
    try:
        (done,) = _committed(consumer, [place])
        first, _ = _watermarks(consumer, place)
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
        first, told = _watermarks(consumer, partition)
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
