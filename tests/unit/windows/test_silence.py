"""A channel that is up and brings nothing."""

from __future__ import annotations

from math import exp
from math import log as logarithm
from random import Random
from typing import ClassVar

import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, heartbeat, liquidation, run, subscription

from pipeline.windows.parameters import WindowParameters
from pipeline.windows.silence import SLOT_MS, Habit, judge

BINANCE, BYBIT, OKX = CHANNELS
MINUTE_MS = 60_000
SLOTS_PER_HOUR = 3_600_000 // SLOT_MS
PARAMETERS = WindowParameters()


class Market:
    """Heartbeats of every second, with as many data messages as a seed and a rate give."""

    def __init__(self, rates=None, seed=1):
        self.rates = rates or {BINANCE: 0.8, BYBIT: 0.7, OKX: 0.4}
        self.chance = Random(seed)
        self.log = []
        self.now = BASE_MS

    def run(self, seconds, silent=(), down=(), collectors=("one",), deaf=(), share=1.0):
        for _ in range(seconds):
            self.now += 1_000
            for channel, rate in self.rates.items():
                messages = self.chance.random() < rate * share
                for collector in collectors:
                    frames = 0 if channel in silent or collector in deaf else int(messages)
                    state = "down" if channel in down else "up"
                    self.log.append(heartbeat(self.now, channel, state, collector, frames))
        return self

    def silences(self):
        return sorted(run(self.log)[0].latest().silences.values(), key=lambda one: (one.found, one.exchange))

    def coverage(self, channel=BINANCE):
        rows = run(self.log)[0].latest().coverage
        return {
            (row.start - BASE_MS) // MINUTE_MS: (row.alive_ms, row.revision)
            for (exchange, name, _), row in rows.items()
            if (exchange, name) == channel
        }


def test_the_shape_of_spring_2026_is_found_within_five_minutes():
    """Binance acknowledges, stays up and sends nothing, while the others go on."""
    market = Market().run(3_600).run(1_200, silent={BINANCE})
    (silence,) = market.silences()
    assert (silence.exchange, silence.channel, silence.ended, silence.revision) == (*BINANCE, None, 1)
    assert BASE_MS + 3_590_000 < silence.began <= BASE_MS + 3_600_000
    assert silence.found - silence.began < 300_000
    assert silence.probability < PARAMETERS.silence_probability
    assert 30 < silence.expected < 300


def test_a_short_past_suffices():
    market = Market().run(1_200).run(600, silent={BINANCE})
    (silence,) = market.silences()
    assert silence.found - silence.began < 300_000


def test_coverage_is_zero_from_the_last_data_on_and_settled_minutes_are_said_again():
    market = Market().run(3_630).run(600, silent={BINANCE}).run(130)
    (silence,) = market.silences()
    began, ended = silence.began - BASE_MS, silence.ended - BASE_MS
    covered = market.coverage()
    assert covered[59] == (60_000, 1)
    assert covered[60] == (began - 60 * MINUTE_MS, 2)
    assert covered[61][0] == covered[62][0] == 0
    assert covered[61][1] == 2
    assert covered[66] == (0, 1)
    last = ended // MINUTE_MS
    assert covered[last] == ((last + 1) * MINUTE_MS - ended, 1)
    assert 4_230_000 < ended < 4_240_000
    assert silence.revision == 2
    assert {alive for minute, (alive, _) in market.coverage(BYBIT).items() if minute > 0} == {60_000}


def test_bars_know_of_it():
    market = Market().run(3_600).run(600, silent={BINANCE})
    market.log.append(liquidation(1, market.now - 120_000, CONTRACTS[0]))
    (bar,) = run(market.log)[0].latest().bars.values()
    assert bar["coverage"] == 0.0


def test_the_coverage_of_contracts_is_said_again_too():
    market = Market()
    market.log.append(subscription(BASE_MS, CONTRACTS[2]))
    market.run(3_610)
    # An hour later another contract is confirmed in the middle of a minute, and soon after the channel goes silent.
    market.log.append(subscription(market.now, ("bybit", "ETHUSDT", "ETH", "linear")))
    market.run(15).run(600, silent={BYBIT})
    rows = run(market.log, parameters=PARAMETERS)[0].contracts["bybit", "linear", BASE_MS + 60 * MINUTE_MS, "ETHUSDT"]
    (silence,) = market.silences()
    assert rows[1].alive_ms == 50_000
    assert rows[2].alive_ms == silence.began - BASE_MS - 3_610_000


