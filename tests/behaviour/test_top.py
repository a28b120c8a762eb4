"""`liquidations top` over a simulated market: from the folder, and through the process that has it open."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from clickhouse_connect.driver.client import Client
from clickhouse_over_http import PASSWORD, USER, serving_clickhouse
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


def on_a_server(url: str, *words: str, password: str = PASSWORD) -> Result:
    environment = {"LIQUIDATIONS_CLICKHOUSE_USER": USER, "LIQUIDATIONS_CLICKHOUSE_PASSWORD": password}
    return CliRunner(env=environment).invoke(commands, [*words, "--clickhouse", url])


def test_a_server_is_asked_over_http_and_shows_the_same(data, tmp_path):
    here = CliRunner().invoke(commands, ["top", "--once", "--data", str(data)])
    with serving_clickhouse(clickhouse_folder(data)) as url:
        there = on_a_server(url, "top", "--once")
        report = on_a_server(url, "report", "--out", str(tmp_path / "there.html"))
        rows = on_a_server(url, "sql", "--format", "TSV", "SELECT count() FROM bars_1m")
    assert there.exit_code == 0, there.output
    assert there.output.splitlines()[1:] == here.output.splitlines()[1:]
    assert there.output.splitlines()[0].startswith("15 minutes up to 2026-09-16 07:30:00 UTC")
    assert report.exit_code == 0, report.output
    CliRunner().invoke(commands, ["report", "--data", str(data), "--out", str(tmp_path / "here.html")])
    # What happens to the files of tables in the background changes how large they are, and nothing else.
    there_text, here_text = (_without_sizes((tmp_path / name).read_text()) for name in ("there.html", "here.html"))
    assert there_text == here_text
    assert int(rows.output) > 0


def _without_sizes(page: str) -> str:
    return re.sub(r'id="liquidations-pipeline-14".*?</article>', "", page, flags=re.DOTALL)


def test_a_server_that_refuses_or_is_not_there_is_told_in_a_line(data):
    with serving_clickhouse(clickhouse_folder(data)) as url:
        refused = on_a_server(url, "top", "--once", password="wrong")  # noqa: S106 - no secret
    gone = on_a_server(url, "top", "--once")
    assert "Authentication failed" in str(refused.exception)
    assert "is it running?" in str(gone.exception)
    assert "\n" not in str(refused.exception) + str(gone.exception)


def test_without_data_one_line_says_so(tmp_path):
    result = CliRunner().invoke(commands, ["top", "--once", "--data", str(tmp_path)])
    assert result.exit_code != 0
    assert "there is no data" in str(result.exception)
