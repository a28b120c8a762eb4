"""One partition of the event log in this worker's hands: its state, and the transactions that make it lasting.

Owning is decided by Kafka's transaction coordinator, not by the consumer group. Each partition has one transactional
id. Claiming it ends or completes what a former owner left open and refuses that owner from then on, so a worker that
was frozen and wakes up can write nothing any more, whatever it believes. Only then is the state read.

One checkpoint is one transaction:

1. take what changed from the fold,
2. begin,
3. produce the bars, coverage, silences, tallies and dead letters,
4. produce the changed cells of the state, that of the partition with the covered offset last,
5. commit,
6. acknowledge the batches to Faust, which commits the group's offset at its leisure.

A crash between any two steps repeats work and changes no row: the next owner finds the state of the last committed
checkpoint and skips the records up to the offset it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from pipeline.codec import Codec, record_fields
from pipeline.errors import OperationError
from pipeline.kafka_client import KafkaUnavailableError, consumer_config, is_fenced, producer_config
from pipeline.records import DeadLetter
from pipeline.settings import Settings
from pipeline.topics import BARS, COVERAGE, DEAD_LETTERS, WORKER_STATE, topic_name
from pipeline.windows.checkpoint import Checkpoint, restore
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

_log = structlog.get_logger()

# How long one call waits for the broker before it is made again; how often nothing may come when state is read.
_CALL_TIMEOUT_S = 10.0
_CLAIM_ATTEMPTS = 6
_READ_RECORDS = 5_000
# A transaction that its owner leaves open blocks readers of the outputs for at most this long.
_TRANSACTION_TIMEOUT_MS = 30_000

Message = tuple[str, bytes, bytes | None]  # topic, key, value
Observe = Callable[[str], None]


class FencedError(OperationError):
    """Another worker has taken the partition over; what this one holds of it is void."""


class OwnedPartition:
    """The claim on one partition.

    `claim` and `commit` block on the broker and are called from a thread; `state` is touched by the caller only.
    """

    def __init__(
        self, partition: int, settings: Settings, codec: Codec, parameters: WindowParameters, observe: Observe
    ) -> None:
        self.partition = partition
        self.state = PartitionState()
        self._settings = settings
        self._codec = codec
        self._parameters = parameters
        self._observe = observe
        prefix = settings.topic_prefix
        self._bars, self._coverage = topic_name(BARS, prefix), topic_name(COVERAGE, prefix)
        self._dead_letters, self._cells = topic_name(DEAD_LETTERS, prefix), topic_name(WORKER_STATE, prefix)
        self._producer: Producer | None = None

    def claim(self) -> None:
        """Refuse former owners, then read the state. Raise `KafkaUnavailableError` or `FencedError`."""
        transactional_id = f"{self._settings.topic_prefix}worker-{self.partition}"
        self._producer = Producer(
            {
                **producer_config(self._settings, f"worker-{self.partition}"),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
            }
        )
        self._insist("claim", lambda producer: producer.init_transactions(_CALL_TIMEOUT_S), _CLAIM_ATTEMPTS)
        self._observe("claimed")
        self.state = restore(self._read_cells(), self._parameters)
        _log.info(
            "partition_claimed",
            partition=self.partition,
            offset=self.state.offset,
            watermark=self.state.watermark,
            minutes=len(self.state.minutes),
        )

    def commit(self, checkpoint: Checkpoint, dead_letters: Iterable[DeadLetter]) -> None:
        """Write one checkpoint in one transaction. Raise `FencedError` if the partition is no longer ours."""
        self._insist("begin", lambda producer: producer.begin_transaction(), 1)
        self._observe("begun")
        # Outputs go to the partition of the same number: the asset's records stay together, and a transaction
        # touches as few partitions as there can be.
        for message in self._outputs(checkpoint):
            self._produce(*message, self.partition)
        for letter in dead_letters:
            self._produce(self._dead_letters, letter.stage.encode(), self._codec.encode(letter), 0)
        self._observe("outputs_produced")
        for key, value in checkpoint.cells:
            self._produce(self._cells, key, value, self.partition)
        self._observe("cells_produced")
        self._insist("commit", lambda producer: producer.commit_transaction(_CALL_TIMEOUT_S), None)
        self._observe("committed")

    def close(self) -> None:
        """Let go. What is not committed is left to the next owner."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _outputs(self, checkpoint: Checkpoint) -> Iterable[Message]:
        encode = self._codec.encode_fields
        for bar in checkpoint.bars:
            yield self._bars, str(bar["asset"]).encode(), encode("bar", bar)
        # Every partition hears every heartbeat, settles the same coverage and finds the same silences; one of them says
        # it. The subscriptions of a contract are heard by its own partition alone.
        for settled in checkpoint.coverage:
            if self.partition == 0 or settled.symbol:
                yield self._coverage, settled.exchange.encode(), encode("coverage", record_fields(settled))
        if self.partition == 0:
            for silence in checkpoint.silences:
                yield self._coverage, silence.exchange.encode(), encode("silence", record_fields(silence))
        for tally in checkpoint.tallies:
            yield self._coverage, tally.exchange.encode(), encode("tally", record_fields(tally))

    def _produce(self, topic: str, key: bytes, value: bytes | None, partition: int) -> None:
        producer = self._live()
        while True:
            try:
                producer.produce(topic, value=value, key=key, partition=partition)
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise self._translate("produce", error) from error
            else:
                return

    def _insist(self, what: str, call: Callable[[Producer], object], attempts: int | None) -> None:
        """Make a call again while the broker only fails to answer; `attempts` None means for ever."""
        made = 0
        while True:
            made += 1
            try:
                call(self._live())
            except KafkaException as error:
                if not error.args[0].retriable() or made == attempts:
                    raise self._translate(what, error) from error
                _log.warning("broker_slow", partition=self.partition, step=what, attempt=made)
            else:
                return

    def _live(self) -> Producer:
        if self._producer is None:
            raise FencedError(f"partition {self.partition} was let go")
        return self._producer

    def _translate(self, what: str, error: KafkaException) -> Exception:
        if is_fenced(error):
            return FencedError(f"another worker has taken over partition {self.partition}")
        return KafkaUnavailableError(f"cannot {what} on partition {self.partition}: {error.args[0].str()}")

    def next_offset(self, topic: str, offset: int) -> int:
        """Return the offset of the first record that this partition of `topic` has at or after `offset`.

        Raise `KafkaUnavailableError` if the broker does not answer.
        """
        for message in self._read(topic, offset, 1):
            return int(message.offset() or 0)
        raise KafkaUnavailableError(f"{topic} has no record at or after offset {offset}, and one was fetched")

    def _read_cells(self) -> dict[bytes, bytes]:
        """Return the newest committed value of each key of this partition's state."""
        cells: dict[bytes, bytes] = {}
        for message in self._read(self._cells, OFFSET_BEGINNING, _READ_RECORDS):
            key, value = message.key() or b"", message.value()
            if value is None:
                cells.pop(key, None)
            else:
                cells[key] = value
        return cells

    def _read(self, topic: str, offset: int, at_once: int) -> Iterator[KafkaMessage]:
        """Yield the committed records of this partition of `topic` from `offset`, or from its oldest, to its end."""
        # The group is never used; the client wants a name.
        config = consumer_config(self._settings, f"reader-{self.partition}", "worker-log-reader")
        consumer = Consumer({**config, "fetch.wait.max.ms": 10, "queued.min.messages": 100_000})
        quiet = 0
        try:
            consumer.assign([TopicPartition(topic, self.partition, offset)])
            while True:
                messages = consumer.consume(at_once, timeout=1.0)
                quiet = 0 if messages else quiet + 1
                if quiet > _CLAIM_ATTEMPTS * _CALL_TIMEOUT_S:
                    raise KafkaUnavailableError(f"{topic} does not answer; is {self._settings.bootstrap_servers} up?")
                for message in messages:
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
                        return
                    elif not error.retriable():
                        raise KafkaUnavailableError(f"cannot read {topic}: {error.str()}")
        finally:
            consumer.close()
