"""The scorer is honest: known truths and known findings give known scores."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.embedded.simulator.leverage import SCENARIOS, TrueCascade, TrueLedger, TrueOrder, TrueOutage
from pipeline.records import Anomaly

HERE = Path(__file__).resolve().parent
USD = 1_000_000
HOUR_MS = 3_600_000
START_MS = SCENARIOS["stress"].start_ms


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    names = ("watch", "truths", "scores", "detection")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def sighting(bench):
    def make(begin, end=None, said=None, said_end=None, **fields):
        usual = {"kind": "cascade", "scope": "asset", "asset": "BTC", "exchange": "", "symbol": "", "position": "long"}
        usual |= {"measure": "usd", "interval_ms": 0, "level": 0, "value": 1.0, "threshold": 1.0}
        anomaly = Anomaly(
            anomaly_id=repr((begin, end, said, sorted(fields.items()))).encode(),
            state="open" if end is None else "closed",
            baseline_mean=None,
            baseline_sd=None,
            baseline_n=0,
            coverage=1.0,
            completeness="full",
            degraded=False,
            started=begin,
            updated=begin if end is None else end,
            ended=end,
            details={},
            contributors=[],
            rules_hash="0" * 16,
            revision=1,
            **(usual | fields),
        )
        return bench.watch.Sighting(anomaly, begin if said is None else said, said_end)

    return make


def cascade(begin, end, usd=1_000_000, asset="BTC", position="long"):
    return TrueCascade(asset, position, begin, begin, end, usd * USD, 10, 8, ("gate",))


def order(time_ms, usd, asset="BTC", position="long"):
    return TrueOrder(time_ms, "gate", f"{asset}_USDT", asset, position, round(usd * USD), False)


def test_cascades_are_hit_where_they_overlap(bench, sighting):
    true = [cascade(100_000, 160_000, 3_000_000), cascade(400_000, 420_000), cascade(0, 60_000, 900_000, asset="ETH")]
    found = [
        sighting(110_000, 170_000, said=112_000, said_end=181_000),
        sighting(150_000, 165_000, said=152_000, said_end=190_000),
        sighting(300_000, 330_000),
        sighting(110_000, 160_000, position="short"),
    ]
    score = bench.scores.score_cascades(true, found)
    assert (score.true, score.hit, score.found, score.right) == (3, 1, 4, 2)
    assert score.recall == pytest.approx(1 / 3)
    assert score.precision == 0.5
    assert score.delays_s == [12.0]
    assert score.more == {"large_recall": 0.5, "usd_recall": pytest.approx(3 / 4.9), "end_delay_s": 30.0}
    assert score.false_alarms_per_day(2 * 86_400) == 1.0


def test_nothing_found_and_nothing_true_are_no_shares(bench, sighting):
    nothing = bench.scores.score_cascades([], [])
    assert (nothing.recall, nothing.precision, nothing.delay_s) == (None, None, None)
    assert bench.scores.score_cascades([], [sighting(0, 1)]).precision == 0.0
    assert bench.scores.score_cascades([cascade(0, 1)], []).recall == 0.0


def levels(bench, *orders):
    return [(one.asset, one.time, one.level) for one in bench.truths.passings(orders, 1e6, HOUR_MS, 2 * HOUR_MS)]


def test_true_passings_keep_the_edge_cases(bench):
    """Those of `rules_and_formulas` 7, each order alone in its market."""
    both = bench.truths.MARKET
    assert levels(bench, order(0, 1_000_000)) == []
    assert levels(bench, order(0, 8_100_000)) == [("BTC", 0, 3), (both, 0, 3)]
    assert levels(bench, order(0, 2_000_000)) == [("BTC", 0, 0), (both, 0, 0)]
    first = order(0, 1_500_000)
    assert len(levels(bench, first, order(2 * HOUR_MS, 1_500_000))) == 2
    assert levels(bench, first, order(2 * HOUR_MS + 1, 1_500_000))[2:] == [
        ("BTC", 2 * HOUR_MS + 1, 0),
        (both, 2 * HOUR_MS + 1, 0),
    ]
    assert levels(bench, order(0, 600_000), order(HOUR_MS, 600_000)) == []
    assert len(levels(bench, order(0, 600_000), order(HOUR_MS - 1, 600_000))) == 2


def test_the_market_is_the_sum_of_its_assets(bench):
    orders = [order(0, 700_000), order(1, 700_000, "ETH"), order(2, 700_000, "ETH")]
    assert levels(bench, *orders) == [(bench.truths.MARKET, 1, 0), ("ETH", 2, 0), (bench.truths.MARKET, 2, 1)]


def test_passings_are_hit_in_time_and_at_their_level(bench, sighting):
    orders = [order(0, 3_000_000), order(HOUR_MS // 2, 3_000_000), order(HOUR_MS // 2, 900_000, "ETH")]
    true = [one for one in bench.truths.passings(orders, 1e6, HOUR_MS, 2 * HOUR_MS) if one.asset]
    assert [(one.asset, one.level) for one in true] == [("BTC", 1), ("BTC", 2)]
    sums = bench.truths.hour_sums(orders, HOUR_MS)

    def fire(time_ms, level, asset="BTC"):
        return sighting(time_ms, asset=asset, kind="rolling_threshold", level=level, threshold=1e6 * 2**level)

    late = HOUR_MS // 2 + 700_000
    found = [fire(2_000, 0), fire(30_000, 1), fire(late, 2), fire(late, 3), fire(late, 0, "ETH")]
    score = bench.scores.score_passings(true, sums, found)
    # The second is found too late; 8 million were never reached, and neither was ETH's first million.
    assert (score.true, score.hit, score.found, score.right) == (2, 1, 5, 3)
    assert score.delays_s == [30.0]


def ledger_of(orders, seconds):
    scenario = SimpleNamespace(start_ms=START_MS, seconds=seconds, outages=())
    ledger = TrueLedger(scenario)
    for one in sorted(orders, key=lambda one: one.time_ms):
        ledger.add(one)
    ledger.close()
    return ledger


def minute(number, *usd, position="long"):
    start_ms = START_MS + number * 60_000
    return [order(start_ms + 1_000 * place, one, position=position) for place, one in enumerate(usd)]


def test_true_surges_are_those_of_the_formula(bench):
    base = [one for number in range(4) for one in minute(number, *([10_000] * (1 + number % 2)))]
    # Mean 15,000, sample deviation 5,773.5: the bound for k = 2.5 is 29,433.8.
    above = minute(4, 14_000, 15_000, 434, 20_000)
    ledger = ledger_of([*base, *above], 300)
    found = bench.truths.surges(ledger, 60_000, 4, 2.5, 20_000, 3)
    assert {key.position for key in found} == {"long", "both"}
    surge = found[bench.truths.BarKey("BTC", 60_000, "long", START_MS + 240_000)]
    assert surge.micros == 49_434 * USD
    assert surge.passed == START_MS + 240_000 + 2_000
    assert bench.truths.surges(ledger_of([*base, *minute(4, 14_000, 15_000, 433)], 300), 60_000, 4, 2.5, 0, 3) == {}
    assert bench.truths.surges(ledger, 60_000, 4, 2.5, 50_000, 3) == {}
    assert bench.truths.surges(ledger, 60_000, 4, 2.5, 20_000, 5) == {}


def test_surges_are_hit_bar_by_bar(bench, sighting):
    key = bench.truths.BarKey("BTC", 60_000, "long", START_MS + 240_000)
    true = {key: bench.truths.TrueSurge(key, 1, START_MS + 242_000)}

    def bar(start, said, **fields):
        return sighting(start, start + 60_000, said, kind="surge", interval_ms=60_000, **fields)

    found = [
        bar(key.start, START_MS + 245_500),
        bar(key.start, START_MS + 245_500, position="both"),
        bar(key.start + 60_000, START_MS + 305_000),
        bar(START_MS, START_MS + 5_000),
    ]
    score = bench.scores.score_surges(true, found, START_MS + 240_000)
    assert (score.true, score.hit, score.found, score.right) == (1, 1, 3, 1)
    assert score.delays_s == [3.5]


def test_surges_within_cascades(bench, sighting):
    true = [cascade(100_000, 160_000)]
    found = [sighting(120_000, 180_000), sighting(160_001, 180_000), sighting(120_000, 180_000, position="short")]
    assert bench.scores.share_in_cascades(true, found) == pytest.approx(1 / 3)
    assert bench.scores.share_in_cascades(true, []) is None


def test_silences_are_hit_while_they_last(bench, sighting):
    outages = [TrueOutage("okx", "SWAP", 100_000, 400_000, "silent"), TrueOutage("gate", "usdt", 0, 9_000, "down")]

    def silence(exchange, channel, begin, said):
        return sighting(begin, None, said, kind="silent_channel", scope="channel", exchange=exchange, symbol=channel)

    found = [silence("okx", "SWAP", 99_000, 190_000), silence("okx", "SWAP", 300_000, 500_000)]
    found.append(silence("gate", "usdt", 0, 5_000))
    score = bench.scores.score_silences(outages, found)
    assert (score.true, score.hit, score.found, score.right) == (1, 1, 3, 2)
    assert score.delays_s == [90.0]
    late = bench.scores.score_silences(outages, found[1:])
    assert (late.true, late.hit, late.found, late.right) == (1, 0, 2, 1)


def test_ratios_are_hit_by_contract_bar_and_position(bench, sighting):
    # Of the second bar a minute is missing, so nobody knows what was traded in it.
    ledger = ledger_of([*minute(0, 60_000, 60_000), *minute(1, 10_000), *minute(5, 400_000)], 600)
    traded = {("gate", "BTC_USDT", START_MS + number * 60_000): 100_000 * USD for number in range(9)}
    true = bench.truths.ratios(ledger, traded, 300_000, 0.2, 100_000)
    assert true == {("gate", "BTC_USDT", START_MS, "long")}

    def bar(start, position="long"):
        return sighting(start, start + 300_000, start + 305_000, exchange="gate", symbol="BTC_USDT", position=position)

    score = bench.scores.score_ratios(true, [bar(START_MS), bar(START_MS, "short"), bar(START_MS + 300_000)])
    assert (score.true, score.hit, score.found, score.right) == (1, 1, 3, 1)


def test_true_quiet_periods_are_those_of_the_definition(bench):
    def day(bars):
        return [minute(5 * bar, usd) for bar, usd in enumerate(bars) if usd]

    # A day of 100 USD in two bars of three, and of nothing in the third: one bar in three is quiet, so it takes 15.
    usual = [100 * (bar % 3 != 0) for bar in range(288)]
    # On the second one, four hours from noon on in which only two bars are not empty.
    second = [0 if 144 <= bar < 192 and bar not in (151, 170) else usual[bar] for bar in range(288)]
    ledger = ledger_of([one for orders in day([*usual, *second]) for one in orders], 2 * 86_400)
    begin = START_MS + 86_400_000
    periods = bench.truths.quiet_periods(ledger, 300_000, 0.25, 12, 7)
    assert [(one.asset, *((time - begin) // 300_000 for time in one[1:])) for one in periods] == [
        ("BTC", 152, 170, 167),
        ("BTC", 171, 193, 186),
    ]
    # Where every second bar is quiet, it takes twice as many.
    sparse = [100 * (bar % 2) for bar in range(288)]
    second = [0 if 144 <= bar < 192 and bar != 169 else sparse[bar] for bar in range(288)]
    ledger = ledger_of([one for orders in day([*sparse, *second]) for one in orders], 2 * 86_400)
    (period,) = bench.truths.quiet_periods(ledger, 300_000, 0.25, 12, 7)
    assert [(time - begin) // 300_000 for time in period[1:]] == [144, 169, 168]


def test_quiet_periods_are_hit_where_they_overlap(bench, sighting):
    true = [
        bench.truths.QuietPeriod("BTC", START_MS, START_MS + 7_200_000, START_MS + 3_600_000),
        bench.truths.QuietPeriod("ETH", START_MS, START_MS + 7_200_000, START_MS + 3_600_000),
    ]
    found = [
        sighting(START_MS + 600_000, START_MS + 9_000_000, START_MS + 4_200_000, kind="quiet"),
        sighting(START_MS + 7_200_000, START_MS + 9_000_000, START_MS + 8_000_000, kind="quiet", asset="ETH"),
    ]
    score = bench.scores.score_quiet(true, found)
    assert (score.true, score.hit, score.found, score.right, score.delays_s) == (2, 1, 2, 1, [600.0])


def test_every_measure_has_a_name_that_can_be_asked_for(bench):
    score = bench.scores.Score(2, 1, 4, 1, [1.0, 3.0], {"large_recall": 0.5, "usd_recall": 0.5, "end_delay_s": 2.0})
    surge = bench.scores.Score(2, 1, 4, 1, [1.0], {"in_cascades": 0.5})
    ledger = ledger_of(minute(0, 100), 86_400)
    watched = bench.watch.Watched(ledger, events=1, micros=100 * USD)
    scores = dict.fromkeys(bench.detection.RULES_SCORED, bench.scores.Score(2, 1, 4, 1, [2.0]))
    scored = bench.detection.Scored(watched, scores | {"cascade": score, "surge": surge})
    for scenario in SCENARIOS:
        assert set(bench.detection.measures(scenario, scored)) == set(bench.detection.names(scenario))
    found = bench.detection.measures("calm", scored)
    assert found["cascade_recall_calm"] == 0.5
    assert found["cascade_precision_calm"] == 0.25
    assert found["cascade_delay_s_calm"] == 2.0
    assert found["cascade_false_alarms_per_day_calm"] == 3.0
    assert bench.detection.details(scored)["usd_shown"] == 1.0
    assert any("| cascade | 2 | 4 | 50% | 25% | 2.0 s |" in line for line in bench.detection.table("calm", scored))
