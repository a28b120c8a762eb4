"""Rows per second into the embedded ClickHouse: the sink's way against decoding in Python and inserting columns.

Both write the same records into the same migrated table, in blocks of the same size, in turns. The clock covers what
lies between a list of consumed messages and the acknowledged insert: no Kafka on either side.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import median
from typing import Any

import fastavro
from clickhouse_connect.driver.client import Client
from market import build_log
from places import BenchError

from pipeline.codec import HEADER_BYTES, Codec
from pipeline.settings import Settings
from pipeline.warehouse.client import connect
from pipeline.warehouse.grouping import group, targets
from pipeline.warehouse.inserting import INSERT_SETTINGS, insert_block
from pipeline.warehouse.migrate import migrate

NAMES = ("sink_vs_decode_and_insert", "sink_rows_per_s")
_TABLE = "liquidations_data.events"


@dataclass(frozen=True, slots=True)
class Record:
    """The part of a consumed message that the sink's grouping and inserting read."""

    body: bytes

    def value(self) -> bytes:
        """Return the framed record."""
        return self.body


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Insert the same liquidations both ways, `repeats` times; the first round warms up and is not counted."""
    values = [record.value for record in build_log(records).main if record.key is not None]
    rows = Settings().insert_rows
    blocks = [[Record(value) for value in values[i : i + rows]] for i in range(0, len(values), rows)]
    codec = Codec()
    folder = tempfile.mkdtemp(prefix="bench-sink-")
    client = connect(f"chdb://{folder}")
    try:
        migrate(client)
        passing, decoding = [], []
        for number in range(repeats + 1):
            rate_through, sum_through = _timed(client, len(values), lambda: _pass_through(client, codec, blocks))
            rate_decoded, sum_decoded = _timed(client, len(values), lambda: _decode_and_insert(client, codec, blocks))
            if sum_through != sum_decoded:
                raise BenchError("the two ways of inserting do not give the same rows")
            if number:
                passing.append(rate_through)
                decoding.append(rate_decoded)
                print(f"    sink {rate_through:,.0f} rows/s, decode and insert {rate_decoded:,.0f} rows/s", flush=True)  # noqa: T201
    finally:
        client.close()
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [through / decoded for through, decoded in zip(passing, decoding, strict=True)]
    how = {"rows_per_s": [round(r) for r in passing], "decode_and_insert_rows_per_s": [round(r) for r in decoding]}
    return {"sink_vs_decode_and_insert": median(ratios), "sink_rows_per_s": median(passing)}, {"sink": how}


def _timed(client: Client, rows: int, insert: Callable[[], None]) -> tuple[float, Any]:
    """Return rows per second of one way, and a checksum of what it stored."""
    client.command(f"TRUNCATE TABLE {_TABLE}")
    start = time.perf_counter()
    insert()
    seconds = time.perf_counter() - start
    stored = client.query(f"SELECT count(), sum(cityHash64(*)) FROM {_TABLE} FINAL").result_rows[0]  # noqa: S608 - a constant
    if stored[0] != rows:
        raise BenchError(f"{stored[0]} of {rows} rows were stored")
    return rows / seconds, stored


def _pass_through(client: Client, codec: Codec, blocks: Sequence[Sequence[Record]]) -> None:
    by_header = targets(codec)
    for block in blocks:
        for grouped in group(block, by_header).blocks:
            insert_block(client, grouped)


def _decode_and_insert(client: Client, codec: Codec, blocks: Sequence[Sequence[Record]]) -> None:
    """Do what most sinks do, and well: fastavro with a parsed schema, whole columns, large blocks."""
    document = codec.schemas["liquidation.v1"].document
    schema = fastavro.parse_schema(document)
    names = [field["name"] for field in document["fields"]]
    read = fastavro.schemaless_reader
    for block in blocks:
        rows = []
        for record in block:
            body = BytesIO(record.body)
            body.seek(HEADER_BYTES)
            rows.append(read(body, schema))
        columns = [[row[name] for row in rows] for name in names]
        client.insert(_TABLE, columns, column_names=names, column_oriented=True, settings=INSERT_SETTINGS)
