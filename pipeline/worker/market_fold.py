"""The fold of the topic of pulses, from fetched records to encoded findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.codec import Codec, record_fields
from pipeline.detect.market.market import Market, MarketCheckpoint
from pipeline.detect.rules import Rules
from pipeline.records import DeadLetter, Pulse, RefusedError, dead_letter_of_record
from pipeline.settings import Settings
from pipeline.topics import ANOMALIES, COVERAGE, DEAD_LETTERS, PULSES, topic_name
from pipeline.worker.partition_fold import Fetched, LogRecord, Output, Taken

# Findings of the market have no asset that could choose a partition.
_PARTITION = 0


class MarketFold:
    """Findings of the whole market, and how far behind it is."""

    def __init__(self, settings: Settings, codec: Codec, rules: Rules, observe: Callable[[str], None]) -> None:
        self._partitions = settings.partitions
        self._codec = codec
        self._observe = observe
        self._market = Market(rules, settings.partitions)
        self._letters: list[DeadLetter] = []
        prefix = settings.topic_prefix
        self._pulses, self._anomalies = topic_name(PULSES, prefix), topic_name(ANOMALIES, prefix)
        self._coverage, self._dead_letters = topic_name(COVERAGE, prefix), topic_name(DEAD_LETTERS, prefix)
        self._read: tuple[Sequence[LogRecord], list[Pulse], list[DeadLetter]] = ([], [], [])

    def restore(self, cells: Mapping[bytes, bytes]) -> Mapping[str, object]:
        """Begin from the newest committed cells. Raise `CheckpointError`."""
        self._market.restore(cells)
        order = self._market.order
        return {"offset": self._market.offset, "watermark": order.passed, "waiting": order.waiting}

    def missing_before(self, fetched: Fetched) -> int | None:
        """Return the offset after the last one that was folded if pulses are missing before this batch.

        Offsets alone do not tell: every transaction leaves a marker among them. What was lost on its way to us shows by
        where the batch begins; what the broker has lost, by the pulses, each of which names the one before.
        """
        expected = self._market.offset + 1
        if fetched.begin > expected:
            return expected
        pulses, _ = self._decoded(fetched.records)
        heard: set[int] = set()
        for pulse in pulses:
            if pulse.partition not in heard and self._market.order.misses_some_before(pulse):
                return expected
            heard.add(pulse.partition)
        return None

    def fold(self, records: Sequence[LogRecord]) -> None:
        """Take the pulses of a fetched batch."""
        pulses, letters = self._decoded(records)
        self._observe("decoded")
        self._market.take_pulses(pulses, max(self._market.offset, records[-1].offset))
        self._observe("folded")
        self._letters += letters

    def take(self) -> Taken:
        """Return what changed since the last call; the cell that names the covered offset comes last."""
        letters, self._letters = self._letters, []
        checkpoint = self._market.take()
        return Taken(self._outputs(checkpoint, letters), checkpoint.cells)

    def _decoded(self, records: Sequence[LogRecord]) -> tuple[list[Pulse], list[DeadLetter]]:
        """Return the pulses of a batch, and what is none. The last batch is kept: it is asked for twice."""
        if records is not self._read[0]:
            pulses, letters = [], []
            for record in [record for record in records if record.offset > self._market.offset]:
                try:
                    pulses.append(self._pulse(record.value or b""))
                except RefusedError as error:
                    letters.append(self._refused(record, error))
            self._read = records, pulses, letters
        return self._read[1:]

    def _pulse(self, value: bytes) -> Pulse:
        found = self._codec.decode(value)
        if not isinstance(found, Pulse):
            raise RefusedError("wrong_record_type", f"a {type(found).__name__} is no record of {self._pulses}")
        if not 0 <= found.partition < self._partitions:
            raise RefusedError("wrong_partition", f"{found.partition} is no partition of {self._partitions}")
        return found

    def _refused(self, record: LogRecord, error: RefusedError) -> DeadLetter:
        place = self._pulses, 0, record.offset, record.timestamp
        return dead_letter_of_record("worker", *place, record.value or b"", error.reason, str(error))

    def _outputs(self, checkpoint: MarketCheckpoint, letters: Sequence[DeadLetter]) -> Iterator[Output]:
        encode = self._codec.encode_fields
        for found in checkpoint.anomalies:
            yield Output(self._anomalies, _PARTITION, found.scope.encode(), encode("anomaly", record_fields(found)))
        if checkpoint.delay is not None:
            value = encode("market_delay", record_fields(checkpoint.delay))
            yield Output(self._coverage, _PARTITION, b"market", value)
        for letter in letters:
            yield Output(self._dead_letters, 0, letter.stage.encode(), self._codec.encode(letter))
