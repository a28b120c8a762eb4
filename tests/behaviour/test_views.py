"""Every view, over rows that went in the way the sink puts them there."""

# ruff: noqa: S608 - the tests put together names of their own views

from __future__ import annotations

import itertools
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

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
from pipeline.records import Source
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate

HOUR = 60 * MINUTE
COLUMNS = {
    "events": "event_id exchange symbol instrument asset quote margin position position_proved price price_kind"
    " order_price quantity notional_usd notional_micros event_time event_time_kind received_time completeness source",
    "bars_1m": "exchange symbol asset start long_usd short_usd long_count short_count largest_usd price_low price_high"
    " late_count closed coverage completeness revision",
    "bars_5m": "exchange symbol asset start long_usd short_usd long_count short_count largest_usd price_low price_high"
    " late_count closed coverage",
    "bars_1h": "exchange symbol asset start long_usd short_usd long_count short_count largest_usd price_low price_high"
    " late_count closed coverage",
    "bars_1d": "exchange symbol asset start long_usd short_usd long_count short_count largest_usd price_low price_high"
    " late_count closed coverage",
    **dict.fromkeys(
        ("surges_1m", "surges_5m", "surges_1h"),
        "day start scope asset exchange symbol position measure value threshold baseline_mean baseline_sd baseline_n"
        " coverage closed",
    ),
    "bars_filled": "exchange symbol asset start long_usd short_usd long_count short_count largest_usd price_low"
    " price_high late_count closed coverage",
    "coverage": "exchange channel start alive_ms alive_share frames",
    "contract_coverage": "exchange channel symbol start alive_ms alive_share",
    "subscriptions": "exchange channel symbol asset collector time state",
    "channels": "exchange channel contracts first_time last_time",
    "silences": "exchange channel began found ended expected probability",
    "anomalies": "anomaly_id kind scope asset exchange symbol position measure interval_ms state level value threshold"
    " baseline_mean baseline_sd baseline_n coverage completeness degraded started updated ended details contributors"
    " rules_hash revision",
    "detections": "anomaly_id kind started found delay_ms",
    "cascades": "cascade_id asset position state begin peak end waves long_usd short_usd long_count short_count"
    " peak_usd_per_second exchanges price_before price_extreme reference_exchange reference_symbol reference_before"
    " reference_extreme price_after_1m price_after_5m price_after_15m price_after_60m coverage completeness degraded"
    " rules_hash revision",
    "cascades_between": "cascade_id asset position state begin peak end waves long_usd short_usd long_count short_count"
    " peak_usd_per_second exchanges price_before price_extreme reference_exchange reference_symbol reference_before"
    " reference_extreme price_after_1m price_after_5m price_after_15m price_after_60m coverage completeness degraded"
    " rules_hash revision",
    "ratios_1m": "exchange symbol asset start long_usd short_usd volume_usd long_ratio short_ratio",
    "ratios_5m": "exchange symbol asset start long_usd short_usd volume_usd long_ratio short_ratio",
    "ratios_1h": "exchange symbol asset start long_usd short_usd volume_usd long_ratio short_ratio",
    "regimes": "asset start usd count coverage low_usd high_usd low_count high_count history_bars regime",
    "regimes_between": "asset start usd count coverage low_usd high_usd low_count high_count history_bars regime",
    "heartbeats": "exchange channel collector start frames was_up last_time last_frame_time clock_offset_ms",
    "sightings": "event_id exchange event_time collectors",
    "collectors_1m": "exchange start collectors events seen_by only_by only_one only_one_share",
    "collectors_1h": "exchange start collectors events seen_by only_by only_one only_one_share",
    "collectors_between": "exchange start collectors events seen_by only_by only_one only_one_share",
    "dead_letters": "dead_letter_id stage reason message exchange channel connection sequence index received_time"
    " payload payload_encoding",
    "candles": "exchange symbol instrument asset start open high low close volume volume_usd taker_buy_usd trades"
    " closed received_time",
    "metrics": "exchange symbol instrument asset metric value time received_time",
    "tallies": "exchange asset start events duplicates late too_late",
    "assets": "asset start long_usd short_usd long_count short_count largest_usd late_count exchanges symbols closed"
    " coverage",
    "market_1s": "start long_usd short_usd long_count short_count largest_usd exchanges assets",
    "arrivals": "start events p50_ms p95_ms most_ms",
    "newest_between": "kind newest",
    "storage": "table month rows bytes bytes_uncompressed",
    "market_delay": "start newest watermark delay_ms most_delay_ms held_by waiting",
    "market": "start long_usd short_usd long_count short_count largest_usd late_count exchanges symbols assets closed"
    " coverage",
}

# They measure the inserting itself.
MEASURED = {"arrivals", "storage"}


EVER = {"from_ms": 0, "to_ms": 4_102_444_800_000}


def whole(view):
    """Return what stands behind FROM for all rows of a view, also of one that is given a time range."""
    return f"liquidations.{view}" + ("(from_ms = 0, to_ms = 4102444800000)" if view.endswith("_between") else "")


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


def select(client, query):
    return list(client.query(query).named_results())


def at(time_ms):
    return datetime.fromtimestamp(time_ms / 1_000, UTC).replace(tzinfo=None)


def test_the_columns_are_those_that_are_promised(client):
    for view, expected in COLUMNS.items():
        found = client.query(f"DESCRIBE (SELECT * FROM {whole(view)})").result_rows
        assert [row[0] for row in found] == expected.split(), view
    views = client.query("SELECT name FROM system.tables WHERE database = 'liquidations'").result_rows
    assert {row[0] for row in views} == set(COLUMNS)


