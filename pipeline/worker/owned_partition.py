"""One partition of a topic in this worker's hands: its stored state, and the transactions that write it.

Owning is decided by Kafka's transaction coordinator, not by the consumer group. Each partition has one transactional
id. Claiming it ends or completes what a former owner left open and refuses that owner from then on, so a worker that
was frozen and wakes up can write nothing any more, whatever it believes. Only then is the state read.

One checkpoint is one transaction:

1. take what changed from the fold,
2. begin,
3. produce the outputs,
4. produce the changed cells of the state, the one with the covered offset last,
5. commit,
6. acknowledge the batches to Faust, which commits the group's offset at its leisure.

A crash between any two steps repeats work and changes no row: the next owner finds the state of the last committed
checkpoint and skips the records up to the offset it covers.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from pipeline.errors import OperationError
from pipeline.kafka_client import KafkaUnavailableError, consumer_config, is_fenced, producer_config
from pipeline.settings import Settings
from pipeline.worker.partition_fold import Taken

_log = structlog.get_logger()

# How long one call waits for the broker before it is made again; how often nothing may come when state is read.
_CALL_TIMEOUT_S = 10.0
_CLAIM_ATTEMPTS = 6
_READ_RECORDS = 5_000
# A transaction that its owner leaves open blocks readers of the outputs for at most this long.
_TRANSACTION_TIMEOUT_MS = 30_000

Observe = Callable[[str], None]


class FencedError(OperationError):
    """Another worker has taken the partition over; what this one holds of it is void."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is owned: a partition of `topic`, by the name `owner` in transactions, with its state in `cells`.

    Topics are named as on the broker. The state lies in the partition of the same number.
    """

    topic: str
    partition: int
    owner: str
    cells: str


class OwnedPartition:
    """The claim on one partition. `claim` and `commit` block on the broker and are called from a thread."""

    def __init__(self, place: Place, settings: Settings, observe: Observe) -> None:
        self.place = place
        self._settings = settings
        self._observe = observe
        self._producer: Producer | None = None

    def claim(self) -> dict[bytes, bytes]:
        """Refuse former owners, then return the cells. Raise `KafkaUnavailableError` or `FencedError`."""
        self._producer = Producer(
            {
                **producer_config(self._settings, self.place.owner),
                "transactional.id": self._settings.topic_prefix + self.place.owner,
                "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
            }
        )
        # It may end what a former owner left open.
        with self._ending():
            self._insist("claim", lambda producer: producer.init_transactions(_CALL_TIMEOUT_S), _CLAIM_ATTEMPTS)
        self._observe("claimed")
        return self._read_cells()

    def commit(self, taken: Taken) -> None:
        """Write one checkpoint in one transaction. Raise `FencedError` if the partition is no longer ours."""
        self._insist("begin", lambda producer: producer.begin_transaction(), 1)
        self._observe("begun")
        for output in taken.outputs:
            self._produce(*output)
        self._observe("outputs_produced")
        for key, value in taken.cells:
            self._produce(self.place.cells, self.place.partition, key, value)
        self._observe("cells_produced")
        with self._ending():
            self._insist("commit", lambda producer: producer.commit_transaction(_CALL_TIMEOUT_S), None)
        self._observe("committed")

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Be the only one to end a transaction, among all who lock the file of the settings if they name one."""
        if self._settings.commit_lock_file is None:
            yield
            return
        with self._settings.commit_lock_file.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Let go. What is not committed is left to the next owner."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _produce(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
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
                _log.warning(
                    "broker_slow", topic=self.place.topic, partition=self.place.partition, step=what, attempt=made
                )
            else:
                return

    def _live(self) -> Producer:
        if self._producer is None:
            raise FencedError(f"{self._named} was let go")
        return self._producer

    def _translate(self, what: str, error: KafkaException) -> Exception:
        if is_fenced(error):
            return FencedError(f"another worker has taken over {self._named}")
        return KafkaUnavailableError(f"cannot {what} on {self._named}: {error.args[0].str()}")

    @property
    def _named(self) -> str:
        return f"partition {self.place.partition} of {self.place.topic}"

    def next_offset(self, offset: int) -> int:
        """Return the offset of the first record that the partition has at or after `offset`.

        Raise `KafkaUnavailableError` if the broker does not answer.
        """
        topic = self.place.topic
        for message in self._read(topic, offset, 1):
            return int(message.offset() or 0)
        raise KafkaUnavailableError(f"{topic} has no record at or after offset {offset}, and one was fetched")

    def _read_cells(self) -> dict[bytes, bytes]:
        """Return the newest committed value of each key of this partition's state."""
        cells: dict[bytes, bytes] = {}
        for message in self._read(self.place.cells, OFFSET_BEGINNING, _READ_RECORDS):
            key, value = message.key() or b"", message.value()
            if value is None:
                cells.pop(key, None)
            else:
                cells[key] = value
        return cells

    def _read(self, topic: str, offset: int, at_once: int) -> Iterator[KafkaMessage]:
        """Yield the committed records of this partition of `topic` from `offset`, or from its oldest, to its end."""
        # The group is never used; the client wants a name.
        config = consumer_config(self._settings, f"reader-{self.place.partition}", "worker-log-reader")
        consumer = Consumer({**config, "fetch.wait.max.ms": 10, "queued.min.messages": 100_000})
        quiet = 0
        try:
            consumer.assign([TopicPartition(topic, self.place.partition, offset)])
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
