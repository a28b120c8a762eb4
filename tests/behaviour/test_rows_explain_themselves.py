"""What the worker found in a simulated week, worked out again in SQL from the stored events and candles alone.

A reader has the row's columns and `details`, and the tables: every number of a row can be found again. Bounds of surges
are in test_surge_views.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from event_logs import Published, Record, candle, liquidation, run
from market_week import CONTRACTS, DAYS, MINUTE, market_week
from unit.warehouse.rows import DAY, store

from pipeline.codec import Codec
from pipeline.detect.detectors import regime as regime_detector
from pipeline.detect.detectors.regime import RegimeDetector
from pipeline.detect.market.market import Market
from pipeline.detect.regime import Bounds
from pipeline.detect.rules import Rules, read_rules
from pipeline.records import Anomaly, Bar, Candle
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.windows.parameters import WindowParameters

# A week is short for what is rare: little is asked of quiet periods and ratios.
RULES = read_rules("[regime]\nquiet_bars = 2\n[ratio]\nthreshold = 0.1\n")
KINDS = ("surge", "rolling_threshold", "cascade", "quiet", "ratio")
FIVE_MINUTES = 5 * MINUTE


@dataclass
class Week:
    """The folded week, its rows, and the regime that the worker's rule gave each bar by asset and start."""

    published: Published
    market: list[Anomaly]
    regimes: dict[tuple[str, int], str] = field(default_factory=dict)


def time_of(record: Record) -> int:
    """Return when (ms) a record came."""
    return record.received_time // 1_000 if hasattr(record, "received_time") else record.time


