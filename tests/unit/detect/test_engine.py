"""The engine behind the fold: what it finds is a function of the log, whatever the batches, restarts and ticks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from event_logs import (
    BASE_MS,
    CHANNELS,
    CONTRACTS,
    PARAMETERS,
    batch,
    heartbeat,
    liquidation,
    log_of,
    logs,
    run,
    stretches,
)
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.engine import Engine
from pipeline.detect.rules import RollingThresholdRule, Rules
from pipeline.windows.checkpoint import restore, take
from pipeline.windows.fold import fold

RULES = Rules()
USD = 1_000_000
cuts = st.lists(st.integers(0, 60), max_size=12)
long_cuts = st.lists(st.integers(0, 1_500), max_size=12)


@given(logs(), cuts, cuts)
def test_batches_do_not_matter(log, some, others):
    assert run(log, some, rules=RULES)[0].latest() == run(log, others, rules=RULES)[0].latest()


@given(logs(), cuts)
def test_a_restart_from_a_checkpoint_changes_nothing(log, some):
    plain, _ = run(log, some, rules=RULES)
    restarted, _ = run(log, some, restart=True, rules=RULES)
    assert restarted.latest() == plain.latest()
    assert restarted.anomalies == plain.anomalies


@given(stretches, long_cuts)
def test_long_logs_with_silences_depend_on_neither_batches_nor_restarts(found, some):
    log = log_of(found)
    plain, _ = run(log, rules=RULES)
    restarted, _ = run(log, some, restart=True, rules=RULES)
    assert restarted.latest() == plain.latest()


@given(stretches, long_cuts)
def test_when_something_was_found_does_not_depend_on_checkpoints(found, some):
    log = log_of(found)
    at_once, in_parts = (
        {found: revisions.get(1) for found, revisions in run(log, where, rules=RULES)[0].anomalies.items()}
        for where in ([], some)
    )
    assert None not in at_once.values()
    assert in_parts == at_once


@given(logs(), cuts)
def test_without_rules_bars_are_the_same(log, some):
    without, _ = run(log, some)
    with_rules, _ = run(log, some, rules=RULES)
    assert with_rules.latest()._replace(anomalies={}, cascades={}) == without.latest()
    assert {key: value for key, value in with_rules.cells.items() if not key.startswith(b"rules/")} == without.cells


def test_a_batch_of_any_size_finds_the_same():
    log = busy_log()
    found = [run(log, list(range(0, len(log), size)), rules=RULES)[0].latest() for size in (1, 100, 5_000)]
    assert found[0].anomalies
    assert found[0] == found[1] == found[2]


def busy_log(seconds: int = 600):
    log = []
    for second in range(seconds):
        now = BASE_MS + second * 1_000
        log += [heartbeat(now, channel) for channel in CHANNELS]
        for number in range(second % 5):
            event = liquidation(
                second * 10 + number,
                now - 200 * number,
                CONTRACTS[(second + number) % 4],
                "long" if second % 3 else "short",
                (second % 37 + 1) * 1_000 * USD * (40 if 300 <= second < 330 else 1),
            )
            log.append(event)
    return [*log, *(heartbeat(BASE_MS + seconds * 1_000, channel) for channel in CHANNELS)]


class TestChangedRules:
    """What is open under other rules is closed, and everything begins anew."""

    def go_on(self, published, rules):
        state = restore(published.cells, PARAMETERS)
        engine = Engine(rules, PARAMETERS)
        engine.restore(published.cells, state)
        return state, engine

    def test_open_rows_close_and_the_new_rules_have_another_hash(self):
        published, before = run(busy_log(), rules=RULES)
        opened = [row for row in published.latest().anomalies.values() if row.state == "open"]
        assert opened

        other = Rules(rolling_threshold=RollingThresholdRule(base_usd=500_000))
        state, engine = self.go_on(published, other)
        published.add(take(state, PARAMETERS, engine))
        for row in opened:
            now = published.latest().anomalies[row.anomaly_id]
            assert (now.state, now.ended, now.revision) == ("closed", before.watermark, row.revision + 1)
            assert now.rules_hash == RULES.hash
        assert not any(key.startswith((b"rules/finding/", b"rules/rolling_threshold/")) for key in published.cells)
        assert any(key.startswith(b"rules/coverage/") for key in published.cells)

        event = liquidation(9_999_999, state.watermark, micros=600_000 * USD)
        log = [event, heartbeat(state.watermark + 2_000), *(heartbeat(state.watermark + 2_000, c) for c in CHANNELS)]
        fold(state, batch(log, state.offset + 1), PARAMETERS, engine)
        (row,) = take(state, PARAMETERS, engine).found
        assert (row.kind, row.value, row.threshold, row.rules_hash) == (
            "rolling_threshold", 600_000.0, 500_000.0, other.hash,
        )  # fmt: skip

    def test_a_time_without_rules_drops_what_they_knew(self):
        published, state = run(busy_log(), rules=RULES)
        fold(state, batch([heartbeat(state.watermark + 5_000)], state.offset + 1), PARAMETERS)
        published.add(take(state, PARAMETERS))

        state, engine = self.go_on(published, RULES)
        published.add(take(state, PARAMETERS, engine))

        assert [key for key in published.cells if key.startswith(b"rules/")] == [b"rules/engine"]

    def test_state_of_a_time_before_there_were_rules_is_gone_on_with(self):
        log = busy_log()
        published, _ = run(log[:900])
        state, engine = self.go_on(published, RULES)
        fold(state, batch(log[900:], state.offset + 1), PARAMETERS, engine)
        published.add(take(state, PARAMETERS, engine))
        without, _ = run(log, [900])
        assert published.latest().bars == without.latest().bars
        assert published.anomalies

    def test_no_rule_finds_nothing(self):
        off = {name: {"enabled": False} for name in Rules.model_fields}
        published, _ = run(busy_log(), rules=Rules.model_validate(off))
        assert not published.anomalies


class TestRollingThreshold:
    """The definition's edge cases, through the fold."""

    HOUR = 3_600_000

    def rows(self, *events, until=0, restart=False):
        """Return the rows of (ms after the begin, USD), each followed by heartbeats that move the clock."""
        log = [heartbeat(BASE_MS, channel) for channel in CHANNELS]
        for number, (time, usd) in enumerate(events, start=1):
            log.append(liquidation(number, BASE_MS + time, micros=round(usd * USD)))
            log += [heartbeat(BASE_MS + time + 1_000, channel) for channel in CHANNELS]
        log += [heartbeat(BASE_MS + until, channel) for channel in CHANNELS if until]
        published, state = run(log, list(range(len(log))) if restart else None, restart=restart, rules=RULES)
        self.watermark = state.watermark
        rows = [row for row in published.latest().anomalies.values() if row.kind == "rolling_threshold"]
        return sorted(rows, key=lambda row: (row.started, row.level))

    @pytest.mark.parametrize("restart", [False, True])
    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            ([(0, 1e6)], []),
            ([(0, 1_000_000.000001)], [(0, 0, 1_000_000.000001, 1e6, 2e6)]),
            ([(0, 8.1e6)], [(0, 3, 8.1e6, 8e6, 16e6)]),
            ([(0, 2e6)], [(0, 0, 2e6, 1e6, 2e6)]),
            ([(0, 1.5e6), (2 * HOUR, 1.5e6)], [(0, 0, 1.5e6, 1e6, 2e6)]),
            ([(0, 1.5e6), (2 * HOUR + 1, 1.5e6)], [(0, 0, 1.5e6, 1e6, 2e6), (2 * HOUR + 1, 0, 1.5e6, 1e6, 2e6)]),
            ([(0, 0.6e6), (HOUR, 0.6e6)], []),
            ([(0, 0.6e6), (HOUR - 1, 0.6e6)], [(HOUR - 1, 0, 1.2e6, 1e6, 2e6)]),
            (
                [(minute * 60_000, 1.1e6) for minute in range(5)],
                [(0, 0, 1.1e6, 1e6, 2e6), (60_000, 1, 2.2e6, 2e6, 4e6), (180_000, 2, 4.4e6, 4e6, 8e6)],
            ),
        ],
    )
    def test_edge_cases(self, events, expected, restart):
        rows = self.rows(*events, restart=restart)
        assert [
            (row.started - BASE_MS, row.level, row.value, row.threshold, row.details["next_threshold_usd"])
            for row in rows
        ] == expected

    def test_one_incident_joins_its_fires_and_they_close_when_it_was_calm_for_half_an_hour(self):
        calm = self.HOUR + 1_800_000 + 60_000
        events = [(0, 1.1e6), (60_000, 1.2e6)]
        before = self.rows(*events, until=calm - 1)
        assert [row.state for row in before] == ["open", "open"]
        assert {row.details["incident"] for row in before} == {BASE_MS}
        after = self.rows(*events, until=calm)
        assert [(row.state, row.ended - BASE_MS, row.revision) for row in after] == [("closed", calm, 2)] * 2
        assert {row.details["peak_usd"] for row in after} == {2.3e6}

    def test_contributors_are_the_largest_events_of_the_window(self):
        events = [(number * 1_000, 1_000.0 + number) for number in range(30)]
        (row,) = self.rows((0, 5e5), (self.HOUR, 4e5), *((self.HOUR + time, usd * 20) for time, usd in events))
        numbers = [int.from_bytes(event_id, "big") for event_id in row.contributors]
        assert numbers[0] == 2
        assert len(numbers) == 10
        assert numbers[1:] == sorted(numbers[1:], reverse=True)

    def test_events_of_one_tick_are_judged_in_the_order_of_their_times(self):
        late_first = [
            heartbeat(BASE_MS),
            liquidation(1, BASE_MS + 900, micros=900_000 * USD),
            liquidation(2, BASE_MS + 300, micros=1_100_000 * USD),
            heartbeat(BASE_MS + 2_000),
        ]
        rows = run(late_first, rules=RULES)[0].latest().anomalies.values()
        assert [(row.started - BASE_MS, row.level) for row in rows] == [(300, 0)]

    def test_coverage_is_of_the_hour_and_below_the_limit_it_is_marked_or_waits(self):
        log = [heartbeat(BASE_MS + second * 1_000) for second in range(1_801)]
        log += [liquidation(1, BASE_MS + 1_800_000, micros=2_000_000 * USD), heartbeat(BASE_MS + 1_801_000)]
        (row,) = run(log, rules=RULES)[0].latest().anomalies.values()
        assert row.coverage == pytest.approx(0.5, abs=0.01)
        assert row.degraded
        assert row.completeness == "sampled"
        waiting = Rules(rolling_threshold=RollingThresholdRule(when_blind="wait"))
        assert not run(log, rules=waiting)[0].anomalies
        covered = [heartbeat(BASE_MS + second * 1_000) for second in range(3_700)]
        now = BASE_MS + 3_699_000
        covered += [liquidation(1, now, micros=2_000_000 * USD), heartbeat(now + 1_000)]
        (row,) = run(covered, rules=waiting)[0].latest().anomalies.values()
        assert row.coverage > 0.99
        assert not row.degraded

    def test_an_asset_without_events_is_forgotten(self):
        log = [heartbeat(BASE_MS), liquidation(1, BASE_MS), heartbeat(BASE_MS + 1_000)]
        published, _ = run([*log, heartbeat(BASE_MS + 7_300_000)], list(range(4)), rules=RULES)
        assert not [key for key in published.cells if key.startswith(b"rules/rolling_threshold/")]

    def test_an_event_too_late_for_its_bar_counts_nowhere(self):
        now = BASE_MS + 3_000_000
        log = [heartbeat(now), liquidation(1, BASE_MS, micros=2_000_000 * USD), heartbeat(now + 1_000)]
        assert not run(log, rules=RULES)[0].anomalies
        parameters = replace(PARAMETERS, correction_ms=10**8)
        assert run(log, rules=RULES, parameters=parameters)[0].anomalies


