"""The views of surges beside the worker's rule: both flag the same bars of a simulated week."""

# ruff: noqa: S608 - the test names views of our own

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from event_logs import Latest, Record, run
from market_week import market_week
from unit.warehouse.rows import store

from pipeline.codec import Codec
from pipeline.detect.rules import Rules, read_rules
from pipeline.records import Bar
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.windows.parameters import WindowParameters

VIEWS = {60_000: "surges_1m", 300_000: "surges_5m", 3_600_000: "surges_1h"}
RULES = read_rules("".join(f"[{name}]\nenabled = false\n" for name in Rules.model_fields if name != "surge"))


@pytest.fixture(scope="module")
def week() -> list[Record]:
    return market_week()


@pytest.fixture(scope="module")
def folded(week: list[Record]) -> Latest:
    return run(week, parameters=WindowParameters(silence_probability=0), rules=RULES)[0].latest()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, week: list[Record], folded: Latest) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('surges')}")
    migrate(client)
    rows = [
        *(Bar(**fields) for fields in folded.bars.values()),
        *folded.coverage.values(),
        *folded.contracts.values(),
        *(record for record in week if not hasattr(record, "frames")),
    ]
    assert store(client, Codec(), rows) == []
    yield client
    client.close()


def flagged(client: Client, view: str) -> dict[tuple[object, ...], tuple[float, ...]]:
    rows = client.query(
        "SELECT toUnixTimestamp64Milli(start), scope, asset, exchange, symbol, position, measure, value, threshold,"
        f" baseline_mean, baseline_sd, baseline_n, coverage FROM liquidations.{view}"
    ).result_rows
    return {tuple(row[:7]): tuple(row[7:]) for row in rows}


@pytest.mark.parametrize("interval_ms", VIEWS)
def test_stream_and_sql_flag_the_same_bars(client, folded, interval_ms):
    stream = {
        (one.started, one.scope, one.asset, one.exchange, one.symbol, one.position, one.measure): (
            *(one.value, one.threshold, one.baseline_mean, one.baseline_sd, one.baseline_n, one.coverage),
        )
        for one in folded.anomalies.values()
        if one.interval_ms == interval_ms
    }
    sql = flagged(client, VIEWS[interval_ms])
    assert {key for key in stream if key not in sql} == set()
    assert {key for key in sql if key not in stream} == set()
    assert len(sql) > 10
    for key, numbers in sql.items():
        assert numbers == pytest.approx(stream[key], rel=1e-9), key
