"""What the sink could not store, sent to the dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from pipeline.codec import Codec
from pipeline.kafka_client import KafkaUnavailableError, producer_config
from pipeline.records import DeadLetter, dead_letter_of_record
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, topic_name
from pipeline.warehouse.grouping import Refusal, offset_of, place_of

# A record that fills a message alone would not fit into another one beside the reason.
MOST_PAYLOAD_BYTES = 900_000
_DELIVERY_TIMEOUT_S = 60.0


def dead_letter_of(refusal: Refusal) -> DeadLetter:
    """Return the dead letter of a record that the sink refuses; the same record always gives the same one."""
    message, explanation = refusal.message, refusal.explanation
    value = message.value() or b""
    if len(value) > MOST_PAYLOAD_BYTES:
        explanation += f" (payload: the first {MOST_PAYLOAD_BYTES} of {len(value)} bytes)"
    return dead_letter_of_record(
        "sink",
        *place_of(message),
        offset_of(message),
        max(0, message.timestamp()[1]),
        value[:MOST_PAYLOAD_BYTES],
        refusal.reason,
        explanation,
    )


class DeadLetterPublisher:
    """Publish dead letters and wait until they are kept."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._codec = codec
        self._topic = topic_name(DEAD_LETTERS, settings.topic_prefix)
        self._producer = Producer(producer_config(settings, "sink"))

    def publish(self, letters: Iterable[DeadLetter]) -> None:
        """Return when every letter is confirmed by all replicas, or raise `KafkaUnavailableError`."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: KafkaMessage) -> None:
            if error is not None:
                failures.append(error)

        for letter in letters:
            self._produce(letter, delivered)
        waiting = self._producer.flush(_DELIVERY_TIMEOUT_S)
        if failures or waiting:
            reason = failures[0].str() if failures else f"no answer within {_DELIVERY_TIMEOUT_S:g} s"
            raise KafkaUnavailableError(f"cannot publish to {self._topic}, nothing was committed: {reason}")

    def _produce(self, letter: DeadLetter, delivered: Callable[[KafkaError | None, KafkaMessage], None]) -> None:
        value = self._codec.encode(letter)
        while True:
            try:
                self._producer.produce(self._topic, value=value, key=letter.stage.encode(), on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise KafkaUnavailableError(f"cannot publish to {self._topic}: {error.args[0].str()}") from error
            else:
                return
