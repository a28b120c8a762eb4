"""Surges through the fold: which bars become rows, when, and what the rows say."""

from __future__ import annotations

import random
import statistics

import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, PARAMETERS, heartbeat, liquidation, run, subscription

from pipeline.detect.rules import Rules

USD = 1_000_000
MINUTE = 60_000
HOUR = 3_600_000
BEGIN = BASE_MS - BASE_MS % HOUR + HOUR


def rules(**surge):
    others = {name: {"enabled": False} for name in Rules.model_fields if name != "surge"}
    return Rules.model_validate({**others, "surge": {"intervals_s": [60], "measures": ["usd"], **surge}})


def beats(begin, end, step=1_000, channels=CHANNELS):
    return [heartbeat(time, channel) for time in range(begin, end, step) for channel in channels]


def in_order(*parts):
    """Return a log in the order of its times, heartbeats of a time after its events."""
    records = [record for part in parts for record in part]
    return sorted(records, key=lambda one: getattr(one, "event_time", None) or one.time + 0.5)


def found(log, chosen, cuts=None, restart=False):
    published, _ = run(log, cuts, restart, rules=chosen)
    return sorted(
        published.latest().anomalies.values(), key=lambda row: (row.started, row.scope, row.interval_ms, row.position)
    )


def events(*usd, at=BEGIN, contract=CONTRACTS[0], position="long", first=1, step=1_000, completeness="full"):
    return [
        liquidation(
            first + number, at + number * step, contract, position, round(value * USD), completeness=completeness
        )
        for number, value in enumerate(usd)
    ]


QUIET = beats(BEGIN - 35 * MINUTE, BEGIN)


@pytest.mark.parametrize("restart", [False, True])
def test_it_fires_while_the_bar_is_open_grows_and_closes_with_it(restart):
    log = in_order(QUIET, events(30_000, 20_000, 10_000, 200_000, 1_000), beats(BEGIN, BEGIN + 2 * MINUTE))
    published, _ = run(log, list(range(0, len(log), 3)), restart, rules=rules(positions=["long"], scopes=["asset"]))
    (revisions,) = published.anomalies.values()
    assert [(revisions[n].state, revisions[n].value) for n in sorted(revisions)] == [
        ("open", 60_000.0),
        ("open", 260_000.0),
        ("closed", 261_000.0),
    ]
    first, last = revisions[1], revisions[3]
    assert first.details["found"] - BEGIN <= 3_000
    assert first.coverage == 1.0
    assert (last.started, last.ended, last.updated) == (BEGIN, BEGIN + MINUTE, BEGIN + MINUTE)
    assert (last.baseline_n, last.baseline_mean, last.baseline_sd, last.threshold) == (30, 0.0, 0.0, 0.0)
    assert not last.degraded
    assert (last.coverage, last.completeness) == (1.0, "full")
    assert last.details == {"found": first.details["found"], "usd": 261_000.0, "events": 5.0}
    assert [int.from_bytes(one, "big") for one in last.contributors] == [4, 1, 2, 3, 5]


def test_the_open_bar_is_judged_by_the_thirty_covered_bars_before_it():
    chance = random.Random(4)
    usual = [chance.randrange(50_000, 90_000) for _ in range(30)]
    bound = statistics.mean(usual) + 2.5 * statistics.stdev(usual)
    history = [
        event
        for minute, usd in enumerate([10**7, *usual])
        for event in events(usd / 3, usd / 3, usd / 3, at=BEGIN + minute * MINUTE, first=100 * minute + 1)
    ]
    now = BEGIN + 31 * MINUTE
    for part, fires in ((bound / 3 - 1, False), (bound / 3 + 1, True)):
        log = in_order(QUIET, history, events(*[part] * 3, at=now, first=9_000), beats(BEGIN, now + 2 * MINUTE))
        rows = [row for row in found(log, rules(positions=["long"], scopes=["asset"])) if row.started == now]
        assert bool(rows) is fires
        for row in rows:
            assert row.threshold == pytest.approx(bound)
            assert row.baseline_n == 30


