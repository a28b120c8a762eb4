"""Two databases: what differs is found and shown, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from unit.warehouse.rows import (
    DAY,
    MINUTE,
    Kept,
    anomaly,
    bar,
    candle,
    cascade,
    coverage,
    dead_letter,
    heartbeat,
    liquidation,
    live,
    metric,
    silence,
    subscription,
    tally,
)

from pipeline.codec import Codec
from pipeline.records import Record
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.compare import Span, compare
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.grouping import group, targets
from pipeline.warehouse.inserting import insert_block
from pipeline.warehouse.migrate import migrate

A, B = Databases("first"), Databases("second")
ROWS = [
    *(liquidation(number, source=live("tokyo", number)) for number in range(50)),
    liquidation(60, event_time_kind="received", source=live("tokyo", 60)),
    *(bar(DAY + number * MINUTE, revision=7) for number in range(20)),
    *(coverage(DAY + number * MINUTE) for number in range(20)),
    coverage(DAY, symbol="BTCUSDT"),
    tally(),
    *(dead_letter(number, payload=bytes([number, 255])) for number in range(5)),
    subscription(),
    silence(),
    anomaly(),
    cascade(),
    *(heartbeat(DAY + number * 1000) for number in range(90)),
    candle(),
    metric(),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('compared')}")
    for databases in (A, B):
        migrate(client, databases=databases)
    yield client
    client.close()


@pytest.fixture
def client(engine: Client) -> Client:
    for database, table in engine.query(
        "SELECT database, name FROM system.tables WHERE database IN ('first_data', 'second_data')"
        " AND engine LIKE '%MergeTree' AND name != 'migrations'"
    ).result_rows:
        engine.command(f"TRUNCATE TABLE {database}.{table}")
    store(engine, A, ROWS)
    return engine


def store(client: Client, databases: Databases, records: Iterable[Record]) -> None:
    codec = Codec()
    messages = [Kept(codec.encode(record), at) for at, record in enumerate(records)]
    for block in group(messages, targets(codec, databases.tables)).blocks:
        insert_block(client, block)


def counts(comparison):
    return {
        table.table: (table.only_a, table.only_b, table.different, table.equal)
        for table in comparison.tables
        if not table.is_equal
    }


def test_the_same_rows_in_any_order_and_as_often_as_one_likes_are_equal(client):
    store(client, B, reversed(ROWS))
    store(client, B, ROWS[10:])
    store(client, B, [replace(row, revision=3, long_micros=1) for row in ROWS if hasattr(row, "largest_micros")])
    comparison = compare(client, A, B)
    assert comparison.is_equal
    assert comparison.left_out == ()
    equal = {table.table: table.equal for table in comparison.tables}
    assert equal["events"] + equal["received_events"] == 51
    assert equal["bars"] == 20
    assert equal["heartbeats"] == 2
    assert all(equal.values()), equal
    assert all(table.first == () for table in comparison.tables)


@pytest.mark.parametrize(
    ("column", "changed"),
    [("long_micros", 1), ("revision", 9), ("late_count", 5), ("price_high", math.nextafter(98_010.0, 0))],
)
def test_one_changed_number_of_a_bar_is_found_and_shown(client, column, changed):
    place = next(at for at, row in enumerate(ROWS) if row == bar(DAY + 3 * MINUTE, revision=7))
    store(client, B, [*ROWS[:place], replace(ROWS[place], **{column: changed}), *ROWS[place + 1 :]])
    comparison = compare(client, A, B)
    assert not comparison.is_equal
    assert counts(comparison) == {"bars": (0, 0, 1, 19)}
    (row,) = next(table.first for table in comparison.tables if table.table == "bars")
    assert row.key["start"] == "2024-12-05 00:03:00.000"
    assert list(row.values) == [column]
    in_a, in_b = row.values[column]
    assert (float(in_a), float(in_b)) == (getattr(ROWS[place], column), changed)


def test_money_is_compared_to_the_last_micro_dollar(client):
    large = 9_007_199_254_740_993  # no double holds it
    store(client, A, [liquidation(70, notional_micros=large)])
    store(client, B, [*ROWS, liquidation(70, notional_micros=large - 1)])
    comparison = compare(client, A, B)
    assert counts(comparison) == {"events": (0, 0, 1, 50)}
    (row,) = next(table.first for table in comparison.tables if table.table == "events")
    assert row.values == {"notional_micros": (str(large), str(large - 1))}
    assert row.key["event_id"] == liquidation(70).event_id.hex().upper()


def test_null_and_nothing_are_told_apart(client):
    store(client, A, [liquidation(70, order_price=None)])
    store(client, B, [*ROWS, liquidation(70, order_price=0.0)])
    comparison = compare(client, A, B)
    (row,) = next(table.first for table in comparison.tables if table.table == "events")
    assert row.values == {"order_price": ("NULL", "0")}


def test_rows_of_one_side_only(client):
    store(client, B, [*ROWS[5:], liquidation(80), subscription(DAY + 5, state="down")])
    comparison = compare(client, A, B, show=2)
    found = counts(comparison)
    assert found["events"] == (5, 1, 0, 45)
    assert found["subscriptions"] == (0, 1, 0, 1)
    events = next(table for table in comparison.tables if table.table == "events")
    assert len(events.first) == 2
    assert all(in_b is None for row in events.first for _, in_b in row.values.values())
    assert events.first[0].values["notional_micros"] == (str(liquidation(0).notional_micros), None)


def test_a_heartbeat_that_is_missing_is_found(client):
    store(client, B, [row for row in ROWS if row != heartbeat(DAY + 30_000)])
    assert counts(compare(client, A, B)) == {"heartbeats": (0, 0, 1, 1)}


def test_a_span_leaves_the_rest_out(client):
    store(client, B, [row for row in ROWS if row not in (bar(DAY, revision=7), ROWS[49])])
    assert set(counts(compare(client, A, B))) >= {"bars", "events"}
    begin = datetime.fromtimestamp(DAY / 1000, UTC).replace(tzinfo=None)
    comparison = compare(client, A, B, Span(begin.replace(minute=1), None))
    assert counts(comparison) == {}
    assert "symbols" in comparison.left_out
    assert next(table for table in comparison.tables if table.table == "bars").equal == 19
    assert "bars" in counts(compare(client, A, B, Span(begin, begin.replace(minute=1))))
    assert "events" not in counts(compare(client, A, B, Span(begin, begin.replace(second=49))))
    assert "events" in counts(compare(client, A, B, Span(begin, begin.replace(second=50))))


def test_nothing_to_compare_with(client):
    with pytest.raises(WarehouseError, match="there is no database third"):
        compare(client, A, Databases("third"))


def test_an_older_version_is_refused(client):
    old = Databases("older")
    migrate(client, databases=old)
    client.command("ALTER TABLE older_data.migrations DELETE WHERE version > 9 SETTINGS mutations_sync = 2")
    with pytest.raises(WarehouseError, match="older has tables of an older version"):
        compare(client, A, old)