def test_what_a_view_says_of_its_types_is_what_its_query_gives(client):
    """A type that differs would be converted row by row, and a filter would not get past the conversion."""
    for view in COLUMNS:
        said = client.query(f"DESCRIBE (SELECT * FROM {whole(view)})").result_rows
        (query,) = (
            client.query(
                f"SELECT as_select FROM system.tables WHERE database = 'liquidations' AND name = '{view}'"
            ).first_row
            or ()
        )
        described = client.query(f"DESCRIBE ({query})", parameters=EVER if view.endswith("_between") else None)
        given = {row[0]: row[1] for row in described.result_rows}
        assert {row[0]: row[1] for row in said} == given, view


def test_empty_tables_give_empty_views(client):
    for view in COLUMNS:
        assert client.query(f"SELECT * FROM {whole(view)}").result_rows == [], view


def test_an_event_as_users_see_it(client, codec):
    event = liquidation(7)
    store(client, codec, [event])

    (found,) = select(client, "SELECT * FROM liquidations.events")

    assert found["event_id"] == event.event_id.hex()
    assert found["notional_micros"] == 12_250_062_507
    assert found["notional_usd"] == 12_250.062507
    assert found["event_time"] == at(event.event_time)
    assert found["source"] == {"channel": "forceOrder", "connection": "tokyo-1", "sequence": 7, "index": 0}
    assert select(client, "SELECT source.channel AS channel FROM liquidations.events") == [{"channel": "forceOrder"}]


def test_a_repeated_insert_changes_no_view(client, codec):
    records = [
        *(liquidation(number) for number in range(50)),
        *(bar(DAY + MINUTE * minute, revision=5) for minute in range(50)),
        *(coverage(DAY + MINUTE * minute) for minute in range(50)),
        *(coverage(DAY + MINUTE * minute, alive_ms=9, frames=0, symbol="NEWUSDT") for minute in range(50)),
        *(heartbeat(DAY + 1_000 * second, collector=name) for second in range(50) for name in ("tokyo", "paris")),
        *(liquidation(number, source=live("tokyo")) for number in range(50)),
        tally(),
        candle(),
        metric(),
        dead_letter(),
        subscription(),
        silence(),
        anomaly(),
        cascade(),
        market_delay(),
        *(coverage(DAY + MINUTE * minute, revision=2) for minute in range(50, 300)),
        bar(DAY + 4 * HOUR, long_micros=10**12, long_count=9, revision=19),
    ]
    store(client, codec, records)
    lasting = [view for view in COLUMNS if view not in MEASURED]
    before = {view: client.query(f"SELECT * FROM {whole(view)} ORDER BY ALL").result_rows for view in lasting}

    store(client, codec, records[::-1])
    store(client, codec, records[10:270])

    for view, rows in before.items():
        assert client.query(f"SELECT * FROM {whole(view)} ORDER BY ALL").result_rows == rows, view
        assert rows


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_the_first_received_of_one_event_stays_whatever_the_order(client, codec, order, together):
    seen = [
        liquidation(1, received_time=(DAY + 900) * 1_000, source=Source("forceOrder", "paris", 5, 0)),
        liquidation(1, received_time=(DAY + 100) * 1_000 + 1, source=Source("forceOrder", "tokyo", 9, 2)),
        liquidation(1, received_time=(DAY + 100) * 1_000 + 2, source=Source("forceOrder", "osaka", 1, 0)),
    ]
    shuffled = [seen[index] for index in order]
    for batch in [shuffled] if together else [[event] for event in shuffled]:
        store(client, codec, batch)

    found = select(client, "SELECT source.connection AS connection FROM liquidations.events")

    assert found == [{"connection": "tokyo"}]


def test_of_one_event_received_at_the_same_microsecond_one_and_the_same_stays(client, codec):
    seen = [liquidation(1, source=Source("forceOrder", name, 1, 0)) for name in ("a", "b", "c", "d")]
    stayed = set()
    for order in itertools.permutations(seen):
        client.command("TRUNCATE TABLE liquidations_data.events")
        for event in order:
            store(client, codec, [event])
        stayed.update(client.query("SELECT source.connection FROM liquidations.events").result_rows)

    assert len(stayed) == 1


