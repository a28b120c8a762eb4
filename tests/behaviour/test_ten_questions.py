"""The queries of docs/ten_questions.md on a simulated market: each answers, with the numbers of the records."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from unit.grafana import market

from pipeline.records import Liquidation
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ten_questions.md").read_text()
QUESTIONS = {
    int(number): sql for number, sql in re.findall(r"^## (\d+)\. .*?^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
}
MILLION = 1_000_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('questions')}")
    migrate(client)
    market.fill(client)
    client.database = "liquidations"
    yield client
    client.close()


@pytest.fixture(scope="module")
def events() -> list[Liquidation]:
    found = {one.event_id: one for one in market.records() if isinstance(one, Liquidation)}
    return list(found.values())


def rows(client: Client, number: int) -> list[dict[str, object]]:
    return list(client.query(QUESTIONS[number]).named_results())


def test_there_are_ten():
    assert sorted(QUESTIONS) == list(range(1, 11))


@pytest.mark.parametrize("number", QUESTIONS)
def test_a_question_has_an_answer_as_the_command_gives_it(client, number):
    answer = run_query(client, QUESTIONS[number], "TSV")
    assert answer.strip()


def test_assets_hit_hardest(client, events):
    sums: dict[str, float] = defaultdict(float)
    for event in events:
        if event.asset != market.QUOTED:
            sums[event.asset] += event.notional_micros / MILLION
    expected = sorted(sums, key=lambda asset: -sums[asset])[:3]
    found = rows(client, 1)
    assert [row["asset"] for row in found][:3] == expected
    assert found[0]["longs"] + found[0]["shorts"] == pytest.approx(
        sums[expected[0]], rel=1e-3
    )  # a few are too late for a bar
    assert found[0]["is_lower_bound"]


def test_how_much_more_than_before(client):
    found = [row for row in rows(client, 2) if row["times"] is not None]
    assert found
    assert all(row["times"] == pytest.approx(row["now"] / row["before"], abs=0.06) for row in found)
    assert found[0]["times"] > 1  # the crash


def test_one_sided_minutes_are_those_of_the_crash(client):
    found = rows(client, 3)
    assert all(row["long_share"] > 0.9 or row["long_share"] < 0.1 for row in found)
    assert max(found, key=lambda row: row["usd"])["start"].hour == 7


def test_who_fires_first(client, events):
    crash = [
        event
        for event in events
        if event.asset == "BTC"
        and event.position == "long"
        and market.CRASH <= event.event_time < market.CRASH + 5 * market.MINUTE
        and event.notional_micros >= 50_000 * MILLION
    ]
    found = rows(client, 4)
    assert found[0]["exchange"] == min(crash, key=lambda event: event.event_time).exchange
    assert found[0]["behind_s"] == 0
    assert sum(row["events"] for row in found) == len(crash)


def test_prices_hold_every_long(client, events):
    levels: dict[float, int] = defaultdict(int)
    for event in events:
        if event.asset == "BTC" and event.position == "long":
            levels[event.price // 500 * 500] += 1
    found = {row["from_price"]: row["events"] for row in rows(client, 5)}
    assert found.items() <= levels.items()


def test_cascades_anomalies_and_ratios(client):
    assert [(row["asset"], row["state"]) for row in rows(client, 6)] == [("BTC", "closed"), ("ETH", "open")]
    unusual = rows(client, 7)
    assert unusual[0]["level"] == 1
    assert {row["kind"] for row in unusual} >= {"rolling_threshold", "ratio", "silent_channel"}
    assert {row["exchange"] for row in rows(client, 8)} <= {"binance", "bybit"}


def test_a_minute_that_nobody_saw_is_unknown_and_not_zero(client):
    found = {(row["exchange"], row["symbol"]): row for row in rows(client, 9)}
    okx = found["okx", "BTC-USDT-SWAP"]
    assert okx["unknown_minutes"] == 20
    assert okx["known_minutes"] + okx["unknown_minutes"] == 90
    assert found["binance", "BTCUSDT"]["unknown_minutes"] == 0


def test_the_gap_is_named(client):
    (gap,) = rows(client, 10)
    assert (gap["exchange"], gap["channel"], gap["minutes"], gap["lost"]) == ("okx", "SWAP", 20, 20)
