"""What rules found, counted: how often, on which days, and the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.warehouse.client import WarehouseError, short_message
from pipeline.warehouse.databases import Databases

# Money before counts and shares: the largest of a rule that judges both are meant in USD.
_LARGEST = """
    SELECT kind, scope, asset, exchange, symbol, position, measure, interval_ms, level, value, threshold, coverage,
        degraded, started, ended
    FROM {views:Identifier}.anomalies
    WHERE started >= fromUnixTimestamp64Milli({begin:Int64}) AND started < fromUnixTimestamp64Milli({end:Int64})
        AND rules_hash = {rules_hash:String}
    ORDER BY kind, scope, measure = 'usd' DESC, value DESC, started, anomaly_id
    LIMIT {limit:UInt32} BY kind, scope
"""
_BY_DAY = """
    SELECT kind, scope, toString(toDate(started)) AS day, count(), countIf(degraded)
    FROM {views:Identifier}.anomalies
    WHERE started >= fromUnixTimestamp64Milli({begin:Int64}) AND started < fromUnixTimestamp64Milli({end:Int64})
        AND rules_hash = {rules_hash:String}
    GROUP BY kind, scope, day
    ORDER BY kind, scope, day
"""
_BY_SERIES = """
    SELECT kind, scope, interval_ms, measure, position, count()
    FROM {views:Identifier}.anomalies
    WHERE started >= fromUnixTimestamp64Milli({begin:Int64}) AND started < fromUnixTimestamp64Milli({end:Int64})
        AND rules_hash = {rules_hash:String}
    GROUP BY kind, scope, interval_ms, measure, position
    ORDER BY kind, scope, interval_ms, measure DESC, position
"""


@dataclass(frozen=True, slots=True)
class FoundOnDay:
    """How often the rule of one kind found something in one scope on one UTC day (`2025-10-10`)."""

    kind: str
    scope: str
    day: str
    findings: int
    degraded: int


@dataclass(frozen=True, slots=True)
class FoundInSeries:
    """How often one of the series that a rule judges, such as the USD of longs in five minutes, found something."""

    kind: str
    scope: str
    interval_ms: int
    measure: str
    position: str
    findings: int


@dataclass(frozen=True, slots=True)
class FoundLargest:
    """One of the largest findings, with the columns of the view `anomalies`."""

    kind: str
    scope: str
    asset: str
    exchange: str
    symbol: str
    position: str
    measure: str
    interval_ms: int
    level: int
    value: float
    threshold: float
    coverage: float
    degraded: bool
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Span:
    """Findings that began from `begin` until before `end` (ms), of the rules with this hash."""

    rules_hash: str
    begin_ms: int
    end_ms: int


def found_by_day(client: Client, databases: Databases, span: Span) -> list[FoundOnDay]:
    """Return the numbers of findings, by kind, scope and day; days without any are left out."""
    return [FoundOnDay(*row) for row in _rows(client, databases, _BY_DAY, span)]


def found_by_series(client: Client, databases: Databases, span: Span) -> list[FoundInSeries]:
    """Return the numbers of findings, by kind, scope, bar, measure and position; series without any are left out."""
    return [FoundInSeries(*row) for row in _rows(client, databases, _BY_SERIES, span)]


def found_largest(client: Client, databases: Databases, span: Span, limit: int) -> list[FoundLargest]:
    """Return the `limit` largest findings of each kind and scope, the largest first."""
    return [FoundLargest(*row) for row in _rows(client, databases, _LARGEST, span, limit=limit)]


def _rows(client: Client, databases: Databases, query: str, span: Span, **more: int) -> Sequence[Sequence[Any]]:
    parameters = {
        "views": databases.views,
        "rules_hash": span.rules_hash,
        "begin": span.begin_ms,
        "end": span.end_ms,
        **more,
    }
    try:
        return client.query(query, parameters=parameters).result_rows
    except ClickHouseError as error:
        raise WarehouseError(f"cannot count what was found: {short_message(error)}") from error
