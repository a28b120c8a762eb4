"""A database of its own for rows that are asked about and thrown away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.codec import Codec
from pipeline.records import Record
from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.grouping import group, targets
from pipeline.warehouse.inserting import insert_block
from pipeline.warehouse.migrate import migrate


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A record as the sink would get it from the broker."""

    body: bytes

    def topic(self) -> str:
        return ""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 0, 0

    def value(self) -> bytes:
        return self.body


class Scratch:
    """Tables and views under another name, with the usual meaning."""

    def __init__(self, client: Client, databases: Databases, codec: Codec) -> None:
        self.databases = databases
        self._client = client
        self._codec = codec
        self._targets = targets(codec, databases.tables)

    def insert(self, records: Iterable[Record]) -> None:
        """Insert records, the way the sink does."""
        grouped = group([_Encoded(self._codec.encode(record)) for record in records], self._targets)
        for block in grouped.blocks:
            insert_block(self._client, block)


@contextmanager
def scratch_database(client: Client, databases: Databases, codec: Codec, *, keep: bool) -> Iterator[Scratch]:
    """Yield empty tables; afterwards drop them, unless they are to be kept and all went well.

    What an earlier one of the same name left is dropped first. Raises `WarehouseError` if ClickHouse refuses.
    """
    _drop(client, databases)
    kept = False
    try:
        migrate(client, databases=databases)
        yield Scratch(client, databases, codec)
        kept = keep
    finally:
        if not kept:
            _drop(client, databases)


def _drop(client: Client, databases: Databases) -> None:
    try:
        # The views first: they read the tables.
        for name in (databases.views, databases.tables):
            client.command("DROP DATABASE IF EXISTS {name:Identifier}", parameters={"name": name})
    except ClickHouseError as error:
        raise WarehouseError(f"cannot drop the database {databases.name}: {short_message(error)}") from error
