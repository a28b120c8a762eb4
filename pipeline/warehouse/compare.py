"""`liquidations compare`: where two sets of tables differ, row by row.

Rows are those that count (`FINAL`), with what is stored of them: money in whole micro-dollars, revisions too. A row is
known by its table's sorting key, and two of one key are equal when a 128-bit hash over all their columns is; what
differs is then read itself. ClickHouse does all of it, so tables may be larger than memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.migrate import read_migrations, status

# Which column is a row's time, in this order; a table with none of them is compared whole or, for a span, not at all.
_TIMES = ("event_time", "start", "started", "time", "began", "begin", "received_time")
# How a database came to be, not what it holds.
_OF_ONE_RUN = ["migrations", "market_delays", "arrivals"]
_SETTINGS = {"max_bytes_before_external_group_by": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Span:
    """Rows from `begin` to before `end`, times in UTC; None: without a bound."""

    begin: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One row that is not the same: its key, and by column what A and what B hold, as texts; None: no such row.

    Of a row that both have, `values` are the columns that differ.
    """

    key: dict[str, str]
    values: dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One table: rows only in A, only in B, in both but different, and equal; and the first of those that differ."""

    table: str
    only_a: int
    only_b: int
    different: int
    equal: int
    first: tuple[RowDifference, ...]

    @property
    def is_equal(self) -> bool:
        """Tell whether both hold the same rows."""
        return not (self.only_a or self.only_b or self.different)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tables, and the names of those that a span does not apply to and that were left out for it."""

    tables: tuple[TableDifference, ...]
    left_out: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Tell whether nothing differs."""
        return all(table.is_equal for table in self.tables)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    key: str
    key_columns: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # name, type
    time: str | None


def compare(client: Client, a: Databases, b: Databases, span: Span = Span(), show: int = 5) -> Comparison:
    """Compare the tables of `a` and `b` and show the first `show` rows of each table that differ.

    Raises `WarehouseError` if one of them lacks tables or was made by another version, or if ClickHouse refuses.
    """
    try:
        for databases in (a, b):
            _refuse_unfinished(client, databases)
        tables = _tables(client, a)
        with_span = span != Span()
        compared = [table for table in tables if table.time is not None or not with_span]
        found = tuple(_compare(client, table, a, b, span, show) for table in compared)
    except ClickHouseError as error:
        raise WarehouseError(f"cannot compare {a.name} and {b.name}: {short_message(error)}") from error
    return Comparison(found, tuple(table.name for table in tables if table not in compared))


def _refuse_unfinished(client: Client, databases: Databases) -> None:
    state = status(client, databases=databases)
    if not state.applied:
        raise WarehouseError(f"there is no database {databases.name}")
    if state.pending:
        raise WarehouseError(
            f"{databases.name} has tables of an older version ({len(state.applied)} of {len(read_migrations())}"
            f" migrations): run `liquidations migrate --database {databases.name}`"
        )


def _tables(client: Client, databases: Databases) -> list[_Table]:
    keys = client.query(
        "SELECT name, sorting_key FROM system.tables WHERE database = {tables:String}"
        " AND engine LIKE '%MergeTree' AND name NOT IN {left_out:Array(String)} ORDER BY name",
        parameters={"tables": databases.tables, "left_out": _OF_ONE_RUN},
    ).result_rows
    found = []
    for name, key in keys:
        columns = tuple(
            (column, kind)
            for column, kind in client.query(
                "SELECT name, type FROM system.columns WHERE database = {tables:String} AND table = {name:String}"
                " AND default_kind IN ('', 'DEFAULT') ORDER BY position",
                parameters={"tables": databases.tables, "name": name},
            ).result_rows
        )
        names = {column for column, _ in columns}
        key_columns = tuple(dict.fromkeys(word for word in re.findall(r"\w+", key) if word in names))
        found.append(_Table(name, key, key_columns, columns, next((time for time in _TIMES if time in names), None)))
    return found


def _compare(client: Client, table: _Table, a: Databases, b: Databases, span: Span, show: int) -> TableDifference:
    contents = ", ".join(_exact(name, kind) for name, kind in table.columns)
    where, bounds = _where(table, span)
    by_key = f"""
        SELECT row_key, countIf(side = 0) AS in_a, countIf(side = 1) AS in_b,
            sumIf(content, side = 0) = sumIf(content, side = 1) AS is_same
        FROM
        (
            SELECT 0 AS side, ({table.key},) AS row_key, reinterpretAsUInt128(sipHash128({contents})) AS content
            FROM {a.tables}.{table.name} FINAL {where}
            UNION ALL
            SELECT 1 AS side, ({table.key},) AS row_key, reinterpretAsUInt128(sipHash128({contents})) AS content
            FROM {b.tables}.{table.name} FINAL {where}
        )
        GROUP BY row_key"""  # noqa: S608 - names from our own migrations and a checked name
    counted = client.query(
        "SELECT countIf(in_b = 0), countIf(in_a = 0), countIf(in_a > 0 AND in_b > 0 AND NOT (is_same AND in_a = in_b)),"  # noqa: S608
        f" countIf(in_a > 0 AND in_b > 0 AND is_same AND in_a = in_b) FROM ({by_key})",
        parameters=bounds,
        settings=_SETTINGS,
    ).result_rows[0]
    only_a, only_b, different, equal = map(int, counted)
    first: tuple[RowDifference, ...] = ()
    if show and (only_a or only_b or different):
        rows = client.query(
            f"SELECT hex(toString(row_key)) FROM ({by_key}) WHERE NOT (is_same AND in_a = in_b)"  # noqa: S608
            f" ORDER BY row_key LIMIT {int(show)}",
            parameters=bounds,
            settings=_SETTINGS,
        ).result_rows
        first = tuple(_read(client, table, a, b, [key for (key,) in rows], where, bounds))
    return TableDifference(table.name, only_a, only_b, different, equal, first)


def _read(
    client: Client,
    table: _Table,
    a: Databases,
    b: Databases,
    keys: Sequence[str],
    where: str,
    bounds: dict[str, Any],
) -> list[RowDifference]:
    """Return what both hold under these keys."""
    texts = ", ".join(_text(name, kind) for name, kind in table.columns)
    condition = f"{where or 'WHERE 1'} AND hex(toString(({table.key},))) IN {{row_keys:Array(String)}}"
    sides: list[dict[str, list[str]]] = []
    for databases in (a, b):
        rows = client.query(
            f"SELECT hex(toString(({table.key},))), [{texts}] FROM {databases.tables}.{table.name} FINAL {condition}",  # noqa: S608
            parameters={**bounds, "row_keys": list(keys)},
        ).result_rows
        sides.append({key: list(values) for key, values in rows})
    names = [name for name, _ in table.columns]
    found = []
    for key in keys:
        in_a, in_b = sides[0].get(key), sides[1].get(key)
        values = {
            name: (in_a[at] if in_a else None, in_b[at] if in_b else None)
            for at, name in enumerate(names)
            if in_a is None or in_b is None or in_a[at] != in_b[at]
        }
        row = in_a or in_b or []
        found.append(RowDifference({name: row[names.index(name)] for name in table.key_columns}, values))
    return found


def _where(table: _Table, span: Span) -> tuple[str, dict[str, Any]]:
    conditions, bounds = [], {}
    for name, operator, bound in (("begin", ">=", span.begin), ("end", "<", span.end)):
        if bound is not None:
            conditions.append(f"{table.time} {operator} {{{name}:DateTime64(6, 'UTC')}}")
            bounds[name] = f"{bound:%Y-%m-%d %H:%M:%S.%f}"
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), bounds


def _exact(name: str, kind: str) -> str:
    """Return what of a column goes into the hash: all of it, and whether it is NULL, which a hash passes over."""
    if "Nullable" in kind:
        return f"isNull(`{name}`), ifNull(toString(`{name}`), '')"
    return f"toString(`{name}`)" if kind.startswith(("Map", "SimpleAggregateFunction")) else f"`{name}`"


def _text(name: str, kind: str) -> str:
    if kind.startswith("FixedString"):
        return f"hex(`{name}`)"
    if kind.startswith("Array(FixedString"):
        return f"toString(arrayMap(hex, `{name}`))"
    return f"ifNull(toString(`{name}`), 'NULL')"
