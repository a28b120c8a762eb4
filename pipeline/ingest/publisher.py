"""The one way into the topics: frames, events, heartbeats and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.codec import Codec
from pipeline.kafka_client import KafkaUnavailableError, producer_config
from pipeline.records import Candle, DeadLetter, Frame, Heartbeat, Liquidation, MarketMetric, Subscription
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, EVENTS, FRAMES, topic_name

_log = structlog.get_logger()


class Publisher:
    """Publish records, each to its topic, in the order of the calls within a partition.

    Every record is written once and confirmed by all replicas; `flush` returns when that is so for all of them, and
    raises `KafkaUnavailableError` if it cannot be. An error of one delivery is raised by the next call. A record waits
    up to `linger_ms` for others that travel with it. `producer` are librdkafka's settings in place of the usual ones.
    """

    def __init__(
        self, settings: Settings, codec: Codec, linger_ms: int = 5, producer: Mapping[str, Any] | None = None
    ) -> None:
        self._codec = codec
        self._frames = topic_name(FRAMES, settings.topic_prefix)
        self._events = topic_name(EVENTS, settings.topic_prefix)
        self._dead_letters = topic_name(DEAD_LETTERS, settings.topic_prefix)
        self._partitions = range(settings.partitions)
        self._bootstrap_servers = settings.bootstrap_servers
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                **producer_config(settings, "publisher"),
                "linger.ms": linger_ms,
                "on_delivery": self._delivered,
                **(producer or {}),
            }
        )
        self._since_poll = 0

    def frame(self, frame: Frame) -> None:
        """Publish a frame as it came."""
        self._produce(self._frames, f"{frame.exchange}/{frame.channel}".encode(), self._codec.encode(frame))

    def event(self, event: Liquidation | Candle | MarketMetric | Subscription) -> None:
        """Publish an event to its asset's partition."""
        self._produce(self._events, event.asset.encode(), self._codec.encode(event))

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Publish a heartbeat into every partition of the events: each needs the clock."""
        value = self._codec.encode(heartbeat)
        key = f"{heartbeat.exchange}/{heartbeat.channel}".encode()
        self._produce_everywhere(self._events, key, value)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Publish what was refused."""
        self._produce(self._dead_letters, letter.stage.encode(), self._codec.encode(letter))

    @property
    def waiting(self) -> int:
        """Return how many records are not confirmed yet."""
        return len(self._producer)

    def hear(self) -> None:
        """Take what the broker has said since the last call, without waiting; raise what it refused."""
        self._producer.poll(0)
        self._raise_failure()

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything published is confirmed."""
        waiting = self._producer.flush(timeout_s)
        self._raise_failure()
        if waiting:
            raise KafkaUnavailableError(
                f"{self._bootstrap_servers} did not confirm {waiting} records within {timeout_s:g} s"
            )

    def _produce(self, topic: str, key: bytes, value: bytes, partition: int = -1) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, partition=partition)
            except BufferError:
                # The queue is full: the broker is slower than we are. Waiting here is what bounds the memory.
                self._producer.poll(0.1)
                self._raise_failure()
            except KafkaException as error:
                raise KafkaUnavailableError(f"cannot publish to {topic}: {error.args[0].str()}") from error
            else:
                break
        self._since_poll += 1
        if self._since_poll >= 1_000:  # noqa: PLR2004 - often enough to hear of failures, rare enough to cost nothing
            self._since_poll = 0
            self._producer.poll(0)
            self._raise_failure()

    def _produce_everywhere(self, topic: str, key: bytes, value: bytes) -> None:
        for partition in self._partitions:
            self._produce(topic, key, value, partition)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise KafkaUnavailableError(f"{self._bootstrap_servers} refused a record: {self._failure.str()}")