def test_bars_without_coverage_do_not_count_and_empty_ones_are_zero():
    usual = [
        event for minute in range(10) for event in events(*[30_000] * 3, at=BEGIN + minute * MINUTE, first=minute * 9)
    ]
    gap_end = BEGIN + 50 * MINUTE
    log = in_order(
        usual,
        beats(BEGIN - 5_000, BEGIN + 20 * MINUTE),
        events(*[100_000] * 3, at=gap_end + 90_000, first=900),
        beats(gap_end, gap_end + 4 * MINUTE),
    )
    (row,) = [one for one in found(log, rules(positions=["long"], scopes=["asset"])) if one.started > gap_end]
    # Ten with events, ten without, and the first minute after the gap.
    assert (row.baseline_n, row.baseline_mean) == (21, pytest.approx(900_000 / 21))
    assert row.degraded, "a shorter baseline than the rule asks for"


@pytest.mark.parametrize(
    ("changes", "fires"),
    [
        ({}, True),
        ({"floor_usd": 60_000.0}, True),
        ({"floor_usd": 60_001.0}, False),
        ({"least_events": 3}, True),
        ({"least_events": 4}, False),
        ({"min_value_usd": 20_000.0, "least_events": 2}, True),
        ({"min_value_usd": 20_001.0, "least_events": 2}, False),
    ],
)
def test_floor_least_number_and_least_value(changes, fires):
    log = in_order(QUIET, events(20_000, 20_000, 20_000), beats(BEGIN, BEGIN + 2 * MINUTE))
    for restart in (False, True):
        rows = found(log, rules(positions=["long"], **changes), list(range(0, len(log), 7)), restart)
        assert [row.scope for row in rows] == (["asset", "instrument"] if fires else [])


def test_contracts_assets_positions_measures_and_intervals():
    log = in_order(
        beats(BEGIN - 61 * HOUR, BEGIN, 25_000),
        events(*[30_000] * 4),
        events(*[30_000] * 4, contract=CONTRACTS[2], position="short", first=50),
        beats(BEGIN, BEGIN + 2 * MINUTE),
    )
    rows = found(log, rules(intervals_s=[60, 300, 3600], measures=["usd", "count"]))
    kinds = {(row.scope, row.exchange, row.symbol, row.position, row.measure, row.interval_ms) for row in rows}
    of = [("asset", "", ""), ("instrument", "binance", "BTCUSDT"), ("instrument", "bybit", "BTCUSDT")]
    assert kinds == {
        (*whose, position, measure, interval)
        for whose, positions in zip(of, (("long", "short", "both"), ("long", "both"), ("short", "both")), strict=True)
        for position in positions
        for measure in ("usd", "count")
        for interval in (MINUTE, 5 * MINUTE, HOUR)
    }
    assert {row.state for row in rows if row.interval_ms == MINUTE} == {"closed"}
    assert {row.state for row in rows if row.interval_ms == HOUR} == {"open"}
    assert all(row.baseline_n == 30 for row in rows)


def test_counts_of_sampled_feeds_are_always_degraded():
    log = in_order(QUIET, events(*[30_000] * 4, completeness="sampled"), beats(BEGIN, BEGIN + MINUTE))
    rows = found(log, rules(measures=["usd", "count"], positions=["both"], scopes=["instrument"]))
    assert {(row.measure, row.degraded, row.completeness) for row in rows} == {
        ("usd", False, "sampled"),
        ("count", True, "sampled"),
    }


def test_below_the_coverage_it_degrades_or_waits():
    # The channel of the contract comes up in the middle of the bar.
    others = beats(BEGIN - 35 * MINUTE, BEGIN + 2 * MINUTE, channels=CHANNELS[1:])
    own = beats(BEGIN - 35 * MINUTE, BEGIN, channels=CHANNELS[:1])
    late = beats(BEGIN + 31_000, BEGIN + 2 * MINUTE, channels=CHANNELS[:1])
    log = in_order(others, own, late, events(*[30_000] * 4, at=BEGIN + 40_000))
    (row,) = found(log, rules(positions=["long"], scopes=["instrument"]))
    assert row.degraded
    assert row.coverage == pytest.approx(0.5, abs=0.04)
    assert not found(log, rules(positions=["long"], scopes=["instrument"], when_blind="wait"))