def test_a_second_silence_is_found_like_the_first():
    market = Market().run(3_600)
    for _ in range(4):
        market.run(400, silent={BINANCE}).run(120)
    silences = market.silences()
    assert len(silences) == 4
    assert max(one.found - one.began for one in silences) < 300_000


def test_when_the_market_is_calm_nobody_is_silent():
    market = Market().run(3_600).run(3_600, share=0.08)
    assert not market.silences()


def test_a_calm_market_does_not_hide_a_silence_for_ever():
    market = Market().run(3_600).run(600, share=0.2).run(1_800, share=0.2, silent={OKX})
    (silence,) = market.silences()
    assert (silence.exchange, silence.channel) == OKX


def test_all_at_once_are_found():
    """The others' activity excuses much, but not everything: the fault may be the collector's own."""
    market = Market().run(3_600).run(1_200, silent=set(CHANNELS))
    assert {(one.exchange, one.channel) for one in market.silences()} == set(CHANNELS)
    assert max(one.found - one.began for one in market.silences()) < 600_000


def test_a_channel_that_is_down_is_not_silent():
    market = Market().run(3_600).run(1_800, down={BINANCE}, silent={BINANCE}).run(600)
    assert not market.silences()


def test_it_takes_all_collectors_that_are_up_to_be_silent():
    one_deaf = Market().run(3_600, collectors=("one", "two")).run(1_200, collectors=("one", "two"), deaf={"one"})
    assert not one_deaf.silences()
    both = Market().run(3_600, collectors=("one", "two")).run(600, collectors=("one", "two"), silent={BINANCE})
    assert len(both.silences()) == 1
    other_gone = Market().run(3_600, collectors=("one", "two")).run(600, silent={BINANCE})
    assert len(other_gone.silences()) == 1


def test_a_burst_on_one_exchange_makes_nobody_else_silent():
    market = Market({BINANCE: 0.3, BYBIT: 0.3, OKX: 0.05}).run(7_200)
    for _ in range(600):
        market.now += 1_000
        for channel in CHANNELS:
            frames = 500 if channel == BYBIT else int(market.chance.random() < market.rates[channel])
            market.log.append(heartbeat(market.now, channel, frames=frames))
    assert not market.run(3_600).silences()


def test_a_quiet_channel_needs_its_time():
    """Ten messages an hour: about fourteen usual waits."""
    rates = {BINANCE: 0.8, BYBIT: 0.7, OKX: 10 / 3_600}
    market = Market(rates, seed=3).run(8 * 3_600)
    assert not market.silences()
    market.run(5 * 3_600, silent={OKX})
    (silence,) = market.silences()
    assert 3_600_000 < silence.found - silence.began < 4 * 3_600_000


def test_a_quiet_channel_turns_to_zero_from_the_last_data_on_however_long_ago():
    rates = {BINANCE: 0.8, OKX: 10 / 3_600}
    market = Market(rates, seed=3).run(8 * 3_600).run(5 * 3_600, silent={OKX})
    (silence,) = market.silences()
    covered = market.coverage(OKX)
    began = (silence.began - BASE_MS) // MINUTE_MS
    assert covered[began - 1] == (60_000, 1)
    assert covered[began] == ((silence.began - BASE_MS) % MINUTE_MS, 2)
    assert {covered[minute][0] for minute in covered if minute > began} == {0}


def test_a_channel_without_a_past_is_not_judged():
    market = Market({BINANCE: 0.8, BYBIT: 0.8, OKX: 0.0}).run(7_200)
    assert not market.silences()


def test_it_can_be_turned_off():
    market = Market().run(3_600).run(1_200, silent={BINANCE})
    assert not run(market.log, parameters=WindowParameters(silence_probability=0.0))[0].silences


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_the_probability_of_independent_slots_is_true(share):
    """Without a market the exponent of an empty slot is that of its probability, and waits end as often as it says."""
    chance = Random(1)
    habits = {BINANCE: Habit()}
    waits = []
    for _ in range(60_000):
        busy = chance.random() < share
        if busy:
            waits.append(habits[BINANCE].waited)
        assert not judge(habits, {BINANCE: int(busy)}, PARAMETERS)
    assert habits[BINANCE].share(1.0) == pytest.approx(share, rel=0.1)
    least = -2.5 * logarithm(1 - share)
    assert sum(wait > least for wait in waits) / len(waits) == pytest.approx((1 - share) ** 3, rel=0.35)
    # More than 1.2, because waits come in whole slots.
    assert habits[BINANCE].stretch < 1.4


