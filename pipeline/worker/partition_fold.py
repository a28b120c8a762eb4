"""What is done with the records of one partition, whatever Kafka does meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class LogRecord(Protocol):
    """One fetched record: its offset, when the broker appended it (ms), its value."""

    @property
    def offset(self) -> int:
        """Return the offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Return the append time in milliseconds since 1970."""

    @property
    def value(self) -> bytes | None:
        """Return the framed record, or None for a tombstone."""


class Fetched(NamedTuple):
    """The records of one fetched batch, and where it begins.

    From offset `begin` up to its last record the batch has all that its partition has for us to read. `begin` lies
    before the first record where there is none in between, as with the markers of transactions.
    """

    records: Sequence[LogRecord]
    begin: int


class Output(NamedTuple):
    """A record to publish: topic, partition of it, key, value."""

    topic: str
    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """What one transaction writes: outputs, and the cells of the state that make them final (None deletes one).

    `outputs` are encoded while they are asked for, which is done away from the event loop.
    """

    outputs: Iterable[Output]
    cells: Sequence[tuple[bytes, bytes | None]]


class PartitionFold(Protocol):
    """State, and how records change it: `restore` comes first, in a thread; the rest runs on the event loop."""

    def restore(self, cells: Mapping[bytes, bytes]) -> Mapping[str, object]:
        """Begin from the newest committed cells; return what is worth a log line."""

    def missing_before(self, fetched: Fetched) -> int | None:
        """Return the offset from which records before this batch were not folded, None if none is missing."""

    def fold(self, records: Sequence[LogRecord]) -> None:
        """Fold one fetched batch; records that are folded already change nothing."""

    def take(self) -> Taken:
        """Return what changed since the last call."""