def test_a_late_event_corrects_the_row_of_its_bar_and_what_later_bars_are_judged_by():
    later = BEGIN + 61_000
    log = in_order(QUIET, events(*[30_000] * 3), beats(BEGIN, later + 10_000))
    chosen = rules(positions=["long"], scopes=["asset"])
    (before,) = found(log, chosen)
    assert (before.state, before.value, before.revision) == ("closed", 90_000.0, 2)
    log += [*events(5_000, at=BEGIN + 30_000, first=70), *beats(later + 10_000, later + 20_000)]
    (after,) = found(log, chosen)
    assert (after.state, after.value, after.revision) == ("closed", 95_000.0, 3)
    log += [*events(*[20_000] * 3, at=later + 20_000, first=80), *beats(later + 20_000, later + 30_000)]
    _, row = found(log, chosen)
    assert (row.baseline_n, row.baseline_mean) == (30, pytest.approx(95_000 / 30))


def test_a_late_event_may_open_a_row_of_a_bar_that_is_over():
    log = in_order(QUIET, events(*[20_000] * 2), beats(BEGIN, BEGIN + 70_000))
    chosen = rules(positions=["long"], scopes=["asset"])
    assert not found(log, chosen)
    log += [*events(30_000, at=BEGIN + 30_000, first=70), *beats(BEGIN + 70_000, BEGIN + 73_000)]
    (row,) = found(log, chosen)
    assert (row.state, row.value, row.started, row.ended) == ("closed", 70_000.0, BEGIN, BEGIN + MINUTE)


def test_a_bar_ahead_of_the_watermark_waits_for_it():
    ahead = events(*[30_000] * 3, at=BEGIN + 500, step=10)
    log = [*QUIET, *ahead, *beats(BEGIN - 1_000 + 1, BEGIN - 1_000 + 2)]
    chosen = rules(positions=["long"], scopes=["asset"])
    assert not found(log, chosen)
    log += beats(BEGIN, BEGIN + 2_000)
    for restart in (False, True):
        assert len(found(log, chosen, list(range(len(QUIET), len(log))), restart)) == 1


def test_a_contract_that_was_not_subscribed_has_no_baseline_of_that_time():
    """On a channel that is subscribed contract by contract the time before the subscription is not covered."""
    contract = CONTRACTS[2]
    log = in_order(
        [subscription(BEGIN - 36 * MINUTE, ("bybit", "OTHER", "OTHER", "linear"))],
        QUIET,
        [subscription(BEGIN - 20 * MINUTE, contract, "up"), subscription(BEGIN - 10 * MINUTE, contract, "down")],
        [subscription(BEGIN - 5 * MINUTE, contract, "up")],
        events(*[30_000] * 3, contract=contract),
        beats(BEGIN, BEGIN + 2 * MINUTE),
    )
    (row,) = found(log, rules(positions=["long"], scopes=["instrument"]))
    assert row.baseline_n < 30


@pytest.mark.parametrize("scorer", ["median_mad", "quantile", "ewma", "count_tail"])
@pytest.mark.parametrize("baseline", ["exclusive", "inclusive"])
@pytest.mark.parametrize("season", ["none", "hour_of_week"])
def test_every_scorer_runs_and_restarts_alike(scorer, baseline, season):
    chance = random.Random(6)
    history = [
        event
        for minute in range(40)
        for event in events(
            *[chance.randrange(10_000, 30_000) for _ in range(chance.randrange(2, 5))],
            at=BEGIN + minute * MINUTE,
            first=100 * minute + 1,
        )
    ]
    now = BEGIN + 40 * MINUTE
    log = in_order(QUIET, history, events(*[60_000] * 12, at=now, first=9_000), beats(BEGIN, now + 2 * MINUTE))
    chosen = rules(scorer=scorer, baseline=baseline, season=season, measures=["usd", "count"])
    plain = found(log, chosen)
    # A quantile so high is the largest value, which no value in its own baseline exceeds.
    assert any(row.started == now for row in plain) is ((scorer, baseline) != ("quantile", "inclusive"))
    assert found(log, chosen, list(range(0, len(log), 501)), restart=True) == plain


def test_rows_are_forgotten_when_they_can_change_no_more():
    log = in_order(QUIET, events(*[30_000] * 3), beats(BEGIN, BEGIN + 10 * MINUTE))
    published, _ = run(log, list(range(0, len(log), 100)), rules=rules())
    assert published.anomalies
    assert not [key for key in published.cells if key.startswith(b"rules/finding/")]
    assert PARAMETERS.correction_ms < 8 * MINUTE
