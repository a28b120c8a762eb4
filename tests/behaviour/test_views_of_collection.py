"""The views that say who listened to what, over rows that went in the way the sink puts them there."""

# ruff: noqa: S608 - the tests put together names of their own views

from __future__ import annotations

import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from unit.warehouse.rows import (
    DAY,
    MINUTE,
    Kept,
    bar,
    coverage,
    heartbeat,
    liquidation,
    live,
    silence,
    store,
    subscription,
)

from pipeline.codec import Codec
from pipeline.records import Source
from pipeline.warehouse.client import connect
from pipeline.warehouse.grouping import group, targets
from pipeline.warehouse.migrate import migrate

BYBIT = {"exchange": "bybit", "channel": "linear"}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('views')}")
    migrate(client)
    yield client
    client.close()


@pytest.fixture
def client(warehouse: Client) -> Client:
    tables = warehouse.query(
        "SELECT name FROM system.tables WHERE database = 'liquidations_data'"
        " AND engine LIKE '%MergeTree' AND name != 'migrations'"
    ).result_rows
    for (table,) in tables:
        warehouse.command(f"TRUNCATE TABLE liquidations_data.{table}")
    return warehouse


def rows(client, columns, view, where="1"):
    return client.query(f"SELECT {columns} FROM liquidations.{view} WHERE {where} ORDER BY ALL").result_rows


def at(time_ms):
    return datetime.fromtimestamp(time_ms / 1_000, UTC).replace(tzinfo=None)


def of_bybit(number, **changes):
    source = Source("linear", f"tokyo/linear/{DAY}-0", number, 0)
    return liquidation(number, **{"exchange": "bybit", "source": source} | changes)


def channel_up(minutes, **changes):
    return [coverage(DAY + MINUTE * minute, **BYBIT | changes) for minute in minutes]


def contract_up(minutes, alive_ms, symbol="BTCUSDT"):
    return channel_up(minutes, symbol=symbol, alive_ms=alive_ms, frames=0)


# Subscriptions and silences


