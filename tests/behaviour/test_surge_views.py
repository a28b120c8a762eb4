"""The views of surges beside the worker's rule: both flag the same bars of a simulated week."""

# ruff: noqa: S608 - the test names views of our own

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from clickhouse_connect.driver.client import Client
from event_logs import Latest, Record, heartbeat, liquidation, run, subscription
from unit.warehouse.rows import DAY, store

from pipeline.codec import Codec
from pipeline.detect.rules import Rules, read_rules
from pipeline.records import Bar
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.windows.parameters import WindowParameters

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
VIEWS = {60_000: "surges_1m", 300_000: "surges_5m", 3_600_000: "surges_1h"}
CHANNELS = (("binance", "forceOrder"), ("bybit", "linear"), ("okx", "SWAP"))
# The contracts of Bybit are subscribed one by one.
CONTRACTS = (
    ("binance", "BTCUSDT", "BTC", "forceOrder"),
    ("binance", "ETHUSDT", "ETH", "forceOrder"),
    ("bybit", "BTCUSDT", "BTC", "linear"),
    ("bybit", "SOLUSDT", "SOL", "linear"),
    ("okx", "BTC-USDT-SWAP", "BTC", "SWAP"),
    ("okx", "SOL-USDT-SWAP", "SOL", "SWAP"),
)
DAYS = 7
RULES = read_rules("".join(f"[{name}]\nenabled = false\n" for name in Rules.model_fields if name != "surge"))
# Hours of the week in which a channel is away, and in which a contract of Bybit is not subscribed.
AWAY = {("okx", "SWAP"): ((30.2, 31.9), (77.0, 77.4)), ("binance", "forceOrder"): ((50.5, 50.53), (100.0, 108.0))}
UNSUBSCRIBED = {"SOLUSDT": ((40.0, 43.5), (120.25, 120.4))}


def is_in(spans: tuple[tuple[float, float], ...], time: int) -> bool:
    return any(begin <= (time - DAY) / HOUR < end for begin, end in spans)


def market_week() -> list[Record]:
    """A week in calm and storm; events are read within two seconds, and heartbeats come every ten."""
    rng = Random(11)
    log: list[tuple[int, int, Record]] = [
        (DAY, 0, subscription(DAY, contract)) for contract in CONTRACTS if contract[0] == "bybit"
    ]
    for symbol, spans in UNSUBSCRIBED.items():
        contract = next(one for one in CONTRACTS if one[1] == symbol)
        for span in spans:
            begin, end = (DAY + round(hour * HOUR) for hour in span)
            log += [(begin, 0, subscription(begin, contract, "down")), (end, 0, subscription(end, contract))]
    number = 0
    for minute in range(DAYS * 24 * 60):
        start = DAY + minute * MINUTE
        storm = rng.random() < 0.004
        for contract in CONTRACTS:
            exchange, symbol, _, channel = contract
            mean = 0.25 * (1 + minute % 1440 / 1440) * (rng.choice((20, 60)) if storm else 1)
            for _ in range(poisson(rng, mean)):
                number += 1
                time = start + rng.randrange(MINUTE)
                gone = is_in(AWAY.get((exchange, channel), ()), time)
                if gone and rng.random() < 0.9:
                    continue
                position, micros = rng.choice(("long", "long", "short")), round(rng.lognormvariate(8.5, 1.6) * 1e6)
                event = liquidation(number, time, contract, position, micros, completeness="full")
                log.append((time + rng.randrange(2_000), 1, event))
    for tick in range(DAYS * 24 * 60 * 6 + 12):
        time = DAY + tick * 10 * SECOND
        log += [(time, 2, heartbeat(time, channel)) for channel in CHANNELS if not is_in(AWAY.get(channel, ()), time)]
    log.sort(key=lambda entry: entry[:2])
    return [record for _, _, record in log]


def poisson(rng: Random, mean: float) -> int:
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count += 1
        left += rng.expovariate(1.0)
    return count


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
