"""The whole market: its findings are a function of the log, whatever the order in which pulses come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

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
    stretches,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detect.engine import Engine
from pipeline.detect.market.market import Market
from pipeline.detect.rules import RollingThresholdRule, Rules, SurgeRule
from pipeline.records import Anomaly, Liquidation, MarketDelay, Pulse, PulseChannel, PulseLargest, PulseSum
from pipeline.windows.checkpoint import CheckpointError, restore, take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import MINUTE_MS
from pipeline.windows.state import PartitionState

RULES = Rules(surge=SurgeRule(enabled=False))
USD = 1_000_000
HOUR_MS = 3_600_000
orders = st.randoms(use_true_random=False)
cuts = st.lists(st.integers(0, 200), max_size=10)


@dataclass
class Said:
    """What checkpoints said, by id and revision, and the cells."""

    anomalies: dict[bytes, dict[int, Anomaly]] = field(default_factory=dict)
    delays: list[MarketDelay] = field(default_factory=list)
    cells: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, checkpoint) -> None:
        for row in checkpoint.anomalies:
            assert self.anomalies.setdefault(row.anomaly_id, {}).setdefault(row.revision, row) == row
        if checkpoint.delay is not None:
            self.delays.append(checkpoint.delay)
        for key, value in checkpoint.cells:
            if value is None:
                del self.cells[key]
            else:
                self.cells[key] = value

    def latest(self) -> list[Anomaly]:
        return sorted(
            (revisions[max(revisions)] for revisions in self.anomalies.values()),
            key=lambda row: (row.started, row.level),
        )


def pulses_of(log, partition=0, rules=RULES, some=(), restart=False) -> list[Pulse]:
    """Return the pulses of one partition's log, folded in batches cut at `some`."""
    engine, state = Engine(rules, PARAMETERS, partition), PartitionState()
    cells, pulses = {}, []
    for begin, end in pairwise(sorted({0, len(log), *(cut for cut in some if cut <= len(log))})):
        fold(state, batch(log[begin:end], begin), PARAMETERS, engine)
        checkpoint = take(state, PARAMETERS, engine)
        pulses += checkpoint.pulses
        cells |= dict(checkpoint.cells)
        if restart:
            kept = {key: value for key, value in cells.items() if value is not None}
            state, engine = restore(kept, PARAMETERS), Engine(rules, PARAMETERS, partition)
            engine.restore(kept, state)
    return pulses


def split(log, partitions):
    """Return the log of each partition: statements in all, events by their asset."""
    return [
        [
            record
            for record in log
            if not isinstance(record, Liquidation) or (len(record.asset) + ord(record.asset[0])) % partitions == number
        ]
        for number in range(partitions)
    ]


def interleave(chance, streams):
    """Return the pulses of several partitions in one order that keeps each partition's own."""
    left = [list(stream) for stream in streams]
    mixed = []
    while any(left):
        stream = chance.choice([stream for stream in left if stream])
        mixed.append(stream.pop(0))
    return mixed


def market_of(pulses, partitions, rules=RULES, some=(), restart=False) -> Said:
    """Return what the market says of pulses in this order, with a checkpoint at each of `some`."""
    market, said = Market(rules, partitions), Said()
    for begin, end in pairwise(sorted({0, len(pulses), *(cut for cut in some if cut <= len(pulses))})):
        market.take_pulses(pulses[begin:end], end - 1)
        said.add(market.take())
        if restart:
            market = Market(rules, partitions)
            market.restore(said.cells)
    return said


def crash(seconds=200, begin=BASE_MS):
    """Return a log in which all assets together pass the threshold again and again, with late events."""
    log = []
    for second in range(seconds):
        now = begin + second * 1_000
        log += [heartbeat(now, channel) for channel in CHANNELS]
        for number in range(3):
            late_ms = 40_000 if (second + number) % 7 == 0 else 0
            event = liquidation(
                second * 10 + number,
                now - 300 * number - late_ms,
                CONTRACTS[(second + number) % 4],
                "long" if second % 3 else "short",
                (second + 1) * 900 * USD,
            )
            log.append(event)
    return [*log, *(heartbeat(begin + seconds * 1_000 + ahead, channel) for ahead in (0, 1) for channel in CHANNELS)]


