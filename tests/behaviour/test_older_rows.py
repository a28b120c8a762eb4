"""A database that an earlier version of the program has filled."""

from __future__ import annotations

import itertools

from unit.warehouse.rows import DAY, bar, coverage, liquidation, live, store

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


def test_who_saw_events_is_known_after_sightings_became_sets(tmp_path):
    """What an earlier version wrote, one row for each event and collector, is one row for each event."""
    codec = Codec()
    first = tmp_path / "first"
    first.mkdir()
    for path in itertools.takewhile(lambda path: "seen_events" not in path.name, sorted(MIGRATIONS.glob("*.sql"))):
        (first / path.name).write_bytes(path.read_bytes())
    client = connect(f"chdb://{tmp_path}/data")
    migrate(client, first)
    seen = [liquidation(number, source=live(name, number)) for number in range(3) for name in ("tokyo", "paris")][1:]
    store(client, codec, seen)
    columns = "event_time, collectors"
    old = rows(client, columns, "sightings"), rows(client, "* EXCEPT collectors", "collectors_1m")

    migrate(client)
    new = rows(client, columns, "sightings"), rows(client, "* EXCEPT collectors", "collectors_1m")
    store(client, codec, seen[::-1])
    client.command("TRUNCATE TABLE liquidations_data.migrations")
    migrate(client)

    assert [names for _, names in new[0]] == [["paris"], ["paris", "tokyo"], ["paris", "tokyo"]]
    assert new == old
    assert (rows(client, columns, "sightings"), rows(client, "* EXCEPT collectors", "collectors_1m")) == old
    client.close()
