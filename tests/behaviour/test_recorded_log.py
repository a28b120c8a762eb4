"""The events log read back from the tables, into which it was put as the sink does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.warehouse.rows import DAY, MINUTE, candle, heartbeat, liquidation, store, subscription

from pipeline.codec import Codec
from pipeline.records import Heartbeat, Source
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.recorded_log import read_log, read_span

HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    client = connect(f"chdb://{tmp_path_factory.mktemp('recorded')}/clickhouse")
    migrate(client)
    yield client
    client.close()


@pytest.fixture
def client(migrated):
    for table in ("events", "received_events", "heartbeats", "subscriptions", "candles"):
        migrated.command(f"TRUNCATE TABLE liquidations_data.{table}")
    return migrated


def read(client, begin=DAY, end=DAY + 3 * HOUR):
    return [record for part in read_log(client, Databases(), begin, end) for record in part.records]


def put(client, records):
    assert store(client, Codec(), records) == []


def test_the_log_comes_back_as_it_was_written(client):
    log = [
        subscription(DAY + 500),
        heartbeat(DAY + 1_000, frames=0),
        liquidation(1),
        replace(liquidation(2), event_time_kind="received", event_time=DAY + 1_700, position_proved=False),
        heartbeat(DAY + 2_041, frames=2),
        candle(DAY, received_time=(DAY + 61_000) * 1_000, closed=True),
        heartbeat(DAY + 61_000, frames=3),
        replace(liquidation(3), received_time=(DAY + 2 * HOUR) * 1_000),
        heartbeat(DAY + 2 * HOUR, frames=1),
    ]
    put(client, log)
    wanted = [replace(record, last_frame_time=None) if isinstance(record, Heartbeat) else record for record in log]
    assert read(client) == wanted
    assert read_span(client, Databases()) == (DAY, DAY + 2 * HOUR + 1)


def test_what_came_again_comes_back_once_as_it_first_came(client):
    first = liquidation(1)
    again = replace(first, received_time=first.received_time + 5_000_000, source=Source("forceOrder", "osaka-1", 9, 0))
    beat = heartbeat(DAY + 9_000, frames=4)
    put(client, [again, beat, subscription(DAY)])
    put(client, [first, beat, subscription(DAY)])
    found = read(client)
    assert [type(record).__name__ for record in found] == ["Subscription", "Liquidation", "Heartbeat"]
    assert found[1] == first
    assert found[2].frames == 4


def test_of_a_candle_the_last_reading_comes_back(client):
    readings = [candle(DAY, close=2.0 + n, received_time=(DAY + n * 1_000) * 1_000) for n in range(3)]
    put(client, readings)
    assert read(client) == [readings[-1]]


def test_a_channel_that_was_down_for_a_whole_minute_is_down(client):
    put(
        client,
        [
            heartbeat(DAY + 1_000, state="down"),
            heartbeat(DAY + 2_000, state="down"),
            heartbeat(DAY + MINUTE, state="down"),
            heartbeat(DAY + MINUTE + 1_000, state="up"),
        ],
    )
    assert [record.state for record in read(client)] == ["down", "down", "up", "up"]


def test_bounds_are_in_the_time_of_reading(client):
    early, late = liquidation(1), replace(liquidation(2), received_time=(DAY + 2 * HOUR) * 1_000)
    beats = [heartbeat(DAY + second * 1_000) for second in (0, 59, 60, 7_199, 7_200)]
    put(client, [early, late, *beats])
    found = read(client, DAY + 59_000, DAY + 2 * HOUR)
    assert [record.time for record in found] == [DAY + 59_000, DAY + 60_000, DAY + 7_199_000]
    assert read(client, DAY + 2 * HOUR, DAY + 3 * HOUR)[0] == late


def test_nothing_recorded(client):
    assert read_span(client, Databases()) is None
    assert read(client) == []


def test_tables_that_do_not_exist(client):
    with pytest.raises(WarehouseError, match="cannot read what is recorded"):
        list(read_log(client, Databases("nothing_here"), DAY, DAY + HOUR))