class TestSwitchedOff:
    """A channel of which nothing is said any more does not lower the coverage of its assets for ever."""

    HOUR_MS = 3_600_000

    def play(self, engine, state, hours, channels, begin=0):
        """Say `hours` of heartbeats, one a minute."""
        minutes = range(begin * 60, (begin + hours) * 60)
        log = [heartbeat(BASE_MS + minute * 60_000, channel) for minute in minutes for channel in channels]
        fold(state, batch(log, state.offset + len(log)), PARAMETERS, engine)

    def started(self):
        engine, state = Engine(RULES, PARAMETERS), restore({}, PARAMETERS)
        seen = [liquidation(number, BASE_MS, contract) for number, contract in enumerate(CONTRACTS)]
        fold(state, batch(seen, len(seen)), PARAMETERS, engine)
        self.play(engine, state, 1, CHANNELS)
        return engine, state

    def channels(self, engine):
        return [(exchange, channel) for exchange, channel, _ in engine.facts.feeds["BTC"].channels]

    def test_it_is_left_out_after_a_day_and_counted_again_when_it_is_back(self):
        engine, state = self.started()
        binance, bybit, _ = CHANNELS
        self.play(engine, state, 23, [binance, bybit], begin=1)
        assert self.channels(engine) == list(CHANNELS)
        self.play(engine, state, 3, [binance, bybit], begin=24)
        assert self.channels(engine) == [binance, bybit]
        self.play(engine, state, 2, CHANNELS, begin=27)
        assert self.channels(engine) == list(CHANNELS)

    def test_a_restart_changes_nothing(self):
        engine, state = self.started()
        self.play(engine, state, 26, CHANNELS[:2], begin=1)
        cells = {key: value for key, value in take(state, PARAMETERS, engine).cells if value is not None}
        restored, again = Engine(RULES, PARAMETERS), restore(cells, PARAMETERS)
        restored.restore(cells, again)
        assert self.channels(restored) == self.channels(engine) == list(CHANNELS[:2])

    def test_the_last_one_stays(self):
        engine, state = self.started()
        self.play(engine, state, 26, [("gate", "usdt")], begin=1)
        assert self.channels(engine) == list(CHANNELS)
