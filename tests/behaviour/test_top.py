"""`liquidations top` over a simulated market: from the folder, and through the process that has it open."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client
from rich.console import Console
from unit.grafana import market

from pipeline.cli import commands
from pipeline.cli.top_picture import picture
from pipeline.embedded.pipeline import clickhouse_folder
from pipeline.embedded.sql_endpoint import sql_endpoint
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    client = connect(clickhouse_folder(data))
    migrate(client)
    assert "nothing is stored yet" in shown(client, 15)
    market.fill(client)
    client.close()
    return data


def shown(client: Client, minutes: int) -> str:
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(picture(lambda sql, output_format: run_query(client, sql, output_format), minutes))
    return console.export_text()


def test_one_picture_has_events_bars_and_coverage(data):
    result = CliRunner().invoke(commands, ["top", "--once", "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "15 minutes up to 2026-09-16 07:30:00 UTC" in result.output
    times = re.findall(r"^ (07:\d\d:\d\d) .* (?:long|short) .* (?:sampled|full) *$", result.output, re.MULTILINE)
    assert len(times) == 8
    assert all("07:15" <= time < "07:30" for time in times)
    assert "lower bound" in result.output
    assert "binance forceOrder 100.0%" in result.output


def test_the_largest_are_the_largest(data):
    client = connect(clickhouse_folder(data))
    client.database = "liquidations"
    try:
        (largest,) = client.query(
            "SELECT max(notional_usd) FROM events WHERE event_time > '2026-09-16 07:15:00'"
        ).result_rows
        text = shown(client, 15)
        over_the_gap = shown(client, 90)
    finally:
        client.close()
    assert f"{largest[0]:,.0f}" in text
    # Nobody listened to OKX for 20 of the 90 minutes.
    assert "okx SWAP 77.8%" in over_the_gap


def test_it_asks_the_process_that_has_the_folder_open(data):
    with sql_endpoint(clickhouse_folder(data), data):
        result = CliRunner().invoke(commands, ["top", "--once", "--data", str(data), "--minutes", "30"])
    assert result.exit_code == 0, result.output
    assert "30 minutes up to 2026-09-16 07:30:00 UTC" in result.output


def test_without_data_one_line_says_so(tmp_path):
    result = CliRunner().invoke(commands, ["top", "--once", "--data", str(tmp_path)])
    assert result.exit_code != 0
    assert "there is no data" in str(result.exception)
