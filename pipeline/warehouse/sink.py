"""Copy topics into tables.

A consumer reads what is final, `grouping` sorts it by table, `inserting` hands each block over. One flush is, in order:

1. sort the records that are held by table,
2. insert each block; a block that is refused is searched for the records that cannot go in,
3. publish these as dead letters and wait until the broker has confirmed them,
4. commit the offsets.

A crash between any two steps repeats work: the rows are idempotent by key, the dead letters by id. While ClickHouse is
away the partitions are paused and the same flush is tried again, so that what is held stays bounded and the group
keeps this member. After a rebalance what is held is dropped and read again by whoever owns the partition then.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from pipeline.codec import Codec
from pipeline.kafka_client import KafkaUnavailableError, consumer_config
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, SINK_TOPICS, topic_name
from pipeline.warehouse.client import connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.dead_letters import DeadLetterPublisher, dead_letter_of
from pipeline.warehouse.failures import AwayError
from pipeline.warehouse.grouping import Block, Refusal, group, offset_of, place_of, targets
from pipeline.warehouse.inserting import insert_block, insert_or_refuse

SINK_GROUP = "sink"

_log = structlog.get_logger()

_MOST_READ = 10_000
_MOST_HELD_BYTES = 32_000_000
_LONGEST_READ_S = 0.1
_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 10.0
_KAFKA_TIMEOUT_S = 10.0

# Steps of a flush are told to an observer in tests; the product has none.
Observe = Callable[[str], None]


@dataclass(slots=True)
class SinkCounts:
    """What one run of the sink did: rows by table, dead letters, records without a table, commits, pauses."""

    rows: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0
    skipped: int = 0
    commits: int = 0
    pauses: int = 0


def run_sink(
    settings: Settings,
    codec: Codec,
    stop: threading.Event,
    observe: Observe = lambda _step: None,
    client: Client | None = None,
) -> SinkCounts:
    """Copy until `stop` is set, then write what is held and return what was done.

    Runs in a thread of the embedded process, or as a process of its own beside any number of others. `client` is used
    by this thread only; without one the sink connects as `settings` say. Raises `WarehouseError` or
    `KafkaUnavailableError` for what waiting does not cure, with nothing of the failed flush committed.
    """
    own_client = client is None
    if client is None:
        password = settings.clickhouse_password
        client = connect(
            settings.clickhouse_url, settings.clickhouse_user, password.get_secret_value() if password else None
        )
    try:
        return _Sink(settings, codec, client, observe).run(stop)
    finally:
        if own_client:
            client.close()


class _Sink:
    def __init__(self, settings: Settings, codec: Codec, client: Client, observe: Observe) -> None:
        self._settings = settings
        self._codec = codec
        self._client = client
        self._observe = observe
        self._targets = targets(codec, Databases(settings.clickhouse_database).tables)
        self._dead_letters_topic = topic_name(DEAD_LETTERS, settings.topic_prefix)
        self._interval_s = settings.insert_interval_ms / 1000
        self._counts = SinkCounts()
        self._consumer = Consumer(consumer_config(settings, "sink", SINK_GROUP))
        self._publisher: DeadLetterPublisher | None = None
        self._held: list[KafkaMessage] = []
        self._held_bytes = 0
        # The next offset to read of each partition that has moved since the last commit.
        self._positions: dict[tuple[str, int], int] = {}
        self._rebalanced = False
        self._flushed_at = float("-inf")

    def run(self, stop: threading.Event) -> SinkCounts:
        try:
            self._subscribe()
            while not stop.is_set():
                self._read()
                if self._is_due():
                    self._flush(stop)
            if self._positions and not self._rebalanced:
                self._flush(stop)
        finally:
            self._consumer.close()
        _log.info("sink_stopped", rows=dict(self._counts.rows), dead_letters=self._counts.dead_letters)
        return self._counts

    def _subscribe(self) -> None:
        names = [topic_name(topic, self._settings.topic_prefix) for topic in SINK_TOPICS]
        address = self._settings.bootstrap_servers
        try:
            known = self._consumer.list_topics(timeout=_KAFKA_TIMEOUT_S).topics
        except KafkaException as error:
            raise KafkaUnavailableError(f"no Kafka broker answers at {address}: {error.args[0].str()}") from error
        missing = [name for name in names if name not in known]
        if missing:
            raise KafkaUnavailableError(f"{address} has no topic {', '.join(missing)}: run `liquidations topics`")
        self._consumer.subscribe(names, on_assign=self._on_assign, on_revoke=self._drop_held, on_lost=self._drop_held)
        _log.info("sink_started", topics=names, clickhouse=self._settings.clickhouse_url.rpartition("@")[2])

    def _on_assign(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._rebalanced = True
        _log.info("sink_assigned", partitions=len(partitions))

    def _drop_held(self, _consumer: Consumer, _partitions: Sequence[TopicPartition]) -> None:
        # Whoever owns the partitions next reads it again. Writing it here would hold up the whole group.
        self._rebalanced = True
        self._forget()

    def _forget(self) -> None:
        self._held = []
        self._held_bytes = 0
        self._positions.clear()

    def _read(self) -> None:
        # `consume` waits for all that it was asked for: after a quiet time, ask for one and then for what came with it.
        messages = [] if self._positions else self._consumer.consume(1, timeout=_LONGEST_READ_S)
        if messages or self._positions:
            wait_s = min(max(self._flushed_at + self._interval_s - time.monotonic(), 0.0), _LONGEST_READ_S)
            room = max(1, min(_MOST_READ, self._settings.insert_rows - len(self._held)))
            messages += self._consumer.consume(room, timeout=wait_s)
        if self._rebalanced:
            self._start_over()
            return
        for message in messages:
            self._take(message)

    def _start_over(self) -> None:
        """Begin at the committed offsets after a rebalance.

        One call of `consume` may bring records from before and after a rebalance, and drops its callback in between.
        """
        self._forget()
        try:
            owned = self._consumer.assignment()
            self._consumer.assign(self._consumer.committed(owned, timeout=_KAFKA_TIMEOUT_S) if owned else [])
        except KafkaException as error:
            _log.warning("sink_offsets_unknown", error=error.args[0].str())
        else:
            self._rebalanced = False

    def _take(self, message: KafkaMessage) -> None:
        error = message.error()
        if error is None:
            self._held.append(message)
            self._held_bytes += len(message)
            self._positions[place_of(message)] = offset_of(message) + 1
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant with an underscore
            # Behind the last record there may be the markers of transactions; the end is behind them, too.
            self._positions[place_of(message)] = offset_of(message)
        elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaUnavailableError(f"cannot read from {self._settings.bootstrap_servers}: {error.str()}")
        else:
            _log.warning("sink_read_failed", error=error.str())

    def _is_due(self) -> bool:
        if not self._positions:
            return False
        if len(self._held) >= self._settings.insert_rows or self._held_bytes >= _MOST_HELD_BYTES:
            return True
        return time.monotonic() >= self._flushed_at + self._interval_s

    def _flush(self, stop: threading.Event) -> None:
        """Write what is held, waiting for ClickHouse if need be; give up only when told to stop or at a rebalance."""
        began, retry_s, paused_at = time.monotonic(), _FIRST_RETRY_S, 0.0
        while True:
            try:
                self._write()
            except AwayError as away:
                if not paused_at:
                    paused_at = time.monotonic()
                    self._counts.pauses += 1
                    self._consumer.pause(self._consumer.assignment())
                    _log.warning("sink_paused", held=len(self._held), reason=str(away))
                if not self._wait(stop, retry_s):
                    break
                retry_s = min(retry_s * 2, _LAST_RETRY_S)
            else:
                if paused_at:
                    self._consumer.resume(self._consumer.assignment())
                    _log.info("sink_resumed", away_s=round(time.monotonic() - paused_at, 1))
                break
        # The interval runs from start to start, with a rest as long as the flush: a quick flush costs no latency, and a
        # slow one gathers more for the next instead of keeping a processor busy with small blocks.
        ended = time.monotonic()
        self._flushed_at = max(began, ended + min(ended - began, self._interval_s) - self._interval_s)

    def _wait(self, stop: threading.Event, wait_s: float) -> bool:
        """Stay a member of the group for `wait_s`; return whether there is still something to write and a reason to."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            message = self._consumer.poll(min(left_s, _LONGEST_READ_S))
            if stop.is_set():
                _log.warning("sink_stopped_while_paused", uncommitted=len(self._held))
                self._forget()
                return False
            if self._rebalanced:
                self._start_over()
                return False
            if message is not None and message.error() is not None:
                self._take(message)
        return True

    def _write(self) -> None:
        grouped = group(self._held, self._targets)
        self._observe("grouped")
        refused = list(grouped.refused)
        rows: Counter[str] = Counter()
        for block in grouped.blocks:
            refusals = insert_or_refuse(block, self._insert, self._codec)
            refused += refusals
            rows[block.target.table] += len(block.messages) - len(refusals)
            self._observe(f"inserted {block.target.table}")
        if refused:
            self._publish(refused)
            self._observe("published dead letters")
        self._observe("before commit")
        if self._commit():
            self._counts.commits += 1
            self._counts.rows += rows
            self._counts.skipped += grouped.skipped
            self._counts.dead_letters += len(refused)
        self._observe("committed")

    def _insert(self, block: Block) -> None:
        insert_block(self._client, block)

    def _publish(self, refused: Sequence[Refusal]) -> None:
        letters = []
        for refusal in refused:
            _log.warning(
                "sink_refused_record",
                topic=refusal.message.topic(),
                partition=refusal.message.partition(),
                offset=refusal.message.offset(),
                reason=refusal.reason,
                explanation=refusal.explanation,
            )
            # A dead letter that is well-formed and still refused would come back for ever. It stays in its topic.
            if (refusal.message.topic(), refusal.reason) != (self._dead_letters_topic, "refused_by_clickhouse"):
                letters.append(dead_letter_of(refusal))
        if self._publisher is None:
            self._publisher = DeadLetterPublisher(self._settings, self._codec)
        self._publisher.publish(letters)

    def _commit(self) -> bool:
        """Commit how far everything is written and return whether that worked; if not, a later flush commits it."""
        offsets = [TopicPartition(topic, partition, next_) for (topic, partition), next_ in self._positions.items()]
        self._held = []
        self._held_bytes = 0
        try:
            for committed in self._consumer.commit(offsets=offsets, asynchronous=False) or []:
                if committed.error is not None:
                    raise KafkaException(committed.error)
        except KafkaException as error:
            # Not the owner any more, or the broker is away: the rows are in, and whoever reads on writes them again.
            _log.warning("sink_commit_failed", error=error.args[0].str())
            return False
        self._positions.clear()
        return True