@settings(max_examples=50)
@given(logs(), cuts)
def test_pulses_depend_on_neither_batches_nor_restarts(log, some):
    assert pulses_of(log, some=some, restart=True) == pulses_of(log)


@settings(max_examples=50)
@given(logs())
def test_pulses_have_every_event_that_is_in_a_bar_once(log):
    state, engine = PartitionState(), Engine(RULES, PARAMETERS)
    fold(state, batch([*log, heartbeat(BASE_MS + 10**8)], 0), PARAMETERS, engine)
    checkpoint = take(state, PARAMETERS, engine)
    sums = [one for pulse in checkpoint.pulses for one in pulse.sums]
    for position in ("long", "short"):
        for what in ("micros", "count"):
            name = f"{position}_{what}"
            last = {(bar["exchange"], bar["symbol"], bar["start"]): bar[name] for bar in checkpoint.bars}
            assert sum(getattr(one, name) for one in sums) == sum(last.values())


@settings(max_examples=30)
@given(stretches, orders, cuts, st.integers(1, 3))
def test_no_order_of_pulses_and_no_batch_matters(found, chance, some, partitions):
    log = [*log_of(found)[:300], *crash(40, BASE_MS + 10**7)]
    streams = [pulses_of(one, number) for number, one in enumerate(split(log, partitions))]
    plain = market_of([pulse for stream in streams for pulse in stream], partitions)
    mixed = interleave(chance, streams)
    assert market_of(mixed, partitions, some=some).latest() == plain.latest()
    restarted = market_of(mixed, partitions, some=some, restart=True)
    assert restarted.latest() == plain.latest()
    assert plain.latest()


def test_the_number_of_partitions_does_not_matter():
    log = crash()
    rows = [
        market_of([pulse for part, one in enumerate(split(log, n)) for pulse in pulses_of(one, part)], n).latest()
        for n in (1, 2, 3)
    ]
    assert len(rows[0]) >= 5
    assert rows[0] == rows[1] == rows[2]


def test_every_cut_of_a_crash_says_the_same_of_every_revision():
    log = crash()
    streams = [pulses_of(one, number) for number, one in enumerate(split(log, 2))]
    pulses = [pulse for pair in zip(*streams, strict=True) for pulse in pair]
    plain = market_of(pulses, 2)
    one_by_one = market_of(pulses, 2, some=range(len(pulses)), restart=True)
    assert one_by_one.anomalies == plain.anomalies


def pulse(watermark, sums=(), after=0, partition=0, channels=None, part=0, follows=False):
    largest = [PulseLargest(one.second - one.second % MINUTE_MS, one.largest_micros, one.largest_id) for one in sums]
    return Pulse(partition, after, watermark, part, follows, list(sums), channels, largest)


def total(time, usd, position="long", exchange="binance", completeness="full"):
    micros = round(usd * USD)
    long, short = (micros, 0) if position == "long" else (0, micros)
    return PulseSum(
        time - time % 1_000, exchange, "", long, short, int(long > 0), int(short > 0), time, completeness, micros,
        time.to_bytes(16, "big"),
    )  # fmt: skip


class Ticking:
    """A market of one partition that is told what comes at which time."""

    def __init__(self, rules=RULES):
        self.market, self.said, self.now, self.offset = Market(rules, 1), Said(), 0, 0

    def at(self, time, usd=0.0, **how):
        sums = [total(time, usd, **how)] if usd else []
        self.tell(pulse(max(time, self.now) + 1, sums, self.now))

    def tell(self, *pulses):
        self.now = pulses[-1].watermark
        self.offset += 1
        self.market.take_pulses(pulses, self.offset)
        self.said.add(self.market.take())

    def levels(self):
        return [(row.started, row.level) for row in self.said.latest()]


