"""What the sink does with records before it touches a database: sort them by table, without reading them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pipeline.codec import HEADER_BYTES, Codec, container, frame_body, schema_id_of
from pipeline.records import RefusedError
from pipeline.warehouse.databases import Databases

DATABASE = Databases().tables
TABLES: Mapping[str, str] = {
    "liquidation": "events",
    "candle": "candles",
    "market_metric": "metrics",
    "bar": "bars",
    "coverage": "coverage",
    "tally": "tallies",
    "heartbeat": "heartbeats",
    "subscription": "subscriptions",
    "silence": "silences",
    "anomaly": "anomalies",
    "cascade": "cascades",
    "market_delay": "market_delays",
    "dead_letter": "dead_letters",
}
# Records that no table is for.
WITHOUT_TABLE = frozenset({"frame", "pulse"})
REVISED = frozenset({"candle", "bar", "coverage", "tally", "anomaly", "cascade", "market_delay"})
# Records that are written into every partition of their topic: those of the first one are enough.
IN_EVERY_PARTITION = frozenset({"heartbeat"})

# Written behind every body and read as a column of its own, `body_end`, which the table that takes the inserts checks.
# A body that is cut short or too long shifts what is read there, so that a block with one is refused as a whole,
# whatever its neighbours make of the rest.
BODY_END = b"body end"
_BODY_END_FIELD = {"name": "body_end", "type": {"type": "fixed", "name": "BodyEnd", "size": len(BODY_END)}}


class Message(Protocol):
    """The part of confluent-kafka's message that is needed."""

    def topic(self) -> str | None:
        """Return the topic."""

    def partition(self) -> int | None:
        """Return the partition."""

    def offset(self) -> int | None:
        """Return the offset."""

    def timestamp(self) -> tuple[int, int]:
        """Return what kind of time the record carries, and the time in milliseconds."""

    def value(self) -> bytes | None:
        """Return the record's bytes."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the records of one schema go: a table, its columns, and the schema of a body with its end.

    `is_revised` tells that one block may hold many revisions of a row, `is_everywhere` that every partition of the
    topic holds the same records.
    """

    table: str
    columns: tuple[str, ...]
    document: Mapping[str, Any]
    is_revised: bool
    is_everywhere: bool
    database: str = DATABASE

    @property
    def entrance(self) -> str:
        """Return the full name of the table that takes the inserts: it keeps nothing and passes the rows on."""
        return f"{self.database}.{self.table}_in"


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one schema, in the order of their offsets by partition."""

    target: Target
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that cannot be stored: `reason` is one short word, `message` says what exactly is wrong."""

    message: Message
    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Grouped:
    """The blocks of one flush, what no block can hold, and how many records are not stored by design."""

    blocks: tuple[Block, ...]
    refused: tuple[Refusal, ...]
    skipped: int


def targets(codec: Codec, database: str = DATABASE) -> dict[bytes, Target | None]:
    """Return, by the header of a framed record, where in `database` such records go; None: nowhere, by design."""
    found: dict[bytes, Target | None] = {}
    for schema_id, schema in codec.by_id.items():
        header = frame_body(schema_id, b"")
        if schema.name in WITHOUT_TABLE:
            found[header] = None
        elif schema.name in TABLES:
            fields = [*schema.document["fields"], _BODY_END_FIELD]
            found[header] = Target(
                table=TABLES[schema.name],
                columns=tuple(field["name"] for field in fields),
                document={**schema.document, "fields": fields},
                is_revised=schema.name in REVISED,
                is_everywhere=schema.name in IN_EVERY_PARTITION,
                database=database,
            )
    return found


def group(messages: Iterable[Message], by_header: Mapping[bytes, Target | None]) -> Grouped:
    """Sort records by the schema that their header names. Their bodies are not read."""
    sorted_messages: defaultdict[bytes, list[Message]] = defaultdict(list)
    for message in messages:
        sorted_messages[(message.value() or b"")[:HEADER_BYTES]].append(message)
    blocks: list[Block] = []
    refused: list[Refusal] = []
    skipped = 0
    for header, found in sorted_messages.items():
        if header not in by_header:
            refused.extend(_refuse(message) for message in found)
            continue
        target = by_header[header]
        stored = found
        if target is None:
            stored = []
        elif target.is_everywhere:
            stored = [message for message in found if message.partition() == 0]
        skipped += len(found) - len(stored)
        if target is not None and stored:
            blocks.append(Block(target, stored))
    return Grouped(tuple(blocks), tuple(refused), skipped)


def place_of(message: Message) -> tuple[str, int]:
    """Return topic and partition; the client leaves them out only in messages that it never delivers."""
    return cast("str", message.topic()), cast("int", message.partition())


def offset_of(message: Message) -> int:
    """Return the offset, as `place_of`."""
    return cast("int", message.offset())


def avro_container(block: Block) -> bytes:
    """Return a block as ClickHouse reads it: one Avro container, each body followed by its end."""
    bodies = [(message.value() or b"")[HEADER_BYTES:] + BODY_END for message in block.messages]
    return container(block.target.document, bodies)


def _refuse(message: Message) -> Refusal:
    try:
        schema_id = schema_id_of(message.value() or b"")
    except RefusedError as error:
        return Refusal(message, error.reason, str(error))
    return Refusal(message, "unknown_schema", f"schema id {schema_id} is not one of ours, or has no table")
