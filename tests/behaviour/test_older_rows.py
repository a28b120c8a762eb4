"""A database that an earlier version of the program has filled."""

from __future__ import annotations

from unit.warehouse.rows import DAY, bar, coverage, liquidation, store

from pipeline.codec import Codec, frame_body
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import MIGRATIONS, migrate


def rows(client, columns, view):
    return client.query(f"SELECT {columns} FROM liquidations.{view} ORDER BY ALL").result_rows  # noqa: S608 - names of our own


def test_rows_from_before_the_newer_migrations_are_still_shown(tmp_path):
    """What the first nine migrations and schemas of version 1 wrote, read through today's views."""
    codec = Codec()
    first = tmp_path / "first"
    first.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:9]:
        (first / path.name).write_bytes(path.read_bytes())
    client = connect(f"chdb://{tmp_path}/data")
    migrate(client, first)
    received = liquidation(2, exchange="bitmex", event_time_kind="received", event_time=DAY, received_time=DAY * 1_000)
    old = [
        frame_body(codec.ids[key], codec.body_of(record, codec.schemas[key]))
        for key, record in (
            ("liquidation.v1", liquidation(1)),
            ("liquidation.v1", received),
            ("coverage.v1", coverage()),
            ("bar.v1", bar()),
        )
    ]
    assert store(client, codec, old) == []

    migrate(client)
    store(client, codec, old)

    assert rows(client, "exchange, position_proved", "events") == [("binance", True), ("bitmex", True)]
    assert rows(client, "alive_ms", "coverage") == [(60_000,)]
    assert rows(client, "exchange, long_count, coverage", "bars_filled") == [("binance", 1, 1.0), ("bitmex", None, 0.0)]
    client.close()
