"""Records as bytes on a topic, and back.

On the wire: a zero byte, the schema id in four bytes (big endian), the Avro body: the framing that Confluent's tools
read. Which id stands for which schema comes from `schemas/ids.json`, or from a schema registry (`pipeline.registry`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from operator import attrgetter
from typing import Any, cast

import fastavro

from pipeline import records
from pipeline.locations import SCHEMAS
from pipeline.records import Record, RefusedError

RECORD_TYPES: Mapping[str, type[Record]] = {
    "frame": records.Frame,
    "liquidation": records.Liquidation,
    "candle": records.Candle,
    "market_metric": records.MarketMetric,
    "heartbeat": records.Heartbeat,
    "subscription": records.Subscription,
    "bar": records.Bar,
    "coverage": records.Coverage,
    "silence": records.Silence,
    "tally": records.Tally,
    "anomaly": records.Anomaly,
    "cascade": records.Cascade,
    "pulse": records.Pulse,
    "market_delay": records.MarketDelay,
    "dead_letter": records.DeadLetter,
    "instrument": records.Instrument,
}

# Fields that are lists of records.
_LISTS: Mapping[str, type[records.PulseSum | records.PulseChannel | records.PulseLargest]] = {
    "sums": records.PulseSum,
    "channels": records.PulseChannel,
    "largest": records.PulseLargest,
}

_HEADER = struct.Struct(">BI")
HEADER_BYTES = _HEADER.size

# Any 16 bytes will do to end an Avro block; a constant keeps the bytes a function of the records.
_SYNC_MARKER = b"liquidations/v1\n"


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one record's schema.

    `document` is the file's JSON, for readers that know times; `parsed` is the same as fastavro wants it, without
    logical types, so that times are read as integers; `plain_document` has no defaults either, which matter only to who
    reads an older version: polars refuses a schema with any other default than null.
    """

    name: str
    version: int
    document: dict[str, Any]
    plain_document: dict[str, Any]
    parsed: dict[str, Any]

    @property
    def key(self) -> str:
        """Return `name.vN`, as in the file name and in `ids.json`."""
        return f"{self.name}.v{self.version}"


def load_schemas() -> dict[str, Schema]:
    """Read every `schemas/NAME.vN.avsc`, by `NAME.vN`."""
    loaded = {}
    for path in sorted(SCHEMAS.glob("*.v*.avsc")):
        name, _, version = path.stem.rpartition(".v")
        document = json.loads(path.read_text())
        parsed = cast("dict[str, Any]", fastavro.parse_schema(_without(document, {"logicalType"})))
        plain = _without(document, {"logicalType", "default"})
        loaded[path.stem] = Schema(name, int(version), document, plain, parsed)
    return loaded


def file_ids() -> dict[str, int]:
    """Return the fixed schema ids that are kept with the schemas, by `NAME.vN`."""
    return cast("dict[str, int]", json.loads((SCHEMAS / "ids.json").read_text()))


def frame_body(schema_id: int, body: bytes) -> bytes:
    """Return `body` with the header that names its schema."""
    return _HEADER.pack(0, schema_id) + body


def schema_id_of(value: bytes) -> int:
    """Return the schema id that a framed value names, or raise `RefusedError`."""
    if len(value) < HEADER_BYTES:
        raise RefusedError("truncated_record", f"{len(value)} bytes are too few for a framed record")
    magic, schema_id = _HEADER.unpack_from(value)
    if magic != 0:
        raise RefusedError("not_framed", f"first byte is {magic}, not 0")
    return cast("int", schema_id)