@pytest.fixture
def ticking():
    return Ticking()


T = BASE_MS


class TestTheRule:
    """Requirements S77 to S81, for the market."""

    def test_exactly_a_million_does_not_fire_and_a_cent_more_does(self, ticking):
        ticking.at(T, 400_000)
        ticking.at(T + 5, 600_000, exchange="bybit", position="short")
        assert ticking.levels() == []
        ticking.at(T + 6, 0.01)
        assert ticking.levels() == [(T + 6, 0)]
        (row,) = ticking.said.latest()
        assert (row.kind, row.scope, row.asset, row.threshold, row.value) == (
            "rolling_threshold", "market", "", 1e6, 1_000_000.01,
        )  # fmt: skip
        assert row.details == {
            "incident": T + 6,
            "next_threshold_usd": 2e6,
            "long_usd": 400_000.01,
            "short_usd": 600_000.0,
            "events": 3.0,
            "exchanges": 2.0,
        }
        assert row.contributors == [(T + 5).to_bytes(16, "big"), T.to_bytes(16, "big"), (T + 6).to_bytes(16, "big")]
        assert (row.state, row.revision, row.rules_hash) == ("open", 1, RULES.hash)

    def test_one_event_of_many_millions_fires_once_at_the_highest_level(self, ticking):
        ticking.at(T, 8_100_000)
        assert ticking.levels() == [(T, 3)]
        assert ticking.said.latest()[0].details["next_threshold_usd"] == 16e6

    def test_exactly_two_million_fires_at_level_0(self, ticking):
        ticking.at(T, 2_000_000)
        assert ticking.levels() == [(T, 0)]
        ticking.at(T + 1, 0.01)
        assert ticking.levels() == [(T, 0), (T + 1, 1)]

    def test_the_threshold_stays_doubled_for_two_hours_exactly(self, ticking):
        ticking.at(T, 1_500_000)
        ticking.at(T + 2 * HOUR_MS, 1_500_000)
        assert ticking.levels() == [(T, 0)]
        ticking.at(T + 2 * HOUR_MS + 1, 0.01)
        assert ticking.levels() == [(T, 0), (T + 2 * HOUR_MS + 1, 0)]

    def test_a_second_that_is_an_hour_old_has_left(self, ticking):
        ticking.at(T, 600_000)
        ticking.at(T + HOUR_MS, 600_000)
        assert ticking.levels() == []

    def test_a_late_event_counts_in_its_own_second(self, ticking):
        ticking.at(T, 100_000)
        ticking.at(T + HOUR_MS - 1_000, 600_000)
        ticking.at(T + 500, 400_000)
        assert ticking.levels() == [(T + HOUR_MS - 1_000, 0)]
        ticking.at(T + HOUR_MS, 600_000)
        ticking.at(T + 900, 9_000_000)
        assert ticking.levels() == [(T + HOUR_MS - 1_000, 0)]

    def test_an_incident_closes_half_an_hour_after_the_sum_is_under_half(self, ticking):
        ticking.at(T, 1_500_000)
        ticking.at(T + 1_000, 1_500_000)
        ticking.at(T + 1_000 + HOUR_MS + HOUR_MS // 2 - 2)
        assert [row.state for row in ticking.said.latest()] == ["open", "open"]
        ticking.at(T + 1_000 + HOUR_MS + HOUR_MS // 2)
        for row in ticking.said.latest():
            assert (row.state, row.ended, row.revision) == ("closed", T + 1_000 + HOUR_MS + HOUR_MS // 2, 2)
            assert row.details["peak_usd"] == 3_000_000.0
            assert row.details["incident"] == T

    def test_a_jump_of_the_clock_takes_what_came_before_it_first(self, ticking):
        ticking.at(T, 1_500_000)
        quiet = T + HOUR_MS + HOUR_MS // 2
        ticking.tell(pulse(T + 5 * HOUR_MS, [total(quiet - 1_000, 900_000)], ticking.now))
        (row,) = ticking.said.latest()
        assert row.ended == quiet - 1_000 - (quiet - 1_000) % 1_000 + HOUR_MS + HOUR_MS // 2


class TestWhatIsKnownOfTheInput:
    """Coverage of the channels that bring liquidations, completeness of the feeds."""

    def told(self, *shares):
        return [PulseChannel(*channel, share) for channel, share in zip(CHANNELS, shares, strict=False)]

    def test_coverage_is_the_mean_over_the_channels_and_a_channel_of_two_partitions_counts_once(self):
        market, said = Market(RULES, 2), Said()
        market.take_pulses(
            [
                pulse(T, [total(T - 1, 3_000_000, completeness="sampled")], channels=self.told(1.0, 0.5)),
                pulse(T, [], partition=1, channels=self.told(1.0)),
            ],
            1,
        )
        said.add(market.take())
        (row,) = said.latest()
        assert (row.coverage, row.degraded, row.completeness) == (0.75, True, "sampled")

    def test_a_rule_that_waits_while_blind_fires_when_it_sees(self):
        rules = Rules(rolling_threshold=RollingThresholdRule(when_blind="wait"))
        ticking = Ticking(rules)
        ticking.at(T, 3_000_000)
        ticking.tell(pulse(T + 1_000, channels=self.told(1.0, 0.7), after=ticking.now))
        ticking.at(T + 1_500, 1)
        assert ticking.levels() == []
        ticking.tell(pulse(T + 2_000, channels=self.told(1.0, 0.9), after=ticking.now))
        ticking.at(T + 2_500, 1)
        assert ticking.levels() == [(T + 2_500, 1)]

    def test_channels_are_told_once_a_minute_with_their_share(self):
        log = []
        for second in range(181):
            log.append(heartbeat(T + second * 1_000, CHANNELS[0]))
            if second == 0:
                log.append(liquidation())
        told = [one for one in pulses_of(log) if one.channels is not None]
        assert [one.watermark for one in told] == [T, T + 60_000, T + 120_000, T + 180_000]
        assert told[0].channels == []
        (channel,) = told[-1].channels
        assert (channel.exchange, channel.channel) == CHANNELS[0]
        assert channel.share == pytest.approx(180 / 3_600)


class TestPartitionsThatLag:
    """Nothing is judged before every partition has passed it, and the delay says so."""

    def test_a_silent_partition_holds_the_market_back(self):
        market, said = Market(RULES, 2), Said()
        market.take_pulses([pulse(T, [total(T - 1, 5_000_000)])], 0)
        said.add(market.take())
        assert said.latest() == []
        assert (said.delays[-1].watermark, said.delays[-1].held_by, said.delays[-1].waiting) == (None, 1, 1)

        market.take_pulses([pulse(T - 1, partition=1)], 1)
        said.add(market.take())
        assert said.latest() == []
        assert (said.delays[-1].watermark, said.delays[-1].most_ms) == (T - 1, 1)

        market.take_pulses([pulse(T + 500, partition=1, after=T - 1)], 2)
        said.add(market.take())
        assert [row.level for row in said.latest()] == [2]

    def test_the_largest_delay_is_that_of_the_minute(self):
        ticking = Ticking()
        ticking.tell(*(pulse(T + second * 1_000, after=T + second * 1_000 - 1_000) for second in range(31)))
        assert (ticking.said.delays[-1].most_ms, ticking.said.delays[-1].newest) == (30_000, T + 30_000)
        ticking.tell(pulse(T + MINUTE_MS, after=T + 30_000))
        last = ticking.said.delays[-1]
        assert (last.start, last.most_ms, last.watermark, last.revision) == (T + MINUTE_MS, 0, T + MINUTE_MS, 1)

    def test_a_watermark_of_several_pulses_is_whole_with_the_last(self):
        market = Market(RULES, 1)
        market.take_pulses([pulse(T, [total(T - 5, 900_000)], follows=True)], 0)
        assert (market.order.passed, market.take().anomalies) == (0, [])
        market.take_pulses([pulse(T, [total(T - 4, 900_000)], part=1)], 1)
        assert market.order.passed == T
        assert len(market.take().anomalies) == 1

    def test_large_ticks_are_several_pulses(self):
        chosen = [liquidation(number, T - number, micros=1) for number in range(5_000)]
        log = [
            heartbeat(T - 10_000_000),
            *(replace(one, event_time=T - 10_000_000 + number * 1_000) for number, one in enumerate(chosen)),
            heartbeat(T),
        ]
        first, *rest = pulses_of(log)
        assert not first.sums
        assert [(one.part, one.follows, len(one.sums)) for one in rest] == [(0, True, 4_000), (1, False, 1_000)]


class TestWhatComesTwiceOrNot:
    """Pulses are recognised by their partition and watermark."""

    def test_pulses_that_come_again_change_nothing(self):
        pulses = pulses_of(crash(60))
        plain = market_of(pulses, 1)
        again = market_of([one for pair in zip(pulses, pulses, strict=True) for one in pair] + pulses, 1)
        assert again.latest() == plain.latest()

    def test_a_hole_is_seen_and_a_new_beginning_is_none(self):
        order = Market(RULES, 1).order
        order.take(pulse(T))
        assert not order.misses_some_before(pulse(T + 1_000, after=T))
        assert order.misses_some_before(pulse(T + 2_000, after=T + 1_000))
        assert not order.misses_some_before(pulse(T + 9_000, after=0))
        order.take(pulse(T + 1_000, after=T, follows=True))
        assert not order.misses_some_before(pulse(T + 1_000, after=T, part=1))
        assert order.misses_some_before(pulse(T + 1_000, after=T, part=2))


class TestStoredState:
    """Cells hold what waits and what is open, and no more."""

    def test_a_pulse_is_stored_while_it_waits(self):
        market, said = Market(RULES, 2), Said()
        market.take_pulses([pulse(T, [total(T - 1, 5)], channels=[PulseChannel("a", "b", 0.5)])], 0)
        said.add(market.take())
        assert sum(key.startswith(b"held/") for key in said.cells) == 1
        market = Market(RULES, 2)
        market.restore(said.cells)
        assert market.offset == 0
        market.take_pulses([pulse(T, partition=1)], 1)
        said.add(market.take())
        assert not any(key.startswith(b"held/") for key in said.cells)
        assert any(key.startswith(b"minute/") for key in said.cells)

    def test_minutes_that_left_the_window_are_deleted(self):
        ticking = Ticking()
        for hour in range(5):
            for minute in range(60):
                ticking.at(T + hour * HOUR_MS + minute * MINUTE_MS, 1)
        assert sum(key.startswith(b"minute/") for key in ticking.said.cells) <= 61

    def test_other_rules_close_what_is_open_and_begin_anew_over_the_same_sums(self):
        ticking = Ticking()
        ticking.at(T, 1_500_000)
        other = Rules(rolling_threshold=RollingThresholdRule(base_usd=2_000_000))
        market = Market(other, 1)
        market.restore(ticking.said.cells)
        ticking.said.add(market.take())
        (row,) = ticking.said.latest()
        assert (row.state, row.ended, row.rules_hash) == ("closed", T + 1, RULES.hash)
        assert not any(key.startswith(b"finding/") for key in ticking.said.cells)
        market.take_pulses([pulse(T + 1_000, [total(T + 500, 600_000)], T + 1)], 2)
        (row,) = market.take().anomalies
        assert (row.value, row.threshold, row.rules_hash) == (2_100_000.0, 2e6, other.hash)

    def test_another_number_of_partitions_is_refused(self):
        cells = dict(Market(RULES, 2).take().cells)
        with pytest.raises(CheckpointError, match="with 2 partitions, the settings say 3"):
            Market(RULES, 3).restore(cells)
