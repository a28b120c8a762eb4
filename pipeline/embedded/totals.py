"""What a run's own topics say of it in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.blocks import read_block
from pipeline.codec import HEADER_BYTES, Codec, schema_id_of
from pipeline.kafka_client import KafkaUnavailableError, consumer_config
from pipeline.settings import Settings
from pipeline.topics import BARS, COVERAGE, DEAD_LETTERS, WORKER_STATE, Topic, topic_name
from pipeline.windows.checkpoint import unsettled_tallies

_READ_RECORDS = 20_000
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Totals:
    """A run in numbers.

    `events` are distinct liquidations, the `late` and `too_late` ones among them; `duplicates` were repetitions. Frames
    `without_events` were acknowledgements and the like. Of an archive, where every row holds one event,
    `frames` = `events` + `duplicates` + `dead_letters`.
    """

    frames: int
    events: int
    duplicates: int
    dead_letters: int
    bars: int
    late: int
    too_late: int
    without_events: int


def read_totals(settings: Settings, codec: Codec, frames: int, without_events: int) -> Totals:
    """Count what the topics under `settings.topic_prefix` hold, from their beginning."""
    tallies = _table(settings, codec, COVERAGE, "tally", ["exchange", "asset", "start", "revision", *_COUNTS])
    newest = tallies.sort("revision").group_by("exchange", "asset", "start").last()
    # A clock that is a collector's own stops where that stopped: the last minute's counts lie in the state still.
    unsettled = [tally for cells in _state(settings).values() for tally in unsettled_tallies(cells)]
    bars = _table(settings, codec, BARS, "bar", ["exchange", "symbol", "start"])
    counted = {
        name: int(newest[name].sum() or 0) + sum(getattr(tally, name) for tally in unsettled) for name in _COUNTS
    }
    return Totals(
        frames=frames,
        dead_letters=sum(1 for _ in _messages(settings, DEAD_LETTERS)),
        bars=bars.unique().height,
        without_events=without_events,
        **counted,
    )


_COUNTS = ["events", "duplicates", "late", "too_late"]


def _table(settings: Settings, codec: Codec, topic: Topic, name: str, columns: list[str]) -> pl.DataFrame:
    """Return the columns of all records of type `name` in `topic`."""
    bodies: dict[int, list[bytes]] = {}
    for message in _messages(settings, topic):
        value = message.value()
        if value is None:
            continue
        bodies.setdefault(schema_id_of(value), []).append(value[HEADER_BYTES:])
    tables = []
    for schema_id, found in bodies.items():
        schema = codec.by_id[schema_id]
        if schema.name == name:
            table = read_block(schema, found, columns)
            if table is None:
                raise ValueError(f"{topic.name} holds a record that is no {schema.key}")
            tables.append(table.select(columns))
    return pl.concat(tables) if tables else pl.DataFrame(schema=dict.fromkeys(columns, pl.Int64))


def _state(settings: Settings) -> dict[int, dict[bytes, bytes]]:
    """Return the newest cells of the worker's state by partition."""
    partitions: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for message in _messages(settings, WORKER_STATE):
        cells, key, value = partitions[message.partition() or 0], message.key() or b"", message.value()
        if value is None:
            cells.pop(key, None)
        else:
            cells[key] = value
    return partitions


def _messages(settings: Settings, topic: Topic) -> Iterator[Message]:
    """Yield all committed records of `topic`, those of a partition in their order."""
    name = topic_name(topic, settings.topic_prefix)
    consumer = Consumer({**consumer_config(settings, "totals", "totals"), "fetch.wait.max.ms": 10})
    try:
        partitions = list(consumer.list_topics(name, timeout=_PATIENCE_S).topics[name].partitions)
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            messages = consumer.consume(_READ_RECORDS, timeout=1.0)
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
                    ended.add(message.partition() or 0)
    except KafkaException as error:
        raise KafkaUnavailableError(f"cannot read {name}: {error.args[0].str()}") from error
    finally:
        consumer.close()
