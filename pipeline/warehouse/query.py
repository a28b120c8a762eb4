"""One query of a user: read only, in any output format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.warehouse.client import WarehouseError, connect, error_code, short_message

DEFAULT_FORMAT = "PrettyCompactNoEscapes"

_FORMAT_IN_QUERY = re.compile(r"\bFORMAT\s+(\w+)$", re.IGNORECASE)
_UNKNOWN_FORMAT = 73
_READONLY = 164


def run_query(client: Client, sql: str, output_format: str = DEFAULT_FORMAT) -> bytes:
    """Return the answer to `sql` in one of ClickHouse's output formats; a `FORMAT` at the query's end wins.

    Tables without a database are those of `liquidations`. Nothing can be changed. Raises `WarehouseError` with one line
    for a wrong query, an unknown format or an answer that does not come.
    """
    statement = sql.strip().rstrip(";").rstrip()
    named = _FORMAT_IN_QUERY.search(statement)
    if named is not None:
        statement, output_format = statement[: named.start()].rstrip(), named[1]
    if not statement:
        raise WarehouseError("the query is empty")
    try:
        with _reader(client) as reader:
            # 2, not 1: a query may bring settings of its own, such as join_use_nulls.
            return reader.raw_query(statement, fmt=output_format, settings={"readonly": 2})
    except ClickHouseError as error:
        code = error_code(error)
        if code == _UNKNOWN_FORMAT:
            raise WarehouseError(f"ClickHouse has no output format {output_format}") from error
        if code == _READONLY:
            raise WarehouseError("this command only reads; it changes neither data nor definitions") from error
        if code is None:
            raise WarehouseError(f"ClickHouse does not answer: {short_message(error)}") from error
        raise WarehouseError(f"wrong query: {short_message(error)}") from error


@contextmanager
def _reader(client: Client) -> Iterator[Client]:
    """Yield a client in the database `liquidations` that may be made read only.

    The embedded engine keeps `readonly` for the rest of a connection, so it gets a connection of its own.
    """
    path = getattr(client, "path", None)
    if path is None:
        client.database = "liquidations"
        yield client
        return
    reader = connect(f"chdb://{path}")
    try:
        reader.database = "liquidations"
        yield reader
    finally:
        reader.close()
