"""Cascades, ratios, regimes and silent channels behind the fold: the same whatever the batches and restarts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, PARAMETERS, batch, candle, heartbeat, liquidation, logs, run
from fault_rig import log_with_a_silence
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.engine import Engine
from pipeline.detect.rules import CascadeRule, RatioRule, RegimeRule, Rules
from pipeline.windows.checkpoint import restore, take
from pipeline.windows.fold import fold

USD = 1_000_000
MINUTE = 60_000
BTC = CONTRACTS[0]
DEFAULTS = Rules()
# Rules that find much in little.
EAGER = Rules(
    cascade=CascadeRule(floor_usd=0, least_events=2, least_one_sidedness=0.0, quantile=0.0, least_move_sd=0.0),
    ratio=RatioRule(threshold=1e-9, floor_usd=0, interval_s=60),
    regime=RegimeRule(quiet_bars=1, low=0.5, history_bars=50),
)
cuts = st.lists(st.integers(0, 60), max_size=12)


def ending(seconds, log=()):
    """Return heartbeats of all channels from the base on, by second, with `log` in between by its place in time."""
    by_second = {}
    for second, record in log:
        by_second.setdefault(int(second), []).append(record)
    whole = []
    for second in range(seconds):
        whole += [heartbeat(BASE_MS + second * 1_000, channel) for channel in CHANNELS]
        whole += by_second.get(second, [])
    return [*whole, *(heartbeat(BASE_MS + seconds * 1_000, channel) for channel in CHANNELS)]


def event(second, usd=100_000, number=None, **changes):
    number = round(second * 1_000) if number is None else number
    return second, liquidation(number, BASE_MS + round(second * 1_000), micros=usd * USD, **changes)


def crash(begin=100, events=8, **changes):
    return [event(begin + second, **changes) for second in range(events)]


def found(log, kind, rules=DEFAULTS, **how):
    published, _ = run(log, rules=rules, **how)
    return [row for row in published.latest().anomalies.values() if row.kind == kind]


@given(logs(), cuts, cuts)
def test_batches_do_not_matter(log, some, others):
    assert run(log, some, rules=EAGER)[0].latest() == run(log, others, rules=EAGER)[0].latest()


@given(logs(), cuts)
def test_a_restart_from_a_checkpoint_changes_nothing(log, some):
    plain, _ = run(log, some, rules=EAGER)
    restarted, _ = run(log, some, restart=True, rules=EAGER)
    assert restarted.latest() == plain.latest()
    assert (restarted.anomalies, restarted.cascades) == (plain.anomalies, plain.cascades)


def rough_market(seed, seconds=4_000):
    """Return a log with crashes, candles, late events, a channel that is down for a while, and empty minutes."""
    chance = random.Random(seed)
    log, number = [], 0
    for second in range(seconds):
        now = BASE_MS + second * 1_000
        for channel in CHANNELS:
            is_down = channel == CHANNELS[1] and 1_000 < second < 1_500
            log.append(heartbeat(now, channel, "down" if is_down else "up", frames=chance.randrange(2)))
        if second % 60 == 7:
            for contract in CONTRACTS:
                if chance.random() < 0.95:
                    start = now - now % MINUTE - MINUTE
                    log.append(candle(start, contract, chance.uniform(90, 110), chance.randrange(10**11)))
        is_crash = second % 700 < 40
        for _ in range(chance.randrange(6) if is_crash else chance.random() < 0.05):
            number += 1
            age = chance.choice((0, 0, 200, 900, 8_000, 70_000 if number % 9 == 0 else 0))
            log.append(
                liquidation(
                    number,
                    now - age,
                    chance.choice(CONTRACTS),
                    "long" if chance.random() < 0.9 else "short",
                    chance.randrange(10**11),
                    chance.uniform(90, 110),
                    chance.choice(("full", "full", "sampled")),
                )
            )
    return log


@pytest.mark.parametrize("seed", range(4))
def test_a_rough_market_is_the_same_however_it_is_cut_and_restarted(seed):
    log, chance = rough_market(seed), random.Random(seed)
    rules = Rules(
        cascade=CascadeRule(floor_usd=10_000, least_move_sd=0.0),
        ratio=RatioRule(threshold=0.01, floor_usd=1_000),
    )
    plain, _ = run(log, rules=rules)
    cuts = sorted(chance.randrange(len(log)) for _ in range(60))
    restarted, _ = run(log, cuts, restart=True, rules=rules)
    assert restarted.latest() == plain.latest()
    kinds = {row.kind for row in plain.latest().anomalies.values()}
    assert kinds >= {"cascade", "ratio"}


def test_a_cascade_is_a_finding_and_a_record_that_say_the_same():
    log = ending(400, [*crash(), event(99.5, 1_000, position="short"), *crash(250, 4)])
    published, _ = run(log, rules=Rules())
    (cascade,) = published.latest().cascades.values()
    (row,) = [row for row in published.latest().anomalies.values() if row.kind == "cascade"]

    assert (row.anomaly_id, row.revision) == (cascade.cascade_id, cascade.revision)
    assert (row.asset, row.scope, row.position, row.measure) == ("BTC", "asset", "long", "usd")
    assert (row.value, row.threshold) == (800_000.0, 100_000.0)
    assert (row.started, cascade.begin) == (BASE_MS + 100_000, BASE_MS + 100_000)
    # The last event is in second 107; there is none for three gaps of 30 s, since the feed is sampled.
    assert (row.state, row.ended, cascade.end) == ("closed", BASE_MS + 137_000, BASE_MS + 137_000)
    assert row.details["ended_by_rate"] == 1.0
    assert (cascade.long_micros, cascade.long_count, cascade.short_count) == (800_000 * USD, 8, 0)
    assert (cascade.exchanges, cascade.waves, cascade.coverage) == (["binance"], 1, 1.0)
    assert row.contributors[:2] == [(100_000).to_bytes(16, "big"), (101_000).to_bytes(16, "big")]
    assert row.level == 0


def test_it_opens_within_seconds_and_grows():
    log = ending(400, crash(events=30))
    published, _ = run(log, list(range(len(log))), rules=Rules())
    (revisions,) = published.cascades.values()
    assert list(revisions) == list(range(1, len(revisions) + 1))
    assert [one.long_count for one in revisions.values()] == [5, 8, 12, 18, 27, 30]
    (rows,) = [rows for rows in published.anomalies.values() if rows[1].kind == "cascade"]
    # The fifth event is at 104 s; events are put in order for two seconds.
    assert rows[1].updated == BASE_MS + 107_000


@pytest.mark.parametrize(
    ("completeness", "full_events", "degraded"), [("full", 0, False), ("sampled", 0, True), ("sampled", 5, False)]
)
def test_a_number_of_events_that_rests_on_a_sample_is_degraded(completeness, full_events, degraded):
    log = crash(completeness=completeness)
    log += [event(100.5 + number, number=number, completeness="full") for number in range(full_events)]
    (row,) = found(ending(300, log), "cascade")
    assert row.degraded is degraded
    assert row.completeness == ("full" if completeness == "full" else "sampled")


@pytest.mark.parametrize("when_blind", ["degrade", "wait"])
def test_a_cascade_that_is_seen_through_too_little_coverage(when_blind):
    log = [
        replace(record, state="down")
        if getattr(record, "state", "") == "up" and record.time - BASE_MS > 20_000
        else record
        for record in ending(300, crash(completeness="full"))
    ]
    rows = found(log, "cascade", Rules(cascade=CascadeRule(when_blind=when_blind)))
    assert [(row.degraded, row.coverage < 0.5) for row in rows] == ([(True, True)] if when_blind == "degrade" else [])


@pytest.mark.parametrize(("fall", "opens"), [(0.0, False), (0.2, True)])
def test_a_run_without_a_move_of_the_price_is_none_where_candles_tell_it(fall, opens):
    log = []
    for minute in range(40):
        close = 100 + minute % 3 * 0.01 - (fall if minute >= 35 else 0)
        log.append((minute * 60 + 61, candle(BASE_MS + minute * MINUTE, BTC, close, 10**12)))
    # Two small events begin the run; what makes it a cascade comes when the candle of that minute is there.
    log += [event(35 * 60 + 50, 1), event(36 * 60 + 1, 1), *crash(36 * 60 + 4)]
    rows = found(ending(2_500, log), "cascade")
    assert bool(rows) is opens
    if opens:
        assert rows[0].details["moved_sd"] > 2


def test_what_is_open_under_other_rules_is_closed_in_both_tables():
    log = ending(110, crash())
    published, before = run(log, rules=Rules())
    (opened,) = published.latest().cascades.values()
    assert opened.state == "open"
    for other in (Rules(cascade=CascadeRule(gap_s=10)), Rules(cascade=CascadeRule(enabled=False))):
        again, _ = run(log, rules=Rules())
        state = restore(again.cells, PARAMETERS)
        engine = Engine(other, PARAMETERS)
        engine.restore(again.cells, state)
        again.add(take(state, PARAMETERS, engine))
        (closed,) = again.latest().cascades.values()
        row = again.latest().anomalies[closed.cascade_id]
        assert (closed.state, closed.end, closed.revision) == ("closed", before.watermark, opened.revision + 1)
        assert (row.state, row.ended, row.revision) == ("closed", closed.end, closed.revision)
        assert not [key for key in again.cells if key.startswith(b"rules/cascade")]


def with_candles(volume_usd=1_000_000, minutes=range(10), contract=BTC):
    return [
        (minute * 60 + 70, candle(BASE_MS + minute * MINUTE, contract, 100.0, volume_usd * USD)) for minute in minutes
    ]


# The base is a whole minute, and four minutes after a whole five.
FIVE = BASE_MS - BASE_MS % 300_000 + 300_000
AT = (FIVE - BASE_MS) // 1_000


def test_a_ratio_is_of_one_position_contract_and_bar():
    log = [event(AT + 10, 900_000), event(AT + 20, 300_000), event(AT + 30, 999_000, position="short")]
    (row,) = found(ending(900, log + with_candles()), "ratio")
    assert (row.scope, row.asset, row.exchange, row.symbol) == ("instrument", "BTC", "binance", "BTCUSDT")
    assert (row.position, row.measure, row.interval_ms) == ("long", "share", 300_000)
    assert (row.value, row.threshold) == (1.2 / 5, 0.2)
    assert (row.state, row.started, row.ended) == ("closed", FIVE, FIVE + 300_000)
    assert row.details == {"liquidated_usd": 1_200_000.0, "traded_usd": 5_000_000.0, "events": 2.0}
    assert (row.coverage, row.degraded, row.completeness) == (1.0, False, "sampled")


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_where_a_candle_is_missing_nothing_is_said_of_a_ratio(missing):
    log = [event(AT + 10, 5_000_000)]
    there = with_candles(minutes=[minute for minute in range(10) if minute != AT // 60 + missing])
    assert bool(found(ending(900, log + there), "ratio")) is (missing == 5)


def test_a_late_event_or_candle_corrects_a_ratio():
    late = (AT + 400, liquidation(77, FIVE + 250_000, micros=500_000 * USD))
    again = (AT + 410, candle(FIVE, BTC, 100.0, 6_000_000 * USD))
    log = ending(900, [event(AT + 10, 1_500_000), late, again, *with_candles()])
    published, _ = run(log, list(range(len(log))), rules=Rules())
    (revisions,) = [rows for rows in published.anomalies.values() if rows[1].kind == "ratio"]
    assert [row.value for row in revisions.values()] == [0.3, 0.4, 0.2]


@pytest.mark.parametrize("when_blind", ["degrade", "wait"])
def test_a_ratio_of_a_contract_that_was_not_listened_to(when_blind):
    log = [
        replace(record, state="down")
        if getattr(record, "state", "") == "up" and 60_000 < record.time - FIVE <= 120_000
        else record
        for record in ending(900, [event(AT + 10, 5_000_000), *with_candles()])
    ]
    rows = found(log, "ratio", Rules(ratio=RatioRule(when_blind=when_blind)))
    assert [(row.degraded, row.coverage) for row in rows] == ([(True, 0.8)] if when_blind == "degrade" else [])


DAY = 86_400_000
MIDNIGHT = BASE_MS - BASE_MS % DAY + DAY


def days_with_quiet_hours(deaf=range(0), sparse=False):
    """Return a log by minute: a day of one or many events in each five minutes, then three hours with none in one.

    With `sparse` every second five minutes have none.
    """
    log, chance = [], random.Random(1)
    parameters = replace(PARAMETERS, behind_ms=120_000)
    begin = MIDNIGHT - 26 * 3_600_000
    for minute in range(29 * 60):
        now = begin + minute * MINUTE
        if minute not in deaf:
            log += [heartbeat(now, channel) for channel in CHANNELS]
        hour = minute // 60
        if hour != 27 and minute % 5 == 2 and not (sparse and minute % 10 > 5):
            for number in range(chance.randrange(1, 9)):
                usd = chance.randrange(1_000, 50_000)
                log.append(liquidation(minute * 10 + number, now - 50_000, micros=usd * USD, completeness="full"))
    return [*log, *(heartbeat(begin + 29 * 60 * MINUTE, channel) for channel in CHANNELS)], parameters, begin


def test_quiet_hours_are_a_finding():
    log, parameters, begin = days_with_quiet_hours()
    (row,) = found(log, "quiet", parameters=parameters)
    assert (row.scope, row.asset, row.position, row.interval_ms) == ("asset", "BTC", "both", 300_000)
    assert (row.started, row.ended) == (begin + 27 * 3_600_000, begin + 28 * 3_600_000)
    assert (row.state, row.details["bars"], row.value, row.degraded) == ("closed", 12.0, 0.0, False)
    assert row.baseline_n == 26 * 12
    assert row.details["quiet_share"] < 0.25
    assert found(log, "quiet", Rules(regime=RegimeRule(quiet_bars=13)), parameters=parameters) == []


def test_an_asset_that_is_rarely_liquidated_is_quiet_after_longer():
    # Half of the bars of the day before are empty, one by one: twice as many quiet ones in a row are as rare.
    log, parameters, begin = days_with_quiet_hours(sparse=True)
    (row,) = found(log, "quiet", Rules(regime=RegimeRule(quiet_bars=6)), parameters=parameters)
    assert row.details["quiet_share"] == pytest.approx(0.5, abs=0.01)
    assert row.details["bars"] == 13.0
    assert row.ended == begin + 28 * 3_600_000
    assert found(log, "quiet", Rules(regime=RegimeRule(quiet_bars=7)), parameters=parameters) == []


def test_hours_in_which_nobody_listened_are_not_quiet():
    log, parameters, _ = days_with_quiet_hours(range(27 * 60 + 20, 27 * 60 + 30))
    assert found(log, "quiet", parameters=parameters) == []


def test_a_silence_is_a_finding_that_opens_and_closes():
    log = log_with_a_silence(seed=3)
    published, _ = run(log, list(range(0, len(log), 50)), rules=Rules(), parameters=PARAMETERS)
    (silence,) = published.latest().silences.values()
    (revisions,) = [rows for rows in published.anomalies.values() if rows[1].kind == "silent_channel"]
    opened, closed = revisions.values()
    assert (opened.scope, opened.exchange, opened.symbol) == ("channel", "binance", "forceOrder")
    assert (opened.started, opened.updated, opened.state) == (silence.began, silence.found, "open")
    assert opened.value > opened.threshold
    assert opened.details == {"expected_messages": silence.expected, "probability": silence.probability}
    assert (closed.state, closed.ended) == ("closed", silence.ended)


def test_state_of_rules_off_is_gone_on_with():
    off = Rules.model_validate({name: {"enabled": False} for name in Rules.model_fields})
    log = ending(400, crash(200))
    published, _ = run(log[:400], rules=off)
    state = restore(published.cells, PARAMETERS)
    engine = Engine(Rules(), PARAMETERS)
    engine.restore(published.cells, state)
    fold(state, batch(log[400:], 400), PARAMETERS, engine)
    published.add(take(state, PARAMETERS, engine))
    assert len(published.cascades) == 1