@pytest.fixture(scope="module")
def log() -> list[Record]:
    """The week with minute candles of one contract, which come a second after their minute.

    On the fifth day some bars of one contract have many more, tiny events.
    """
    fifth = DAY + 4 * 24 * 60 * MINUTE
    tiny = [
        liquidation(10**7 + number, fifth + number * 20_000, CONTRACTS[1], "long", 1_000_000, completeness="full")
        for number in range(90)
    ]
    records = sorted([*market_week(), *tiny], key=time_of)
    minutes = iter(range(DAY, DAY + DAYS * 24 * 60 * MINUTE, MINUTE))
    start, found = next(minutes), []
    for record in records:
        while start is not None and time_of(record) >= start + MINUTE + 1_000:
            close = 100.0 + (start - DAY) // MINUTE * 13 % 7 / 100
            found.append(candle(start, CONTRACTS[0], close, (50_000 + start // MINUTE % 90_000) * 1_000_000))
            start = next(minutes, None)
        found.append(record)
    return found


@pytest.fixture(scope="module")
def week(log: list[Record]) -> Iterator[Week]:
    """Fold the week, and note what the worker's own rule says of each bar."""
    regimes: dict[tuple[str, int], str] = {}
    bar: list[tuple[str, int]] = []
    close_bar, regime_of = RegimeDetector._close_bar, regime_detector.regime_of

    def noted_close_bar(self: RegimeDetector, asset: str, known: Any, start: int, micros: int, events: int) -> None:
        bar[:] = [(asset, start)]
        close_bar(self, asset, known, start, micros, events)

    def noted_regime_of(micros: int, events: int, bounds: Bounds) -> str:
        regimes[bar[0]] = regime_of(micros, events, bounds)
        return regimes[bar[0]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegimeDetector, "_close_bar", noted_close_bar)
        patch.setattr(regime_detector, "regime_of", noted_regime_of)
        published, _ = run(log, parameters=WindowParameters(silence_probability=0), rules=RULES)
    market = Market(RULES, 1)
    market.take_pulses(published.pulses, 0)
    return Week(published, [one for one in market.take().anomalies if isinstance(one, Anomaly)], regimes)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, log: list[Record], week: Week) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('explained')}")
    migrate(client)
    latest = week.published.latest()
    rows = [
        *(Bar(**fields) for fields in latest.bars.values()),
        *latest.coverage.values(),
        *latest.contracts.values(),
        *latest.anomalies.values(),
        *latest.cascades.values(),
        *week.market,
        *(record for record in log if not hasattr(record, "frames")),
    ]
    assert store(client, Codec(), rows) == []
    yield client
    client.close()


def rows_of(client: Client, kind: str) -> list[dict[str, Any]]:
    result = client.query(
        "SELECT * EXCEPT (started, ended, updated), toUnixTimestamp64Milli(started) AS started,"
        " toUnixTimestamp64Milli(ended) AS ended, toUnixTimestamp64Milli(updated) AS updated"
        " FROM liquidations.anomalies WHERE kind = {kind:String} ORDER BY started, anomaly_id",
        parameters={"kind": kind},
    )
    return list(result.named_results())


def events_of(client: Client, row: Mapping[str, Any], begin: int, end: int, position: str | None = None) -> Any:
    """Return USD, number and largest ids of a row's events from `begin` to before `end` (ms)."""
    (found,) = client.query(
        "SELECT sum(notional_usd), count(),"
        " arraySlice(arrayMap(one -> one.2, arraySort(groupArray((-notional_usd, event_id)))), 1, 10)"
        " FROM liquidations.events"
        " WHERE event_time >= fromUnixTimestamp64Milli({begin:Int64})"
        " AND event_time < fromUnixTimestamp64Milli({end:Int64})"
        " AND {asset:String} IN ('', asset) AND {exchange:String} IN ('', exchange) AND {symbol:String} IN ('', symbol)"
        " AND {position:String} IN ('both', position)",
        parameters={
            "begin": begin,
            "end": end,
            **{name: row[name] for name in ("asset", "exchange", "symbol")},
            "position": position or row["position"],
        },
    ).result_rows
    return found


def some(rows: list[dict[str, Any]], count: int = 60) -> list[dict[str, Any]]:
    """Return some of the rows, spread over all of them."""
    return rows[:: max(1, len(rows) // count)]


def test_there_are_rows_of_every_kind(client):
    found = dict(client.query("SELECT kind, count() FROM liquidations.anomalies GROUP BY kind").result_rows)
    assert set(found) == set(KINDS)
    assert min(found.values()) > 10, found


def test_a_surge_is_the_sum_of_its_bar(client):
    rows = rows_of(client, "surge")
    for row in some(rows, 120):
        usd, events, largest = events_of(client, row, row["started"], row["started"] + row["interval_ms"])
        assert row["value"] == pytest.approx(usd if row["measure"] == "usd" else events), row
        assert row["details"]["usd"] == pytest.approx(usd), row
        assert row["details"]["events"] == events, row
        assert row["contributors"] == largest, row
        assert row["value"] > row["threshold"] == pytest.approx(row["baseline_mean"] + 2.5 * row["baseline_sd"]), row


def test_a_threshold_was_passed_by_the_sum_of_the_hour(client):
    rows = rows_of(client, "rolling_threshold")
    assert {row["scope"] for row in rows} == {"asset", "market"}
    for row in rows:
        second = row["started"] - row["started"] % 1_000
        # Seconds are whole: what is as old as the hour has left.
        begin, end = second - 3_600_000 + 1_000, row["started"] + 1
        usd, _, largest = events_of(client, row, begin, second + 1_000 if row["scope"] == "market" else end)
        assert row["value"] == pytest.approx(usd), row
        assert row["threshold"] == 1_000_000 * 2 ** row["level"] < row["value"] <= 2 * row["threshold"], row
        assert row["details"]["next_threshold_usd"] == 2 * row["threshold"]
        if row["scope"] == "asset":
            assert row["contributors"] == largest, row


def test_a_cascade_is_the_sum_of_its_run(client):
    for row in rows_of(client, "cascade"):
        usd, events, largest = events_of(client, row, row["started"], row["ended"])
        opposite = {"long": "short", "short": "long"}[row["position"]]
        first = row["started"] - row["started"] % 1_000
        other_usd, _, _ = events_of(client, row, first, row["ended"], opposite)
        details = row["details"]
        assert (row["value"], details["events"]) == (pytest.approx(usd), events), row
        assert row["contributors"] == largest, row
        assert details["one_sidedness"] == pytest.approx(usd / (usd + details["opposite_usd"])), row
        assert details["opposite_usd"] <= other_usd * (1 + 1e-9), row
        assert (row["value"] > row["threshold"] >= 100_000, details["events"] >= 5) == (True, True), row


def test_a_ratio_is_what_was_liquidated_of_what_was_traded(client):
    for row in rows_of(client, "ratio"):
        usd, events, _ = events_of(client, row, row["started"], row["started"] + row["interval_ms"])
        ((traded, minutes),) = client.query(
            "SELECT sum(volume_usd), count() FROM liquidations.candles WHERE exchange = {exchange:String}"
            " AND symbol = {symbol:String} AND start >= fromUnixTimestamp64Milli({begin:Int64})"
            " AND start < fromUnixTimestamp64Milli({end:Int64})",
            parameters={
                "exchange": row["exchange"],
                "symbol": row["symbol"],
                "begin": row["started"],
                "end": row["started"] + row["interval_ms"],
            },
        ).result_rows
        assert minutes == 5
        assert row["value"] == pytest.approx(usd / traded), row
        assert row["details"] == {
            "liquidated_usd": pytest.approx(usd),
            "traded_usd": pytest.approx(traded),
            "events": events,
        }


def test_a_quiet_period_is_made_of_its_bars(client):
    for row in rows_of(client, "quiet"):
        bars = [
            events_of(client, row, start, start + FIVE_MINUTES)
            for start in range(row["started"], row["ended"] or row["updated"], FIVE_MINUTES)
        ]
        assert row["details"]["bars"] == len(bars), row
        assert row["value"] == pytest.approx(max(usd for usd, _, _ in bars)), row
        assert row["value"] <= row["threshold"], row
        assert row["details"]["usd"] == pytest.approx(sum(usd for usd, _, _ in bars)), row
        assert max(events for _, events, _ in bars) <= row["details"]["low_events"], row


def test_the_worker_and_the_view_see_the_same_regimes(client, week):
    default = Rules().regime
    assert (RULES.regime.low, RULES.regime.high) == (default.low, default.high)
    view = {
        (asset, start): regime
        for asset, start, regime in client.query(
            "SELECT asset, toUnixTimestamp64Milli(start), regime FROM liquidations.regimes WHERE regime IS NOT NULL"
        ).result_rows
    }
    assert len(view) > 4_000
    assert set(view.values()) == {
        "broad_stress",
        "large_positions",
        "retail_washout",
        "quiet",
        "ordinary",
    }
    assert {key: week.regimes.get(key) for key in view} == view
    # The worker asks of less covered bars, too, whether a quiet period goes on.
    assert len(week.regimes) - len(view) < 10


def test_quiet_periods_are_the_rows_of_quiet_bars_in_the_view(client):
    bars = client.query(
        "SELECT asset, toUnixTimestamp64Milli(start), coalesce(usd <= low_usd AND count <= low_count, false), coverage"
        " FROM liquidations.regimes WHERE start < fromUnixTimestamp64Milli({end:Int64}) ORDER BY asset, start",
        parameters={"end": DAY + DAYS * 24 * 60 * MINUTE},
    ).result_rows
    periods: dict[tuple[str, int], int] = {}
    now = None
    for asset, start, is_low, coverage in bars:
        goes_on = now is not None and now[0] == asset
        # A period goes on through bars that are partly covered, and begins with none.
        if not is_low or not coverage or (coverage < 0.9 and not goes_on):
            now = None
        elif goes_on:
            periods[now] += 1
        else:
            now = asset, start
            periods[now] = 1
    rows = {(row["asset"], row["started"]): row["details"]["bars"] for row in rows_of(client, "quiet")}
    assert {key: bars for key, bars in periods.items() if bars >= 2} == rows


def test_the_log_has_candles(log):
    assert sum(isinstance(record, Candle) for record in log) > 10_000
