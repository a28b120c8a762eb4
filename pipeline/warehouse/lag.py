"""How far a consumer group is behind its topics."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.kafka_client import KafkaUnavailableError, consumer_config
from pipeline.settings import Settings
from pipeline.topics import SINK_TOPICS, Topic, topic_name

_TIMEOUT_S = 10.0


def group_lag(settings: Settings, group: str, topics: Iterable[Topic]) -> dict[tuple[str, int], int]:
    """Return, by topic (without prefix) and partition, how many offsets `group` (without prefix) has not committed.

    A partition of which the group has committed nothing counts from its first offset. The end is that of committed
    transactions. Joins no group. Raises `KafkaUnavailableError` if the broker does not answer or lacks a topic.
    """
    config = consumer_config(settings, "lag", group)
    consumer = Consumer(config)
    try:
        metadata = consumer.list_topics(timeout=_TIMEOUT_S)
        names = {topic_name(topic, settings.topic_prefix): topic.name for topic in topics}
        missing = [name for name in names if name not in metadata.topics]
        if missing:
            raise KafkaUnavailableError(
                f"{settings.bootstrap_servers} has no topic {', '.join(missing)}: run `liquidations topics`"
            )
        partitions = [
            TopicPartition(name, partition) for name in names for partition in metadata.topics[name].partitions
        ]
        behind = {}
        for committed in consumer.committed(partitions, timeout=_TIMEOUT_S):
            low, high = consumer.get_watermark_offsets(committed, timeout=_TIMEOUT_S)
            behind[names[committed.topic], committed.partition] = max(0, high - max(low, committed.offset))
    except KafkaException as error:
        raise KafkaUnavailableError(
            f"no Kafka broker answers at {settings.bootstrap_servers}: {error.args[0].str()}"
        ) from error
    else:
        return behind
    finally:
        consumer.close()


def sink_lag(settings: Settings) -> int:
    """Return how many offsets of the topics that it copies the sink has not committed: 0 when all rows are in."""
    return sum(group_lag(settings, "sink", SINK_TOPICS).values())