class Codec:
    """Encode records with the newest version of their schema, decode any known version.

    `ids` gives the id of each `NAME.vN`; by default those in `schemas/ids.json`.
    """

    def __init__(self, ids: Mapping[str, int] | None = None) -> None:
        self.schemas = load_schemas()
        self.ids = dict(ids if ids is not None else file_ids())
        missing = self.schemas.keys() - self.ids.keys()
        if missing:
            raise LookupError(f"no schema id for {', '.join(sorted(missing))}")
        self.by_id: dict[int, Schema] = {self.ids[key]: schema for key, schema in self.schemas.items()}
        newest = {schema.name: schema for schema in sorted(self.schemas.values(), key=lambda s: s.version)}
        self._newest = newest
        self._encoders = {RECORD_TYPES[name]: self._encoder(schema) for name, schema in newest.items()}
        self._headers = {name: _HEADER.pack(0, self.ids[schema.key]) for name, schema in newest.items()}

    def newest_version(self, name: str) -> int:
        """Return the version with which records of type `name` are written."""
        return self._newest[name].version

    def encode(self, record: Record) -> bytes:
        """Return the framed bytes of `record`."""
        return self._encoders[type(record)](record)

    def encode_fields(self, name: str, values: Mapping[str, object]) -> bytes:
        """Return the framed bytes of a record of type `name` given as field values."""
        buffer = BytesIO()
        buffer.write(self._headers[name])
        fastavro.schemaless_writer(buffer, self._newest[name].parsed, values)
        return buffer.getvalue()

    def body_of(self, record: Record, schema: Schema) -> bytes:
        """Return the body of `record` in any version of its schema; what an old version lacks is left out."""
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, schema.parsed, _with_plain_parts(record_fields(record)))
        return buffer.getvalue()

    def decode(self, value: bytes) -> Record:
        """Return the record in `value`, or raise `RefusedError` with what is wrong with it."""
        schema = self.by_id.get(schema_id_of(value))
        if schema is None:
            raise RefusedError("unknown_schema", f"schema id {schema_id_of(value)} is not one of ours")
        buffer = BytesIO(value)
        buffer.seek(HEADER_BYTES)
        try:
            found = fastavro.schemaless_reader(buffer, schema.parsed, self._newest[schema.name].parsed)
        except (EOFError, IndexError, OverflowError, TypeError, ValueError, struct.error) as error:
            raise RefusedError("truncated_record", f"not a {schema.key}: {error!r}") from error
        if buffer.tell() != len(value):
            raise RefusedError("overlong_record", f"{len(value) - buffer.tell()} bytes behind a {schema.key}")
        return _record(RECORD_TYPES[schema.name], cast("dict[str, Any]", found))

    def _encoder(self, schema: Schema) -> Callable[[Record], bytes]:
        name, record_type = schema.name, RECORD_TYPES[schema.name]
        names = [field.name for field in fields(record_type)]
        values = attrgetter(*names)
        has_parts = not {"source", *_LISTS}.isdisjoint(names)

        def encode(record: Record) -> bytes:
            row = dict(zip(names, values(record), strict=True))
            return self.encode_fields(name, _with_plain_parts(row) if has_parts else row)

        return encode


def record_fields(record: object) -> dict[str, Any]:
    """Return a record's fields by name, one level deep."""
    return {field.name: getattr(record, field.name) for field in fields(cast("Any", record))}


def _with_plain_parts(row: dict[str, Any]) -> dict[str, Any]:
    """Return a record's fields with the records among them as mappings too; `row` itself is changed."""
    if "source" in row:
        row["source"] = record_fields(row["source"])
    for name in _LISTS.keys() & row.keys():
        if row[name] is not None:
            row[name] = [one._asdict() for one in row[name]]
    return row


def container(schema: Mapping[str, Any], bodies: Sequence[bytes]) -> bytes:
    """Return one Avro object container with one block that holds `bodies`, which must all be of `schema`.

    The bodies are joined, not read: a body that is cut short shows only when somebody reads the block.
    """
    block = b"".join(bodies)
    return b"".join((_container_head(schema), _long(len(bodies)), _long(len(block)), block, _SYNC_MARKER))


def _container_head(schema: Mapping[str, Any]) -> bytes:
    # The head of a schema is asked for with every block; dumping the schema again would cost more than the rest.
    key = id(schema)
    kept = _HEADS.get(key)
    if kept is not None and kept[0] is schema:
        return kept[1]
    buffer = BytesIO()
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    fastavro.writer(buffer, parsed, [], sync_marker=_SYNC_MARKER)
    _HEADS[key] = (schema, buffer.getvalue())
    return buffer.getvalue()


_HEADS: dict[int, tuple[Mapping[str, Any], bytes]] = {}


def _long(number: int) -> bytes:
    """Return a count as Avro writes it: zigzag, seven bits a byte, low bits first."""
    rest = number << 1
    written = bytearray()
    while rest > 0x7F:  # noqa: PLR2004 - seven bits
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def _record(record_type: type[Record], values: dict[str, Any]) -> Record:
    if "source" in values:
        values["source"] = records.Source(**values["source"])
    for name, part in _LISTS.items():
        if values.get(name) is not None:
            values[name] = [part(**one) for one in values[name]]
    return record_type(**values)


def _without(node: object, left_out: Collection[str]) -> Any:  # noqa: ANN401 - a JSON document
    if isinstance(node, dict):
        return {key: _without(value, left_out) for key, value in node.items() if key not in left_out}
    if isinstance(node, list):
        return [_without(item, left_out) for item in node]
    return node
