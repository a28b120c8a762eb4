"""Pictures of findings hold what was found and what was true, and can be drawn."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.embedded.simulator.leverage import SCENARIOS, Outage, TrueLedger, TrueOrder
from pipeline.records import Anomaly

HERE = Path(__file__).resolve().parent
USD = 1_000_000
START_MS = SCENARIOS["stress"].start_ms
MINUTE_MS = 60_000
KINDS = ("cascade", "surge", "rolling_threshold", "silent_channel", "ratio", "quiet")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    names = ("watch", "truths", "scores", "detection", "pictures")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


def anomaly(kind, begin, end, **fields):
    usual = {"scope": "asset", "asset": "BTC", "exchange": "", "symbol": "", "position": "long", "measure": "usd"}
    usual |= {"interval_ms": 0, "level": 0, "value": 1.0, "threshold": 1e6}
    return Anomaly(
        anomaly_id=kind.encode(),
        kind=kind,
        state="closed",
        baseline_mean=None,
        baseline_sd=None,
        baseline_n=0,
        coverage=1.0,
        completeness="full",
        degraded=False,
        started=START_MS + begin,
        updated=START_MS + end,
        ended=START_MS + end,
        details={},
        contributors=[],
        rules_hash="0" * 16,
        revision=1,
        **(usual | fields),
    )


@pytest.fixture
def watched(bench):
    """Return five hours: a cascade of five orders from 02:00 on, one finding of every rule, a silence of Binance."""
    outage = Outage("binance", 7_200, 9_000, "silent")
    ledger = TrueLedger(SimpleNamespace(start_ms=START_MS, seconds=18_000, outages=(outage,)))
    for number in range(5):
        time_ms = START_MS + 120 * MINUTE_MS + number * 10_000
        ledger.add(TrueOrder(time_ms, "binance", "BTCUSDT", "BTC", "long", 500_000 * USD, number > 1))
    ledger.close()
    found = bench.watch.Watched(ledger, events=5, micros=2_500_000 * USD)
    for number in range(300):
        found.traded["binance", "BTCUSDT", START_MS + number * MINUTE_MS] = 2_000_000 * USD
    contract = {"scope": "instrument", "exchange": "binance", "symbol": "BTCUSDT", "measure": "share"}
    channel = {"scope": "channel", "asset": "", "exchange": "binance", "symbol": "forceOrder"}
    for one in (
        anomaly("cascade", 7_200_000, 7_245_000),
        anomaly("surge", 7_200_000, 7_260_000, position="both", interval_ms=MINUTE_MS),
        anomaly("rolling_threshold", 7_220_000, 9_000_000, level=1),
        anomaly("silent_channel", 7_300_000, 9_000_000, **channel),
        anomaly("ratio", 7_200_000, 7_500_000, interval_ms=300_000, value=0.25, **contract),
        anomaly("quiet", 9_000_000, 14_400_000, position="both", interval_ms=300_000),
    ):
        found.hear(one, one.started + 2_000)
    return found


def values(spec, part, layer=None):
    found = spec["vconcat"][part]
    return (found if layer is None else found["layer"][layer])["data"]["values"]


def test_every_rule_has_a_picture_that_can_be_drawn(bench, watched):
    assert set(bench.pictures.PICTURES) == set(KINDS)
    for _, draw in bench.pictures.PICTURES.values():
        svg = bench.pictures.svg_of(draw(watched))
        assert svg.startswith("<svg")


def test_a_cascade_stands_beside_the_true_one(bench, watched):
    spec = bench.pictures.cascade(watched)
    assert {(one["row"], one["time"] - START_MS, one["end"] - START_MS) for one in values(spec, 1)} == {
        ("true", 7_200_000, 7_240_000),
        ("found", 7_202_000, 7_245_000),
    }
    assert sum(one["usd"] for one in values(spec, 0)) == 2_500_000


def test_shorts_are_drawn_below(bench, watched):
    watched.ledger.add(
        TrueOrder(START_MS + 121 * MINUTE_MS, "gate", "BTC_USDT", "BTC", "short", 70_000 * USD, caused=False)
    )
    shown = values(bench.pictures.silent_channel(watched), 0)
    assert {one["position"] for one in shown} == {"long"}
    shown = values(bench.pictures.cascade(watched), 0)
    assert [one["usd"] for one in shown if one["position"] == "short"] == [-70_000]


def test_the_hour_and_its_fires(bench, watched):
    spec = bench.pictures.rolling_threshold(watched)
    line = {one["time"] - START_MS: one["usd"] for one in values(spec, 0, 0)}
    assert max(line.values()) == 2_500_000
    assert values(spec, 0, 1) == [{"time": START_MS + 7_222_000, "usd": 1e6, "level": "1"}]


def test_a_ratio_stands_beside_the_true_one(bench, watched):
    spec = bench.pictures.ratio(watched)
    assert values(spec, 0, 0) == [
        {"time": START_MS + 7_200_000, "end": START_MS + 7_500_000, "share": 0.25, "position": "long"}
    ]
    assert {(one["row"], one["time"] - START_MS, one["end"] - START_MS) for one in values(spec, 1)} == {
        ("true", 7_200_000, 7_500_000),
        ("found", 7_200_000, 7_500_000),
    }


def test_a_quiet_period_is_drawn_from_when_it_was_said(bench, watched):
    spec = bench.pictures.quiet(watched)
    assert [(one["row"], one["time"] - START_MS, one["end"] - START_MS) for one in values(spec, 1)] == [
        ("found", 9_002_000, 14_400_000)
    ]
    assert sum(one["usd"] for one in values(spec, 0)) == 2_500_000