def test_subscriptions_are_shown_as_said_and_each_once(client, codec):
    said = [subscription(), subscription(DAY + 5, state="down"), subscription(collector="paris"), subscription()]
    store(client, codec, said)
    store(client, codec, said[::-1])

    assert rows(client, "collector, symbol, time, state", "subscriptions") == [
        ("paris", "BTCUSDT", at(DAY), "up"),
        ("tokyo", "BTCUSDT", at(DAY), "up"),
        ("tokyo", "BTCUSDT", at(DAY + 5), "down"),
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_a_silence_that_has_ended_is_shown_as_ended_whatever_the_order(client, codec, order, together):
    found = silence()
    said = [found, replace(found, ended=DAY + 900_000, revision=2)]
    shuffled = [said[index] for index in order]
    for batch in [shuffled] if together else [[one] for one in shuffled]:
        store(client, codec, batch)
    store(client, codec, [silence(channel="other")])

    assert rows(client, "channel, began, found, ended, expected", "silences") == [
        ("forceOrder", at(DAY), at(DAY + 200_000), at(DAY + 900_000), 41.5),
        ("other", at(DAY), at(DAY + 200_000), None, 41.5),
    ]
    assert rows(client, "channel", "silences", "ended IS NULL") == [("other",)]


# Heartbeats


def test_heartbeats_are_summed_up_by_minute_and_repetitions_change_nothing(client, codec):
    offsets = {3: -2_400, 40: 1_900, 65: 7}
    said = [
        heartbeat(DAY + 1_000 * second, frames=second, clock_offset_ms=offsets.get(second)) for second in range(100)
    ]
    said += [heartbeat(DAY + 500, collector="paris", state="down", frames=0, last_frame_time=None)]
    store(client, codec, said)
    before = rows(client, "*", "heartbeats")
    store(client, codec, said[20:80])
    for one in said[90:]:
        store(client, codec, [one])

    columns = "collector, start, frames, was_up, last_time, clock_offset_ms"
    assert rows(client, columns, "heartbeats") == [
        ("paris", at(DAY), 0, False, at(DAY + 500), None),
        ("tokyo", at(DAY), sum(range(60)), True, at(DAY + 59_000), -2_400),
        ("tokyo", at(DAY + MINUTE), sum(range(60, 100)), True, at(DAY + 99_000), 7),
    ]
    assert rows(client, "*", "heartbeats") == before


def test_a_heartbeat_is_stored_from_one_partition_of_all_it_is_in(codec):
    class On(Kept):
        def partition(self) -> int:
            return self.at

    value = codec.encode(heartbeat())
    grouped = group([On(value, partition) for partition in range(4)], targets(codec))

    assert [message.partition() for block in grouped.blocks for message in block.messages] == [0]
    assert grouped.skipped == 3
    assert group([On(value, 2)], targets(codec)).blocks == ()


# Who saw an event


def test_an_event_names_the_collectors_that_saw_it_live(client, codec):
    seen = [
        liquidation(1, source=live("tokyo", 1)),
        liquidation(1, source=live("paris", 8), received_time=(DAY + 1_900) * 1_000),
        liquidation(1, source=live("tokyo", 9), received_time=(DAY + 2_900) * 1_000),
        liquidation(2, source=live("paris", 2)),
        liquidation(3, source=Source("archive:frames", "2024/12/05-1.csv", 3, 0)),
    ]
    for one in seen:
        store(client, codec, [one])
    store(client, codec, seen)

    assert rows(client, "event_time, collectors", "sightings") == [
        (at(DAY + 1_000), ["paris", "tokyo"]),
        (at(DAY + 2_000), ["paris"]),
    ]
    assert rows(client, "count()", "events") == [(3,)]


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_collectors_are_exact_whatever_is_inserted_again_and_in_whatever_order(client, codec, seed):
    chance = random.Random(seed)
    names = ("tokyo", "paris", "osaka")
    saw = {number: chance.sample(names, chance.randint(1, 3)) for number in range(200)}
    times = {number: DAY + chance.randrange(3 * 60 * MINUTE) for number in saw}
    seen = [
        liquidation(number, event_time=times[number], received_time=times[number] * 1_000, source=live(name, number))
        for number, of_it in saw.items()
        for name in of_it
    ]
    again = chance.sample(seen, 150)
    for _ in range(2):
        chance.shuffle(seen)
        for first in range(0, len(seen), 70):
            store(client, codec, seen[first : first + 70])
        store(client, codec, again)

    for view, span in (("collectors_1m", MINUTE), ("collectors_1h", 60 * MINUTE)):
        expected = defaultdict(lambda: (Counter(), Counter(), Counter()))
        for number, of_it in saw.items():
            events, seen_by, only_by = expected[at(times[number] // span * span)]
            events.update(["all"])
            seen_by.update(of_it)
            only_by.update(of_it if len(of_it) == 1 else [])
        assert rows(client, "start, events, seen_by, only_by, only_one, collectors", view) == [
            (start, events["all"], dict(seen_by), dict(only_by), only_by.total(), sorted(seen_by))
            for start, (events, seen_by, only_by) in sorted(expected.items())
        ]
    found = rows(client, "event_time, collectors", "sightings")
    assert found == sorted((at(times[number]), sorted(of_it)) for number, of_it in saw.items())


def test_the_share_of_what_only_one_collector_saw(client, codec):
    hour = 60 * MINUTE
    both = [liquidation(n, source=live(name, n)) for n in range(10) for name in ("tokyo", "paris")]
    tokyo = [liquidation(n, source=live("tokyo", n)) for n in range(10, 15)]
    paris = [liquidation(15, source=live("paris", 15)), liquidation(70, source=live("paris", 70))]
    alone = liquidation(99, event_time=DAY + hour, received_time=(DAY + hour) * 1_000, source=live("paris", 99))
    listened = [heartbeat(DAY + second * 1_000, collector=name) for second in range(70) for name in ("tokyo", "osaka")]
    store(client, codec, [*both, *tokyo, *paris, alone, *listened])

    columns = "start, collectors, events, seen_by, only_by, only_one, only_one_share"
    assert rows(client, columns, "collectors_1m") == [
        (
            at(DAY),
            ["osaka", "paris", "tokyo"],
            16,
            {"paris": 11, "tokyo": 15},
            {"paris": 1, "tokyo": 5},
            6,
            6 / 16,
        ),
        (at(DAY + MINUTE), ["osaka", "paris", "tokyo"], 1, {"paris": 1}, {"paris": 1}, 1, 1.0),
        (at(DAY + hour), ["paris"], 1, {"paris": 1}, {"paris": 1}, 1, None),
    ]
    assert rows(client, columns, "collectors_1h") == [
        (
            at(DAY),
            ["osaka", "paris", "tokyo"],
            17,
            {"paris": 12, "tokyo": 15},
            {"paris": 2, "tokyo": 5},
            7,
            7 / 17,
        ),
        (at(DAY + hour), ["paris"], 1, {"paris": 1}, {"paris": 1}, 1, None),
    ]


def test_collectors_of_a_time_range_are_those_of_its_hours_where_several_spoke(client, codec):
    hour, chance = 60 * MINUTE, random.Random(8)
    exchanges = {"binance": {}, "bitmex": {"event_time_kind": "received"}, "okx": {}}
    seen = []
    for number in range(300):
        exchange = chance.choice(list(exchanges))
        time = DAY + chance.randrange(4 * hour)
        names = ("tokyo",) if exchange == "okx" else chance.choice([("tokyo",), ("paris",), ("paris", "tokyo")])
        seen += [
            liquidation(
                number,
                exchange=exchange,
                event_time=time,
                received_time=time * 1_000 + n,
                source=live(name, number),
                **exchanges[exchange],
            )
            for n, name in enumerate(names)
        ]
    said = [
        heartbeat(DAY + n * 20 * MINUTE, exchange=exchange, collector=name)
        for n in range(12)
        for exchange in exchanges
        for name in (("tokyo",) if exchange == "okx" else ("tokyo", "paris", "osaka"))
    ]
    chance.shuffle(seen)
    for first in range(0, len(seen), 60):
        store(client, codec, seen[first : first + 60])
    store(client, codec, [*said, *seen[:90]])

    every = client.query("SELECT * FROM liquidations.collectors_1h WHERE exchange != 'okx' ORDER BY ALL").result_rows
    assert len(every) == 8
    for begin, end, hours in (
        (DAY, DAY + 4 * hour, (0, 4)),
        (DAY, DAY, (0, 1)),
        (DAY + 1, DAY + 2 * hour, (1, 3)),
        (DAY + hour, DAY + 3 * hour - 1, (1, 3)),
    ):
        found = client.query(
            f"SELECT * FROM liquidations.collectors_between(from_ms = {begin}, to_ms = {end}) ORDER BY ALL"
        ).result_rows
        assert found == [row for row in every if at(DAY + hours[0] * hour) <= row[1] < at(DAY + hours[1] * hour)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_an_event_without_a_time_of_the_exchange_the_first_received_stays(client, codec, order):
    """Each collector gives it a time of its own, so the rows have different keys."""
    seen = [
        liquidation(
            1,
            exchange="bitmex",
            event_time_kind="received",
            event_time=DAY + late_ms,
            received_time=(DAY + late_ms) * 1_000,
            source=live(name, 1),
        )
        for name, late_ms in (("tokyo", 40), ("paris", 10), ("tokyo", 200_000))
    ]
    for index in order:
        store(client, codec, [seen[index]])
    store(client, codec, [liquidation(2)])

    assert rows(client, "event_time, source.connection", "events", "exchange = 'bitmex'") == [
        (at(DAY + 10), live("paris").connection)
    ]
    assert rows(client, "count()", "events", f"event_time > '{at(DAY + 100_000)}'") == [(0,)]
    assert rows(client, "event_time, collectors", "sightings") == [(at(DAY + 10), ["paris", "tokyo"])]
    assert rows(client, "count()", "events") == [(2,)]


# Coverage of contracts


def test_coverage_of_contracts_stays_apart_from_that_of_channels(client, codec):
    store(client, codec, [*channel_up(range(2)), *contract_up([0], 15_000), *contract_up([0], 9, "NEWUSDT")])
    store(client, codec, channel_up([1], alive_ms=0, revision=2))

    assert rows(client, "start, alive_ms", "coverage") == [(at(DAY), 60_000), (at(DAY + MINUTE), 0)]
    assert rows(client, "symbol, start, alive_ms, alive_share", "contract_coverage") == [
        ("BTCUSDT", at(DAY), 15_000, 0.25),
        ("NEWUSDT", at(DAY), 9, 9 / 60_000),
    ]


FILLED = "symbol, start, long_count, coverage"


def test_gaps_are_filled_by_the_coverage_of_the_contract(client, codec):
    store(client, codec, [of_bybit(1), subscription(), subscription(symbol="ETHUSDT", asset="ETH")])
    store(client, codec, [*channel_up(range(3)), *contract_up([1], 59_999), *contract_up([2], 0, "ETHUSDT")])

    assert rows(client, FILLED, "bars_filled") == [
        ("BTCUSDT", at(DAY), 0, 1.0),
        ("BTCUSDT", at(DAY + MINUTE), None, 59_999 / 60_000),
        ("BTCUSDT", at(DAY + 2 * MINUTE), 0, 1.0),
        ("ETHUSDT", at(DAY), 0, 1.0),
        ("ETHUSDT", at(DAY + MINUTE), 0, 1.0),
        ("ETHUSDT", at(DAY + 2 * MINUTE), None, 0.0),
    ]


def test_a_contract_is_not_covered_before_its_first_subscription(client, codec):
    """On such a channel only. What was seen of a contract that was never subscribed proves nothing of its silence."""
    listed = subscription(DAY + MINUTE + 30_000, symbol="NEWUSDT", asset="NEW")
    refused = subscription(DAY, symbol="BADUSDT", asset="BAD", state="down")
    store(client, codec, [listed, refused, of_bybit(1), of_bybit(2, exchange="okx")])
    store(client, codec, [*channel_up(range(3)), *channel_up(range(3), exchange="okx")])
    store(client, codec, contract_up([1], 30_000, "NEWUSDT"))

    assert rows(client, f"exchange, {FILLED}", "bars_filled", "exchange = 'okx'") == [
        ("okx", "BTCUSDT", at(DAY + MINUTE * minute), 0, 1.0) for minute in range(3)
    ]
    assert rows(client, FILLED, "bars_filled", "symbol = 'NEWUSDT'") == [
        ("NEWUSDT", at(DAY), None, 0.0),
        ("NEWUSDT", at(DAY + MINUTE), None, 0.5),
        ("NEWUSDT", at(DAY + 2 * MINUTE), 0, 1.0),
    ]
    never = rows(client, "symbol, long_count, coverage", "bars_filled", "exchange = 'bybit' AND symbol != 'NEWUSDT'")
    assert never == [*[("BADUSDT", None, 0.0)] * 3, *[("BTCUSDT", None, 0.0)] * 3]


def test_a_silence_found_later_counts_for_contracts_with_rows_of_their_own(client, codec):
    store(client, codec, [of_bybit(1), subscription(), *channel_up([0, 1]), *contract_up([0], 20_000)])
    store(client, codec, channel_up([0], alive_ms=0, revision=2))

    assert rows(client, FILLED, "bars_filled") == [
        ("BTCUSDT", at(DAY), None, 0.0),
        ("BTCUSDT", at(DAY + MINUTE), 0, 1.0),
    ]


def test_a_silence_found_later_counts_for_bars_that_were_said_before(client, codec):
    store(client, codec, [of_bybit(1), of_bybit(2), subscription(), *channel_up([0, 1])])
    store(client, codec, [bar(DAY, exchange="bybit"), bar(DAY + MINUTE, exchange="bybit")])
    store(client, codec, [bar(DAY + 9 * MINUTE, exchange="bybit")])
    store(client, codec, channel_up([0], alive_ms=12_000, revision=2))

    assert rows(client, "start, long_count > 0, coverage", "bars_filled", "long_count > 0") == [
        (at(DAY), 1, 0.2),
        (at(DAY + MINUTE), 1, 1.0),
        # Nothing is known of the channel yet: the bar's own word counts.
        (at(DAY + 9 * MINUTE), 1, 1.0),
    ]


@pytest.mark.parametrize(("view", "minutes"), [("bars_5m", 5), ("bars_1h", 60), ("bars_1d", 1_440)])
def test_larger_bars_know_the_coverage_of_their_contract(client, codec, view, minutes):
    """Bars at minute 3: of a contract that missed something, one that was listed late, one that missed nothing."""
    symbols = ("BTCUSDT", "NEWUSDT", "ETHUSDT")
    store(client, codec, [of_bybit(n, symbol=symbol) for n, symbol in enumerate(symbols)])
    store(client, codec, [bar(DAY + 3 * MINUTE, exchange="bybit", symbol=symbol) for symbol in symbols])
    since = {"NEWUSDT": DAY + 2 * MINUTE + 15_000}
    store(client, codec, [subscription(since.get(symbol, DAY - MINUTE), symbol=symbol) for symbol in symbols])
    store(client, codec, channel_up(range(minutes)))
    store(
        client,
        codec,
        [*channel_up([1], alive_ms=50_000, revision=2), *channel_up(range(minutes), channel="quiet", alive_ms=0)],
    )
    store(client, codec, [*contract_up([0], 6_000), *contract_up([1], 55_000), *contract_up([2], 45_000, "NEWUSDT")])

    whole = 60_000 * minutes - 10_000
    assert rows(client, "symbol, coverage", view) == [
        ("BTCUSDT", pytest.approx((whole - 54_000) / 60_000 / minutes)),
        ("ETHUSDT", pytest.approx(whole / 60_000 / minutes)),
        ("NEWUSDT", pytest.approx((whole - 60_000 - 50_000 - 15_000) / 60_000 / minutes)),
    ]


TIME = "toDateTime64('2024-12-01 00:00:00', 3, 'UTC') + toIntervalMinute(intDiv(number, 9))"
# Twenty days of rows, nine in each minute.
BY_TIME = {
    "contract_coverage (exchange, channel, symbol, start)": f"'bybit', 'linear', concat('S', number % 9), {TIME}",
    "coverage (exchange, channel, start)": f"'bybit', concat('c', number % 9), {TIME}",
    "heartbeats (exchange, channel, collector, start)": f"'bybit', 'linear', concat('c', number % 9), {TIME}",
    "seen_events (event_id, exchange, collectors, event_time)": f"toString(number), 'bybit', map('tokyo', 1), {TIME}",
}


@pytest.mark.parametrize(
    ("view", "tables"),
    {
        "bars_filled": ("coverage", "contract_coverage"),
        "bars_5m": ("coverage", "contract_coverage"),
        "bars_1h": ("coverage", "contract_coverage"),
        "bars_1d": ("coverage", "contract_coverage"),
        "collectors_1m": ("seen_events", "heartbeats"),
        "collectors_1h": ("seen_events", "heartbeats"),
        "heartbeats": ("heartbeats",),
        "contract_coverage": ("contract_coverage",),
    }.items(),
)
def test_a_filter_by_time_reads_only_what_it_needs(client, codec, view, tables):
    store(client, codec, [of_bybit(1), bar(exchange="bybit"), subscription()])
    for columns, values in BY_TIME.items():
        client.command(f"INSERT INTO liquidations_data.{columns} SELECT {values} FROM numbers(9 * 1440 * 20)")
    plan = "\n".join(
        line
        for (line,) in client.query(
            f"EXPLAIN indexes = 1 SELECT * FROM liquidations.{view}"
            " WHERE start >= '2024-12-05 00:00:00' AND start < '2024-12-05 01:00:00'"
        ).result_rows
    )
    for table in tables:
        reads = plan.split(f"(liquidations_data.{table})")[1:]
        assert reads
        for read in reads:
            granules = re.findall(r"Granules: (\d+)/(\d+)", read.split("ReadFrom")[0])
            assert int(granules[-1][0]) * 4 <= int(granules[0][1]), (view, table, plan)
