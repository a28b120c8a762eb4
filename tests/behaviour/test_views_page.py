"""Every query on the page about tables runs, and finds something."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from unit.warehouse.rows import (
    DAY,
    MINUTE,
    anomaly,
    bar,
    candle,
    cascade,
    coverage,
    dead_letter,
    heartbeat,
    liquidation,
    live,
    market_delay,
    metric,
    silence,
    store,
    subscription,
    tally,
)

from pipeline.codec import Codec
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('page')}")
    migrate(client)
    records = [
        *(liquidation(number) for number in range(100)),
        *(bar(DAY + MINUTE * minute) for minute in range(8)),
        *(coverage(DAY + MINUTE * minute) for minute in range(10)),
        *(coverage(DAY + MINUTE * minute, exchange="bybit", channel="linear") for minute in range(10)),
        bar(DAY + MINUTE * 9, long_micros=10**12, long_count=9),
        tally(),
        *(candle(DAY + MINUTE * minute, closed=True) for minute in range(5)),
        cascade(state="closed", end=DAY + MINUTE),
        metric(metric="open_interest_usd"),
        dead_letter(),
        coverage(exchange="bybit", channel="linear", symbol="BTCUSDT", alive_ms=5),
        *(heartbeat(collector=name) for name in ("tokyo", "paris")),
        liquidation(1, source=live("tokyo")),
        silence(),
        anomaly(contributors=[liquidation(1).event_id]),
        market_delay(),
        subscription(),
        liquidation(200, received_time=time.time_ns() // 1_000 - 5_000_000),
    ]
    store(client, Codec(), records)
    yield client
    client.close()


def test_there_are_queries_for_most_views():
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("query", QUERIES, ids=[re.search(r"FROM (\w+)", query)[1] for query in QUERIES])  # type: ignore[index]
def test_a_query_of_the_page_runs_and_finds_rows(client, query):
    assert len(run_query(client, query, "TSV").splitlines()) >= 1


def test_the_page_names_every_view_and_every_column(client):
    rows = client.query("SELECT table, name FROM system.columns WHERE database = 'liquidations'").result_rows
    words = set(re.findall(r"\w+", PAGE))

    assert {table for table, _ in rows} <= words
    assert {name for _, name in rows} <= words