def test_an_empty_slot_never_counts_as_more_than_a_usual_wait_and_a_fifth():
    """So that what is called a silence lasted two minutes at least, however busy the channel is."""
    habits = {BINANCE: Habit()}
    for _ in range(360):
        judge(habits, {BINANCE: 50}, PARAMETERS)
    slots = 1
    while not judge(habits, {BINANCE: 0}, PARAMETERS):
        slots += 1
    assert 120 <= slots * SLOT_MS // 1000 <= 150


class CommonMarket:
    """Slots of exchanges that see one market: calm and wild hours, and clusters of which each sees a part."""

    RATES: ClassVar = {"binance": 5.0, "bybit": 2.0, "okx": 1.2, "gate": 0.5, "htx": 0.2, "bitmex": 0.05}

    def __init__(self, seed):
        self.chance = Random(seed)
        self.level = 0.0
        self.habits = {(exchange, "orders"): Habit() for exchange in self.RATES} | {("binance", "candles"): Habit()}
        self.silent = set()

    def slot(self, mute=()):
        """Play ten seconds; return whose silence is found."""
        chance = self.chance
        self.level = self.level * 0.998 + chance.gauss(0.0, 0.045)
        cluster = chance.random() < 0.03
        brought = {("binance", "candles"): 40 + chance.randrange(5)}
        for exchange, rate in self.RATES.items():
            expected = rate * exp(self.level) * (6.0 if cluster else 1.0)
            brought[exchange, "orders"] = 0 if exchange in mute else poisson(chance, expected)
        for key in [key for key in self.silent if brought[key]]:
            self.silent.remove(key)
            self.habits[key].resume()
        heard = {key: messages for key, messages in brought.items() if key not in self.silent}
        found = judge(self.habits, heard, PARAMETERS)
        self.silent.update(found)
        return found


def poisson(chance, expected):
    """Return how many independent events happened."""
    count, left = -1, min(expected, 50.0)
    while left > 0.0:
        left -= chance.expovariate(1.0)
        count += 1
    return count


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_calm_day_has_no_false_alarm(seed):
    market = CommonMarket(seed)
    assert not [key for _ in range(24 * SLOTS_PER_HOUR) for key in market.slot()]


@pytest.mark.parametrize("hours", [0.5, 1, 6])
@pytest.mark.parametrize("exchange", ["binance", "bybit"])
def test_who_usually_brings_enough_is_found_within_five_minutes(exchange, hours):
    """The shape of spring 2026: one exchange acknowledges and sends nothing while the others go on."""
    for seed in range(1, 6):
        market = CommonMarket(seed)
        assert not [key for _ in range(int(hours * SLOTS_PER_HOUR)) for key in market.slot()]
        found = [(slot, key) for slot in range(1, 31) for key in market.slot(mute={exchange})]
        assert [key for _, key in found] == [(exchange, "orders")]


def test_what_the_others_show_makes_a_quiet_channel_found_sooner():
    """In a burst everywhere half an hour of nothing is no chance any more; in a calm of all it is."""
    waits = {}
    for level in (-1.0, 1.0):
        market = CommonMarket(3)
        for _ in range(12 * SLOTS_PER_HOUR):
            market.slot()
        waits[level] = 0
        market.level = level
        while ("htx", "orders") not in market.slot(mute={"htx"}):
            market.level = level
            waits[level] += 1
    assert waits[1.0] * 2 < waits[-1.0]


def test_irregular_waits_are_learnt():
    """A channel that falls asleep for ten minutes now and then is not independent from slot to slot."""
    chance = Random(2)
    habits = {BINANCE: Habit(), BYBIT: Habit()}
    found = []
    for hour in range(48):
        for slot in range(3_600_000 // SLOT_MS):
            asleep = slot // 12 % 5 == hour % 5
            brought = {BINANCE: int(not asleep and chance.random() < 0.7), BYBIT: 1}
            found += judge(habits, brought, PARAMETERS)
    assert habits[BINANCE].stretch > 1.3
    assert not found