@pytest.mark.parametrize("order", list(itertools.permutations([4, 5, 7])))
@pytest.mark.parametrize("together", [True, False])
def test_the_highest_revision_is_shown_whatever_the_order(client, codec, order, together):
    bars = [bar(revision=revision, late_count=revision // 7) for revision in order]
    for batch in [bars] if together else [[one] for one in bars]:
        store(client, codec, batch)

    found = select(client, "SELECT revision, long_count, late_count, closed FROM liquidations.bars_1m")

    assert found == [{"revision": 7, "long_count": 3, "late_count": 1, "closed": True}]


FILTERS = [
    "closed = false",
    "late_count = 0",
    "long_usd < 6",
    "revision < 7",
    "long_count = 2",
    "revision < 7 AND start >= '2024-12-05 00:00:00'",
    "coverage < 1",
    "price_high = 98010 AND asset = 'BTC'",
]


@pytest.mark.parametrize("condition", FILTERS)
def test_a_replaced_revision_never_shows_through_a_filter(client, codec, condition):
    replaced = [bar(DAY + MINUTE * m, revision=4, coverage=0.5, long_micros=5_000_000) for m in range(200)]
    valid = [
        bar(DAY + MINUTE * m, revision=7, late_count=1, long_micros=7_000_000, price_high=99_000.0) for m in range(200)
    ]
    for half in (slice(0, 100), slice(100, 200)):
        store(client, codec, replaced[half])
    store(client, codec, valid)

    assert client.query(f"SELECT count() FROM liquidations.bars_1m WHERE {condition}").first_row == (0,)
    if not {"revision", "closed"} & set(condition.split()):
        assert client.query(f"SELECT count() FROM liquidations.bars_5m WHERE {condition}").first_row == (0,)


def test_a_replaced_reading_of_an_event_never_shows_through_a_filter(client, codec):
    store(client, codec, [liquidation(1, received_time=(DAY + 900) * 1_000)])
    store(client, codec, [liquidation(1, received_time=(DAY + 100) * 1_000)])

    late = "SELECT count() FROM liquidations.events WHERE received_time >= '2024-12-05 00:00:00.5'"

    assert client.query(late).first_row == (0,)


@pytest.mark.parametrize(("view", "span"), [("bars_5m", 5 * MINUTE), ("bars_1h", HOUR), ("bars_1d", 24 * HOUR)])
def test_larger_bars_are_exact_sums(client, codec, view, span):
    dice = random.Random(span)
    bars = []
    for minute, symbol in itertools.product(range(0, 1_800, 7), ("BTCUSDT", "BTCUSD")):
        micros = [dice.randint(0, 10**15), dice.randint(0, 10**15)]
        low = dice.uniform(90_000, 100_000)
        bars.append(
            bar(
                DAY + MINUTE * minute,
                revision=2 * 5 + 1,
                symbol=symbol,
                long_micros=micros[0],
                short_micros=micros[1],
                long_count=dice.randint(0, 5),
                short_count=dice.randint(0, 5),
                largest_micros=max(micros),
                price_low=low,
                price_high=low + dice.uniform(0, 500),
                late_count=dice.randint(0, 2),
            )
        )
    store(client, codec, [bar(one.start, revision=4, symbol=one.symbol) for one in bars])
    store(client, codec, bars)
    expected = defaultdict(list)
    for one in bars:
        expected[one.symbol, one.start - one.start % span].append(one)

    found = {
        (row["symbol"], round(row["start"].replace(tzinfo=UTC).timestamp() * 1_000)): row
        for row in select(client, f"SELECT * FROM liquidations.{view}")
    }

    assert found.keys() == expected.keys()
    for key, members in expected.items():
        row = found[key]
        assert row["long_usd"] == float(sum(m.long_micros for m in members)) / 1e6
        assert row["short_usd"] == float(sum(m.short_micros for m in members)) / 1e6
        assert row["long_count"] == sum(m.long_count for m in members)
        assert row["short_count"] == sum(m.short_count for m in members)
        assert row["largest_usd"] == max(m.largest_micros for m in members) / 1_000_000
        assert row["price_low"] == min(m.price_low for m in members)
        assert row["price_high"] == max(m.price_high for m in members)
        assert row["late_count"] == sum(m.late_count for m in members)


def test_a_larger_bar_is_closed_when_all_its_minutes_are(client, codec):
    five = 5 * MINUTE
    store(client, codec, [bar(DAY, revision=3), bar(DAY + five, revision=3), bar(DAY + 2 * five, revision=3)])
    store(client, codec, [bar(DAY + five + MINUTE, revision=2), *(coverage(DAY + MINUTE * m) for m in range(11))])
    closed = "SELECT start, closed FROM liquidations.bars_5m ORDER BY start"

    assert [row[1] for row in client.query(closed).result_rows] == [True, False, False]

    store(client, codec, [bar(DAY + five + MINUTE, revision=3), *(coverage(DAY + MINUTE * m) for m in range(11, 15))])
    assert [row[1] for row in client.query(closed).result_rows] == [True, True, True]


def test_a_larger_bar_knows_of_minutes_without_events_in_which_nobody_listened(client, codec):
    store(client, codec, [liquidation(1), bar(DAY), bar(DAY + 5 * MINUTE)])
    store(client, codec, [coverage(DAY + MINUTE * m, alive_ms=60_000 if m < 2 else 15_000) for m in range(4)])
    store(client, codec, [coverage(DAY + MINUTE * m, channel="other", alive_ms=0) for m in range(4)])

    found = client.query("SELECT coverage FROM liquidations.bars_5m ORDER BY start").result_rows

    # Two whole minutes and two quarters; of the second span only the bar itself knows.
    assert found == [(0.625,), (1.0,)]


def test_gaps_are_zero_where_covered_and_null_where_not(client, codec):
    store(client, codec, [liquidation(1), bar(DAY), bar(DAY + 3 * MINUTE, coverage=0.25)])
    store(
        client,
        codec,
        [
            coverage(DAY),
            coverage(DAY + MINUTE),
            coverage(DAY + 2 * MINUTE, alive_ms=59_000),
            coverage(DAY + 3 * MINUTE, alive_ms=15_000),
            coverage(DAY + 5 * MINUTE),
            coverage(DAY + 6 * MINUTE, exchange="okx", channel="liquidation-orders"),
        ],
    )

    found = client.query(
        "SELECT long_usd, long_count, price_low, coverage, closed FROM liquidations.bars_filled ORDER BY start"
    ).result_rows

    assert found == [
        (5.0, 1, 98_000.0, 1.0, True),
        (0.0, 0, None, 1.0, True),
        (None, None, None, pytest.approx(59 / 60), True),
        (5.0, 1, 98_000.0, 0.25, True),
        (None, None, None, 0.0, False),
        (0.0, 0, None, 1.0, True),
        (None, None, None, 0.0, False),
    ]


def test_a_contract_seen_on_two_channels_is_covered_when_one_of_them_is(client, codec):
    other = liquidation(2, source=Source("archive", "file", 0, 0))
    store(client, codec, [liquidation(1), other, coverage(alive_ms=0), coverage(channel="archive")])

    found = client.query("SELECT symbol, long_usd, coverage FROM liquidations.bars_filled").result_rows

    assert found == [("BTCUSDT", 0.0, 1.0)]


def test_bars_filled_takes_filters_by_time_and_contract(client, codec):
    symbols = [f"S{number}USDT" for number in range(30)]
    store(client, codec, [liquidation(n, symbol=symbol, asset=f"S{n}") for n, symbol in enumerate(symbols)])
    store(client, codec, [coverage(DAY + MINUTE * m) for m in range(120)])
    store(client, codec, [bar(DAY + MINUTE * 70, symbol="S3USDT", asset="S3")])
    where = "start >= '2024-12-05 01:00:00' AND start < '2024-12-05 01:30:00'"

    everyone = "SELECT count(), uniqExact(symbol), countIf(long_usd > 0), sum(long_count) FROM liquidations.bars_filled"
    assert client.query(f"{everyone} WHERE {where}").first_row == (900, 30, 1, 1)
    assert client.query(f"{everyone} WHERE {where} AND asset = 'S3'").first_row == (30, 1, 1, 1)
    assert client.query(f"{everyone} WHERE {where} AND symbol = 'S4USDT'").first_row == (30, 1, 0, 0)


def test_a_filter_by_time_reads_only_what_it_needs(client):
    """A view whose filter does not reach the tables reads all of them, however short the time."""
    client.command(
        "INSERT INTO liquidations_data.bars (exchange, symbol, asset, start, long_micros, revision)"
        " SELECT 'binance', concat('S', toString(number % 20), 'USDT'), concat('S', toString(number % 20)),"
        " toDateTime64('2024-12-01 00:00:00', 3, 'UTC') + toIntervalMinute(intDiv(number, 20)), 1, 3"
        " FROM numbers(20 * 1440 * 20)"
    )
    for view in ("bars_1m", "bars_5m", "bars_1h", "bars_1d", "bars_filled", "assets", "market"):
        plan = "\n".join(
            row[0]
            for row in client.query(
                f"EXPLAIN indexes = 1 SELECT sum(long_usd) FROM liquidations.{view}"
                " WHERE start >= '2024-12-05 00:00:00' AND start < '2024-12-05 01:00:00'"
            ).result_rows
        )
        of_bars = plan[plan.index("(liquidations_data.bars)") :].split("ReadFrom")[0]
        parts = [
            line.split(": ")[1].split("/") for line in of_bars.splitlines() if " Granules: " in line and "/" in line
        ]
        read, all_of_them = int(parts[-1][0]), int(parts[0][1])
        assert read * 4 <= all_of_them, (view, plan)


def test_assets_and_market_sum_up_minutes(client, codec):
    store(
        client,
        codec,
        [
            bar(DAY, long_micros=1, largest_micros=1),
            bar(DAY, symbol="BTCUSD", long_micros=2, largest_micros=2, revision=5, late_count=1),
            bar(DAY, exchange="okx", symbol="BTC-USDT-SWAP", short_micros=4, long_micros=0, revision=2),
            bar(DAY, exchange="okx", symbol="ETH-USDT-SWAP", asset="ETH", long_micros=8),
            bar(DAY + MINUTE, long_micros=16),
            bar(DAY + MINUTE, long_micros=32, revision=5),
            liquidation(1),
            liquidation(2, exchange="okx", symbol="BTC-USDT-SWAP", source=Source("orders", "c", 1, 0)),
            coverage(DAY),
            coverage(DAY, exchange="okx", channel="orders", alive_ms=30_000),
            coverage(DAY, exchange="bybit", channel="allLiquidation", alive_ms=0),
        ],
    )

    assets = client.query(
        "SELECT asset, start, long_usd, short_usd, exchanges, symbols, late_count, closed, coverage"
        " FROM liquidations.assets ORDER BY asset, start"
    ).result_rows
    market = client.query(
        "SELECT start, long_usd, short_usd, exchanges, symbols, assets, closed, coverage"
        " FROM liquidations.market ORDER BY start"
    ).result_rows

    assert assets == [
        ("BTC", at(DAY), 3e-6, 4e-6, 2, 3, 1, False, 0.75),
        ("BTC", at(DAY + MINUTE), 32e-6, 0.0, 1, 1, 0, True, 1.0),
        ("ETH", at(DAY), 8e-6, 0.0, 1, 1, 0, True, 1.0),
    ]
    assert market == [
        (at(DAY), 11e-6, 4e-6, 2, 4, 2, False, 0.5),
        (at(DAY + MINUTE), 32e-6, 0.0, 1, 1, 1, True, 1.0),
    ]


def test_the_last_word_of_a_candle_and_of_a_metric_is_shown(client, codec):
    open_late = candle(close=9.0, received_time=(DAY + 90_000) * 1_000)
    closed = candle(close=3.0, closed=True, taker_buy_micros=1_500_000, received_time=(DAY + 60_000) * 1_000)
    for order in itertools.permutations([candle(), open_late, closed]):
        client.command("TRUNCATE TABLE liquidations_data.candles")
        for one in order:
            store(client, codec, [one])
        found = client.query("SELECT close, closed, volume_usd, taker_buy_usd FROM liquidations.candles").result_rows
        assert found == [(3.0, True, 15.5, 1.5)]

    for order in itertools.permutations([metric(), metric(value=1.0, received_time=(DAY + 9_000) * 1_000)]):
        client.command("TRUNCATE TABLE liquidations_data.metrics")
        for one in order:
            store(client, codec, [one])
        assert client.query("SELECT value FROM liquidations.metrics").result_rows == [(1.0,)]


def test_coverage_and_tallies_show_the_highest_revision(client, codec):
    store(client, codec, [coverage(alive_ms=45_000), tally(events=9), tally(events=5)])

    assert client.query("SELECT alive_ms, alive_share FROM liquidations.coverage").result_rows == [(45_000, 0.75)]
    assert client.query("SELECT events, duplicates FROM liquidations.tallies").result_rows == [(9, 1)]


def test_payloads_are_readable(client, codec):
    store(
        client,
        codec,
        [
            dead_letter(1, "наличие { \n\t}".encode()),
            dead_letter(2, b"\x00\x00\x00\x00\x02binary"),
            dead_letter(3, b"\xff\xfe"),
            dead_letter(4, b""),
        ],
    )

    found = client.query(
        "SELECT payload, payload_encoding FROM liquidations.dead_letters ORDER BY sequence"
    ).result_rows

    assert found == [("наличие { \n\t}", "text"), ("AAAAAAJiaW5hcnk=", "base64"), ("//4=", "base64"), ("", "text")]


def test_years_of_events_go_into_one_insert(client, codec):
    month = 31 * 24 * HOUR
    events = [liquidation(number, event_time=DAY - month * number) for number in range(150)]

    assert store(client, codec, events) == []

    (days,) = client.query("SELECT uniqExact(toYYYYMM(event_time)) FROM liquidations.events").first_row or ()
    assert days == 150


def test_sums_of_a_view_agree_with_the_events(client, codec):
    events = [liquidation(number) for number in range(500)]
    store(client, codec, events + events[100:300])

    (total, micros) = (
        client.query("SELECT sum(notional_usd), sum(notional_micros) FROM liquidations.events").first_row or ()
    )

    assert micros == sum(event.notional_micros for event in events)
    assert math.isclose(total, micros / 1e6)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("together", [True, False])
def test_an_anomaly_is_shown_as_its_highest_revision_says(client, codec, order, together):
    life = [
        anomaly(),
        anomaly(revision=2, value=2e6, updated=DAY + 40_000),
        anomaly(revision=5, state="closed", value=3e6, ended=DAY + MINUTE, details={"events": 15.0, "bars": 1.0}),
    ]
    for block in [[life[at] for at in order]] if together else [[life[at]] for at in order]:
        store(client, codec, block)
    store(client, codec, [anomaly(DAY + MINUTE, baseline_mean=None, baseline_sd=None)])

    found = select(client, "SELECT * FROM liquidations.anomalies ORDER BY started")

    assert [row["state"] for row in found] == ["closed", "open"]
    closed, opened = found
    assert closed["anomaly_id"] == life[0].anomaly_id.hex()
    assert closed["contributors"] == [contributor.hex() for contributor in life[0].contributors]
    assert (closed["value"], closed["revision"], closed["details"]) == (3e6, 5, {"events": 15.0, "bars": 1.0})
    assert (closed["started"], closed["ended"]) == (at(DAY), at(DAY + MINUTE))
    assert (opened["ended"], opened["baseline_mean"], opened["baseline_n"]) == (None, None, 30)


def candles_of(exchange, symbol, prices, begin, traded_usd=1_000, **changes):
    return [
        candle(
            begin + number * MINUTE,
            exchange=exchange,
            symbol=symbol,
            close=price,
            low=price - 1,
            high=price + 1,
            volume_micros=traded_usd * 1_000_000,
            closed=True,
            **changes,
        )
        for number, price in enumerate(prices)
    ]


def test_a_cascade_has_the_prices_of_the_contract_that_traded_most_before_it(client, codec):
    begin, end = DAY + HOUR + 20_000, DAY + HOUR + 3 * MINUTE + 59_999
    falling = [1_000.0 - number for number in range(130)]
    store(
        client,
        codec,
        [
            cascade(begin, state="closed", end=end, revision=7),
            cascade(begin, state="open"),
            *candles_of("binance", "BTCUSDT", falling, DAY, traded_usd=900),
            *candles_of("okx", "BTC-USDT-SWAP", [price + 0.5 for price in falling], DAY, traded_usd=901),
            # More traded, but after the begin, and one of another asset.
            *candles_of("bybit", "BTCUSDT", falling[60:], DAY + HOUR, traded_usd=10_000),
            *candles_of("binance", "ETHUSDT", falling, DAY, traded_usd=10_000, asset="ETH"),
        ],
    )

    (found,) = select(client, "SELECT * FROM liquidations.cascades WHERE begin >= '2024-12-05 00:00:00'")

    assert (found["state"], found["begin"], found["end"]) == ("closed", at(begin), at(end))
    assert (found["reference_exchange"], found["reference_symbol"]) == ("okx", "BTC-USDT-SWAP")
    # The candle of minute n closes at 1000.5 - n. It began in minute 60 and ended in minute 63.
    assert found["reference_before"] == 1_000.5 - 59
    assert found["reference_extreme"] == 1_000.5 - 63 - 1
    assert [found[f"price_after_{minutes}m"] for minutes in (1, 5, 15, 60)] == [
        1_000.5 - minute for minute in (64, 68, 78, 123)
    ]
    assert (found["long_usd"], found["peak_usd_per_second"]) == (7_000_000.5, 900_000.0)


def test_prices_of_a_cascade_are_null_where_no_candle_tells_them(client, codec):
    begin = DAY + HOUR
    gap = [one for one in candles_of("okx", "BTC-USDT-SWAP", range(100, 170), DAY) if one.start != begin + 6 * MINUTE]
    store(
        client,
        codec,
        [
            cascade(begin, end=begin + MINUTE, state="closed"),
            cascade(begin + 1, state="open"),
            cascade(begin, asset="DOGE", cascade_id=bytes(16), end=begin + MINUTE, state="closed"),
            *gap,
            # Not over yet: its price may still change.
            candle(begin + 16 * MINUTE, exchange="okx", symbol="BTC-USDT-SWAP", closed=False),
        ],
    )

    rows = select(client, "SELECT * FROM liquidations.cascades ORDER BY asset, begin")
    after = [[row[f"price_after_{minutes}m"] for minutes in (1, 5, 15, 60)] for row in rows]

    assert after == [[162, None, None, None], [None] * 4, [None] * 4]
    assert [row["reference_symbol"] for row in rows] == ["BTC-USDT-SWAP", "BTC-USDT-SWAP", None]
    assert [row["reference_before"] for row in rows] == [159, 159, None]


def test_cascades_of_a_time_range_are_those_of_all_that_begin_in_it(client, codec):
    chance = random.Random(5)
    begins = sorted(DAY + chance.randrange(3 * 24 * HOUR) for _ in range(40))
    store(
        client,
        codec,
        [
            cascade(begin, cascade_id=number.to_bytes(16), state="closed", end=begin + chance.randrange(3 * HOUR))
            for number, begin in enumerate(begins)
        ],
    )
    for contract, hours in (("BTCUSDT", 50), ("BTCUSD", 80)):
        prices = [1_000.0 + chance.randrange(100) for _ in range(60 * hours)]
        store(client, codec, candles_of("binance", contract, prices, DAY - HOUR, traded_usd=chance.randrange(1, 9)))
    every = client.query("SELECT * FROM liquidations.cascades ORDER BY begin, cascade_id").result_rows
    assert len({row[19:24] for row in every}) > 20

    for first, last in ((0, 39), (0, 0), (7, 30), (20, 21)):
        arguments = f"from_ms = {begins[first]}, to_ms = {begins[last]}"
        found = client.query(
            f"SELECT * FROM liquidations.cascades_between({arguments}) ORDER BY begin, cascade_id"
        ).result_rows
        assert found == every[first : last + 1]


@pytest.mark.parametrize(("view", "table"), [("cascades_between", "candles"), ("regimes_between", "bars")])
def test_a_view_of_a_time_range_reads_one_month(client, codec, view, table):
    """Each month is a partition; the plain view reads all of them."""
    month = 31 * 24 * HOUR
    for number in range(6):
        begin = DAY + month * number
        found = cascade(begin, cascade_id=bytes([number] * 16), state="closed", end=begin + MINUTE)
        store(client, codec, [bar(begin), coverage(begin), found, *candles_of("okx", "BTC-USD", [1.0], begin)])
    arguments = f"from_ms = {DAY + 3 * month}, to_ms = {DAY + 3 * month + HOUR}"

    plan = [
        line
        for (line,) in client.query(f"EXPLAIN indexes = 1 SELECT * FROM liquidations.{view}({arguments})").result_rows
    ]

    reads = [number for number, line in enumerate(plan) if re.search(rf"ReadFromMergeTree \(.*{table}\)", line)]
    assert reads
    for number in reads:
        parts = next(line for line in plan[number + 1 :] if "Parts: " in line)
        assert int(re.search(r"Parts: (\d+)", parts)[1]) <= 1, plan[number]


def test_ratios_are_shares_of_the_traded_volume_and_null_where_it_is_not_known(client, codec):
    store(
        client,
        codec,
        [
            bar(DAY, long_micros=30_000_000, short_micros=10_000_000),
            bar(DAY + MINUTE, long_micros=0, short_micros=5_000_000),
            bar(DAY + 2 * MINUTE, long_micros=1_000_000, short_micros=0),
            bar(DAY + 7 * MINUTE, long_micros=1_000_000, short_micros=0),
            candle(DAY, volume_micros=100_000_000, closed=True),
            candle(DAY + MINUTE, volume_micros=0, closed=True),
            candle(DAY + 2 * MINUTE, volume_micros=900_000_000, closed=False),
            candle(DAY + 3 * MINUTE, volume_micros=100_000_000, closed=True),
            candle(DAY + 4 * MINUTE, volume_micros=100_000_000, closed=True),
            candle(DAY, exchange="bybit", volume_micros=1, closed=True),
        ],
    )
    minutes = select(client, "SELECT * FROM liquidations.ratios_1m ORDER BY start")
    assert [(row["start"], row["volume_usd"], row["long_ratio"], row["short_ratio"]) for row in minutes] == [
        (at(DAY), 100.0, 0.3, 0.1),
        (at(DAY + MINUTE), 0.0, None, None),
        (at(DAY + 2 * MINUTE), None, None, None),
        (at(DAY + 7 * MINUTE), None, None, None),
    ]
    assert {row["exchange"] for row in minutes} == {"binance"}
    fives = select(client, "SELECT * FROM liquidations.ratios_5m ORDER BY start")
    assert [(row["long_usd"], row["volume_usd"], row["long_ratio"]) for row in fives] == [
        (31.0, None, None),
        (1.0, None, None),
    ]

    store(client, codec, [candle(DAY + 2 * MINUTE, volume_micros=700_000_000, closed=True)])

    fives = select(client, "SELECT * FROM liquidations.ratios_5m WHERE start = '2024-12-05 00:00:00'")
    assert [(row["volume_usd"], row["long_ratio"], row["short_ratio"]) for row in fives] == [(1_000.0, 0.031, 0.015)]
    hours = select(client, "SELECT * FROM liquidations.ratios_1h")
    assert [(row["long_usd"], row["short_usd"], row["long_ratio"]) for row in hours] == [(32.0, 15.0, None)]
    store(client, codec, [candle(DAY + n * MINUTE, volume_micros=50_000_000, closed=True) for n in range(5, 60)])
    hours = select(client, "SELECT * FROM liquidations.ratios_1h")
    assert [(row["volume_usd"], row["long_ratio"]) for row in hours] == [(3_750.0, 32 / 3_750)]


def quantile_exact(values, level):
    return sorted(values)[int(level * len(values))]


def test_regimes_are_by_the_assets_own_quantiles_of_the_days_before(client, codec):
    chance = random.Random(4)
    five, records, by_bar = 5 * MINUTE, [], {}
    for number in range(3 * 288):
        start = DAY + number * five
        for exchange, channel in (("binance", "forceOrder"), ("okx", "SWAP")):
            is_deaf = exchange == "okx" and 100 <= number < 130
            records += [
                coverage(start + minute * MINUTE, 0 if is_deaf else 60_000, exchange=exchange, channel=channel)
                for minute in range(5)
            ]
        longs, shorts = (0, 0) if chance.random() < 0.05 else (chance.randrange(1, 100), chance.randrange(5))
        micros = round(10 ** chance.uniform(6, 11)) if longs else 0
        by_bar[start] = micros, longs + shorts, 100 <= number < 130
        if longs + shorts:
            records.append(
                bar(start + MINUTE, long_micros=micros, short_micros=0, long_count=longs, short_count=shorts)
            )
    records += [liquidation(1), liquidation(2, exchange="okx", source=Source("SWAP", "tokyo-1", 2, 0))]
    store(client, codec, records)

    rows = select(client, "SELECT * FROM liquidations.regimes WHERE asset = 'BTC' ORDER BY start")

    assert [row["start"] for row in rows] == [at(start) for start in by_bar]
    assert {row["regime"] for row in rows[:288]} == {None}
    assert [row["coverage"] for row in rows[98:102]] == [1.0, 1.0, 0.5, 0.5]
    for day in (1, 2):
        history = [found for found in list(by_bar.values())[: day * 288] if not found[2]]
        usd, events = [found[0] for found in history], [found[1] for found in history]
        today = slice(day * 288, day * 288 + 288)
        for row, (micros, count, _) in zip(rows[today], list(by_bar.values())[today], strict=True):
            assert row["history_bars"] == len(history)
            high = micros > quantile_exact(usd, 0.9), count > quantile_exact(events, 0.9)
            low = micros <= quantile_exact(usd, 0.25), count <= quantile_exact(events, 0.25)
            expected = {
                (True, True, False, False): "broad_stress",
                (True, False, False, True): "large_positions",
                (False, True, True, False): "retail_washout",
                (False, False, True, True): "quiet",
            }.get((*high, *low), "ordinary")
            assert row["regime"] == expected
            assert row["low_count"] == quantile_exact(events, 0.25)
    for first, last in ((0, 863), (300, 300), (287, 290), (250, 700)):
        arguments = f"from_ms = {DAY + first * five}, to_ms = {DAY + last * five}"
        found = select(client, f"SELECT * FROM liquidations.regimes_between({arguments}) ORDER BY asset, start")
        assert found == rows[first : last + 1]
    assert {row["regime"] for row in rows} == {
        None,
        "ordinary",
        "quiet",
        "broad_stress",
        "large_positions",
        "retail_washout",
    }


def test_bars_of_which_no_coverage_is_known_have_no_regime(client, codec):
    times = [DAY, DAY + 5 * MINUTE, DAY + 10 * MINUTE]
    store(
        client,
        codec,
        [liquidation(1), *(bar(time) for time in times), *(coverage(times[1] + n * MINUTE) for n in range(5))],
    )

    rows = select(client, "SELECT * FROM liquidations.regimes ORDER BY start")

    assert [(row["start"], row["coverage"], row["regime"]) for row in rows] == [
        (at(times[0]), None, None),
        (at(times[1]), 1.0, None),
        (at(times[2]), None, None),
    ]
    assert len({row["usd"] for row in rows}) == 1


def test_the_newest_row_of_each_kind_in_a_time_range(client, codec):
    unheard = liquidation(3, event_time=DAY + 4_000, event_time_kind="received", received_time=(DAY + 9_000) * 1_000)
    store(
        client,
        codec,
        [
            liquidation(1, event_time=DAY, received_time=(DAY + 1_000) * 1_000),
            liquidation(1, event_time=DAY, received_time=(DAY + 8_000) * 1_000),
            unheard,
            bar(DAY),
            bar(DAY + MINUTE),
            coverage(DAY + MINUTE),
            heartbeat(DAY + 7_000),
            heartbeat(DAY + 8_000),
            candle(DAY + MINUTE),
        ],
    )

    def newest(begin, end):
        rows = select(client, f"SELECT * FROM liquidations.newest_between(from_ms = {begin}, to_ms = {end})")
        return {row["kind"]: row["newest"] for row in rows}

    (read,) = select(client, "SELECT received_time FROM liquidations.candles")
    assert newest(DAY, DAY + HOUR) == {
        "events": at(DAY + 9_000),
        "bars_1m": at(DAY + MINUTE),
        "coverage": at(DAY + 2 * MINUTE),
        "heartbeats": at(DAY + 8_000),
        "candles": read["received_time"].replace(microsecond=read["received_time"].microsecond // 1_000 * 1_000),
    }
    assert newest(DAY, DAY) == {"events": at(DAY + 8_000), "bars_1m": at(DAY), "heartbeats": at(DAY + 8_000)}
    assert newest(DAY - HOUR, DAY - 1) == {}


def test_the_delay_of_the_market_is_that_of_the_last_word_in_the_minute(client, codec):
    store(client, codec, [market_delay(revision=2, watermark=DAY + 4_900), market_delay(revision=1)])
    store(client, codec, [market_delay(DAY + MINUTE, watermark=None, most_ms=0)])

    said, unheard = select(client, "SELECT * FROM liquidations.market_delay ORDER BY start")

    assert (said["delay_ms"], said["most_delay_ms"], said["held_by"], said["waiting"]) == (100, 2_500, 3, 7)
    assert (unheard["watermark"], unheard["delay_ms"]) == (None, None)


def test_arrivals_tell_how_long_rows_took_and_leave_recordings_out(client, codec):
    now_ms = client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0]
    delays_s = (1, 2, 3, 4, 3_600)
    live_ones = [liquidation(number, received_time=(now_ms - s * 1_000) * 1_000) for number, s in enumerate(delays_s)]
    ahead = liquidation(90, received_time=(now_ms + 60_000) * 1_000)
    store(client, codec, [*live_ones, ahead, *(liquidation(100 + number) for number in range(20))])
    store(client, codec, live_ones[:1])

    rows = select(client, "SELECT * FROM liquidations.arrivals")

    assert sum(row["events"] for row in rows) == 7
    assert {row["start"].second for row in rows} == {0}
    assert max(row["most_ms"] for row in rows) >= 3_600_000
    assert min(row["p50_ms"] for row in rows) >= 0
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["most_ms"] for row in rows)


def test_storage_tells_the_room_of_each_table_and_month(client, codec):
    months = (DAY, DAY + 40 * 24 * HOUR)
    store(client, codec, [liquidation(number, event_time=months[number % 2]) for number in range(200)])

    rows = {(row["table"], row["month"]): row for row in select(client, "SELECT * FROM liquidations.storage")}

    assert {key for key in rows if key[0] == "events"} == {
        ("events", datetime(2024, 12, 1).date()),  # noqa: DTZ001 - a date
        ("events", datetime(2025, 1, 1).date()),  # noqa: DTZ001
    }
    assert sum(row["rows"] for (table, _), row in rows.items() if table == "events") == 200
    assert rows["symbols", None]["rows"] > 0
    assert all(row["bytes"] > 0 and row["bytes_uncompressed"] > 0 for row in rows.values())
    assert not any(table == "migrations" for table, _ in rows)


def test_seconds_of_the_market_have_every_event_once(client, codec):
    events = [
        liquidation(1, event_time=DAY + 1_000, position="long"),
        liquidation(2, event_time=DAY + 1_999, position="short", asset="ETH", exchange="bybit"),
        liquidation(3, event_time=DAY + 2_000, position="long"),
    ]
    store(client, codec, [*events, events[0]])

    first, second = select(client, "SELECT * FROM liquidations.market_1s WHERE start >= '2024-12-05' ORDER BY start")

    assert (first["start"], second["start"]) == (at(DAY + 1_000), at(DAY + 2_000))
    assert (first["long_count"], first["short_count"], first["exchanges"], first["assets"]) == (1, 1, 2, 2)
    assert first["long_usd"] * 1e6 == events[0].notional_micros
    assert first["short_usd"] * 1e6 == events[1].notional_micros


def test_seconds_of_the_market_are_found_by_the_primary_key(client, codec):
    store(client, codec, [liquidation(number, event_time=DAY + number) for number in range(100)])
    plan = client.query(
        "EXPLAIN indexes = 1 SELECT * FROM liquidations.market_1s WHERE start >= '2024-12-05' AND start < '2024-12-06'"
    ).result_rows
    _, _, key = " ".join(line for (line,) in plan).partition("PrimaryKey")
    assert "toStartOfSecond(event_time) in" in key


@pytest.mark.parametrize("view", ["surges_1m", "surges_5m", "surges_1h"])
def test_a_filter_by_day_reads_one_month_of_surges(client, codec, view):
    """Each month is a partition; no branch of the view reads the others."""
    for months in range(6):
        store(client, codec, [bar(DAY + 31 * 24 * HOUR * months), coverage(DAY + 31 * 24 * HOUR * months)])
    query = f"SELECT * FROM liquidations.{view} WHERE day = '2025-02-10'"

    plan = [line for (line,) in client.query(f"EXPLAIN indexes = 1 {query}").result_rows]

    reads = [number for number, line in enumerate(plan) if re.search(r"ReadFromMergeTree \(.*(bars|coverage)\)", line)]
    assert len(reads) >= 8
    for number in reads:
        parts = next(line for line in plan[number + 1 :] if "Parts: " in line)
        assert int(re.search(r"Parts: (\d+)", parts)[1]) <= 1, plan[number]
