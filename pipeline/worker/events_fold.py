"""The fold of one partition of the event log, from fetched records to encoded outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.codec import Codec, record_fields
from pipeline.detect.engine import Engine
from pipeline.detect.rules import Rules
from pipeline.records import Anomaly, Coverage, DeadLetter, Silence, Tally
from pipeline.settings import Settings
from pipeline.topics import ANOMALIES, BARS, COVERAGE, DEAD_LETTERS, PULSES, topic_name
from pipeline.windows.checkpoint import Checkpoint, restore, take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState
from pipeline.worker.decode import Decoder
from pipeline.worker.partition_fold import Fetched, LogRecord, Output, Taken


class EventsFold:
    """Bars, coverage, silences, tallies, findings, pulses and dead letters of one partition."""

    def __init__(
        self,
        partition: int,
        settings: Settings,
        codec: Codec,
        decoder: Decoder,
        parameters: WindowParameters,
        rules: Rules,
        observe: Callable[[str], None],
    ) -> None:
        self._partition = partition
        self._codec = codec
        self._decoder = decoder
        self._parameters = parameters
        self._observe = observe
        self._state = PartitionState()
        self._engine = Engine(rules, parameters, partition)
        self._letters: list[DeadLetter] = []
        prefix = settings.topic_prefix
        self._bars, self._coverage = topic_name(BARS, prefix), topic_name(COVERAGE, prefix)
        self._pulses = topic_name(PULSES, prefix)
        self._anomalies, self._dead_letters = topic_name(ANOMALIES, prefix), topic_name(DEAD_LETTERS, prefix)

    def restore(self, cells: Mapping[bytes, bytes]) -> Mapping[str, object]:
        """Begin from the newest committed cells. Raise `CheckpointError`."""
        self._state = restore(cells, self._parameters)
        self._engine.restore(cells, self._state)
        return {
            "offset": self._state.offset,
            "watermark": self._state.watermark,
            "minutes": len(self._state.minutes),
        }

    def missing_before(self, fetched: Fetched) -> int | None:
        """Return the offset of the first record before this batch that was not folded, None if none is missing.

        Offsets tell: nobody writes events in transactions, so that there is a record at each.
        """
        expected = self._state.offset + 1
        return expected if fetched.records[0].offset > expected else None

    def fold(self, records: Sequence[LogRecord]) -> None:
        """Fold what of a fetched batch is not folded yet."""
        covered = self._state.offset
        fresh = records if records[0].offset > covered else [record for record in records if record.offset > covered]
        if fresh:
            decoded = self._decoder.decode(self._partition, fresh)
            self._observe("decoded")
            fold(self._state, decoded.batch, self._parameters, self._engine)
            self._observe("folded")
            self._letters.extend(decoded.dead_letters)

    def take(self) -> Taken:
        """Return what changed since the last call; the cell that names the covered offset comes last."""
        letters, self._letters = self._letters, []
        checkpoint = take(self._state, self._parameters, self._engine)
        return Taken(self._outputs(checkpoint, letters), checkpoint.cells)

    def _outputs(self, checkpoint: Checkpoint, letters: Sequence[DeadLetter]) -> Iterator[Output]:
        # Outputs go to the partition of the same number: the asset's records stay together, and a transaction touches
        # as few partitions as there can be.
        partition, encode = self._partition, self._codec.encode_fields
        for bar in checkpoint.bars:
            yield Output(self._bars, partition, str(bar["asset"]).encode(), encode("bar", bar))
        # Every partition hears every heartbeat, settles the same coverage and finds the same silences; one of them says
        # it. The subscriptions of a contract are heard by its own partition alone.
        said: list[tuple[str, Coverage | Silence | Tally]] = [
            *(("coverage", settled) for settled in checkpoint.coverage if partition == 0 or settled.symbol),
            *(("silence", silence) for silence in checkpoint.silences if partition == 0),
            *(("tally", tally) for tally in checkpoint.tallies),
        ]
        for name, record in said:
            yield Output(self._coverage, partition, record.exchange.encode(), encode(name, record_fields(record)))
        for found in checkpoint.found:
            # A finding of a channel is found by every partition, as the silence that it is about.
            is_of_channel = isinstance(found, Anomaly) and found.scope == "channel"
            if partition == 0 or not is_of_channel:
                yield Output(self._anomalies, partition, found.asset.encode(), self._codec.encode(found))
        for pulse in checkpoint.pulses:
            yield Output(self._pulses, 0, b"%d" % partition, self._codec.encode(pulse))
        for letter in letters:
            yield Output(self._dead_letters, 0, letter.stage.encode(), self._codec.encode(letter))
