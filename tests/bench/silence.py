"""Measure the statistic of silence on the simulated market: false alarms on calm days, and its delay.

Run as `python tests/bench/silence.py [--seeds N] [--days D]`. Prints the tables of `docs/coverage.md`. The calm days
are those before the crash of a longer run; quiet channels are made by drawing one message in so many of a busy one. In
the second table messages are left out, so that the market, or one exchange, calms down without falling silent. The
fourth is of the market of leveraged traders, whose forced orders come in cascades; the third has the shape of spring
2026.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from pipeline.embedded.simulator import simulate_with_truth
from pipeline.embedded.simulator.leverage import SCENARIOS, Run
from pipeline.embedded.simulator.simulation import START_MS
from pipeline.records import Heartbeat
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.silence import SLOT_MS, ChannelKey, Habit, judge

SLOTS_PER_HOUR = 3_600_000 // SLOT_MS
# One message in so many of Binance's makes a channel of the exchange of that name.
THINNED = {"quiet60": 50, "quiet20": 150, "quiet6": 500, "quiet2": 1_500}
NAMES = ("silence_false_alarms", "silence_delay_s")
# Enough to notice a change; the tables of the documentation take more.
QUICK_SEEDS = 2
QUICK_MOMENTS = 4
# From this share on a channel counts as busy: its silence is to be found within five minutes.
BUSY_SHARE = 0.7
# The crash comes at two thirds of a run.
CALM = 2 / 3
WARM_HOURS = 3
LONGEST_WAIT_HOURS = 16
DELAY_SEEDS = 2
STRESS_SEEDS = 3
NOON = 12 * SLOTS_PER_HOUR

# In place of a number of messages: the channel was down.
DOWN = -1
# How often (s) the collector of the leveraged market speaks.
HEARTBEAT_S = 5
LEVERAGED_SEED = 7
# How long the past is before the silence of spring 2026 begins.
SPRING_MINUTES = (10, 15, 30, 60, 180)
# The silences in the scenarios themselves are no false alarms: exchange, and from which slot to which.
TRUE_SILENCES = {
    scenario: [
        (outage.exchange, outage.begin_s * 1000 // SLOT_MS, outage.end_s * 1000 // SLOT_MS)
        for outage in SCENARIOS[scenario].outages
        if outage.kind == "silent"
    ]
    for scenario in SCENARIOS
}

Counts = Mapping[ChannelKey, Mapping[int, int]]  # data messages by channel and slot, or DOWN


@dataclass
class Outcome:
    """Silences by channel and the slot in which they were found, and the largest exponent that was reached."""

    found: list[tuple[ChannelKey, int]]
    largest: dict[ChannelKey, float]


class Watch:
    """Judge slots one after the other."""

    def __init__(self, counts: Counts, parameters: WindowParameters) -> None:
        self.counts, self.parameters = counts, parameters
        self.habits = {key: Habit() for key in counts}
        self.silent: set[ChannelKey] = set()

    def slot(self, slot: int, mute: str = "") -> list[ChannelKey]:
        """Judge a slot, in which an exchange may be mute; return whose silence is found."""
        brought = {
            key: 0 if key[0] == mute else by_slot.get(slot, 0)
            for key, by_slot in self.counts.items()
            if by_slot.get(slot, 0) != DOWN
        }
        for key in [key for key in self.silent if brought.get(key)]:
            self.silent.remove(key)
            self.habits[key].resume()
        heard = {key: number for key, number in brought.items() if key not in self.silent}
        found = judge(self.habits, heard, self.parameters)
        self.silent.update(found)
        return found

    def fork(self) -> Watch:
        """Return another that goes on from here."""
        other = Watch(self.counts, self.parameters)
        other.habits, other.silent = copy.deepcopy(self.habits), set(self.silent)
        return other


def calm(seed: int, hours: float) -> Counts:
    """Return the data messages of the simulated market before its crash."""
    chance = random.Random(f"thin {seed}")
    counts: dict[ChannelKey, Counter[int]] = defaultdict(Counter)
    for frame, rows in simulate_with_truth(seed, hours / CALM):
        slot = (frame.received_time // 1000 - START_MS) // SLOT_MS
        if slot >= hours * SLOTS_PER_HOUR:
            break
        if not rows:
            continue
        counts[frame.exchange, frame.channel][slot] += 1
        if frame.exchange == "binance":
            for name, one_in in THINNED.items():
                counts[name, "orders"][slot] += chance.randrange(one_in) == 0
    return counts


def leveraged(scenario: str, seed: int) -> Counts:
    """Return the data messages of a scenario of leveraged traders."""
    counts: dict[ChannelKey, Counter[int]] = defaultdict(Counter)
    start_ms = SCENARIOS[scenario].start_ms
    for item in Run(SCENARIOS[scenario], seed, HEARTBEAT_S).items():
        if isinstance(item, Heartbeat):
            by_slot, slot = counts[item.exchange, item.channel], (item.time - 1 - start_ms) // SLOT_MS
            if item.state == "down":
                by_slot[slot] = DOWN
            elif by_slot[slot] != DOWN:
                by_slot[slot] += item.frames
    return counts


def watch(counts: Counts, slots: range, parameters: WindowParameters) -> Outcome:
    """Judge the slots one after the other."""
    watching = Watch(counts, parameters)
    largest = dict.fromkeys(counts, 0.0)
    found: list[tuple[ChannelKey, int]] = []
    for slot in slots:
        found += [(key, slot) for key in watching.slot(slot)]
        for key in counts.keys() - watching.silent:
            habit = watching.habits[key]
            largest[key] = max(largest[key], habit.waited / habit.stretch)
    return Outcome(found, largest)


def _after_noon(share: float, exchange: str = "") -> Callable[[ChannelKey, int], float]:
    return lambda key, slot: share if slot >= NOON and exchange in ("", key[0]) else 1.0


def _day_and_night(_key: ChannelKey, slot: int) -> float:
    return 0.55 + 0.45 * math.cos(slot / (24 * SLOTS_PER_HOUR) * math.tau)


def _by_turns(key: ChannelKey, slot: int) -> float:
    """Let each exchange be calm for ten minutes or not, whatever the others are."""
    return 1.0 if random.Random(f"{key[0]} {slot // 60}").random() < 0.5 else 0.2


STRESSES: Mapping[str, Callable[[ChannelKey, int], float]] = {
    "all fall to a fifth at once": _after_noon(0.2),
    "all fall to a tenth at once": _after_noon(0.1),
    "all fall to a twentieth at once": _after_noon(0.05),
    "day and night, ten to one": _day_and_night,
    "one exchange alone falls to 30 %": _after_noon(0.3, "bybit"),
    "one exchange alone falls to a tenth": _after_noon(0.1, "bybit"),
    "each exchange calm (a fifth) or not, changing every ten minutes": _by_turns,
}


def thinned(counts: Counts, kept: Callable[[ChannelKey, int], float]) -> Counts:
    """Return the counts when of each message in a slot this share is kept."""
    chance = random.Random(5)
    return {
        key: {slot: sum(chance.random() < kept(key, slot) for _ in range(number)) for slot, number in by_slot.items()}
        for key, by_slot in counts.items()
    }


def delays(counts: Counts, hours: float, parameters: WindowParameters, times: int) -> list[tuple[ChannelKey, int]]:
    """Return for each channel how many seconds after its last data its silence was found, at some moments.

    A wait that is not over after `LONGEST_WAIT_HOURS`, or with the counts, is left out, as is an outage of its own.
    """
    chance = random.Random(7)
    last = int(hours * SLOTS_PER_HOUR)
    exchanges = sorted({exchange for exchange, _ in counts})
    moments = sorted(chance.randrange(WARM_HOURS * SLOTS_PER_HOUR, last) for _ in range(times))
    watching, waits = Watch(counts, parameters), []
    for slot in range(last):
        for exchange in exchanges * moments.count(slot):
            waits += _muted(watching.fork(), exchange, slot, last)
        watching.slot(slot)
    return waits


def _muted(watching: Watch, exchange: str, since: int, last: int) -> list[tuple[ChannelKey, int]]:
    missing = {key for key in watching.counts if key[0] == exchange} - watching.silent
    waits = []
    for slot in range(since, min(since + LONGEST_WAIT_HOURS * SLOTS_PER_HOUR, last)):
        if not missing or any(watching.counts[key].get(slot) == DOWN for key in missing):
            break
        for key in missing.intersection(watching.slot(slot, exchange)):
            missing.remove(key)
            began = max(
                (slot for slot, number in watching.counts[key].items() if number > 0 and slot < since), default=since
            )
            waits.append((key, (slot - began) * SLOT_MS // 1000))
    return waits


@dataclass
class Measured:
    """What was seen of each channel on calm days, and in how many seconds each of its silences was found."""

    days: float
    alarms: Counter[ChannelKey] = field(default_factory=Counter)
    largest: dict[ChannelKey, float] = field(default_factory=lambda: defaultdict(float))
    messages: Counter[ChannelKey] = field(default_factory=Counter)
    busy: Counter[ChannelKey] = field(default_factory=Counter)
    waits: dict[ChannelKey, list[int]] = field(default_factory=lambda: defaultdict(list))

    def busy_share(self, key: ChannelKey) -> float:
        """Return the share of a channel's slots that brought data."""
        return self.busy[key] / (self.days * 24 * SLOTS_PER_HOUR)


def measure(seeds: int, days: float, moments: int, parameters: WindowParameters) -> Measured:
    """Watch `days` calm days of each seed, and let each exchange go silent at `moments` moments of the first seeds."""
    measured = Measured(seeds * days)
    hours = days * 24
    for seed in range(1, seeds + 1):
        counts = calm(seed, hours)
        outcome = watch(counts, range(int(hours * SLOTS_PER_HOUR)), parameters)
        measured.alarms.update(key for key, _ in outcome.found)
        for key, by_slot in counts.items():
            measured.largest[key] = max(measured.largest[key], outcome.largest[key])
            measured.messages[key] += sum(by_slot.values())
            measured.busy[key] += sum(number > 0 for number in by_slot.values())
        if seed <= DELAY_SEEDS:
            for key, wait_s in delays(counts, hours, parameters, moments):
                measured.waits[key].append(wait_s)
    return measured


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:  # noqa: ARG001
    """Take both measures on a few days: they are the same each time, on any machine."""
    measured = measure(QUICK_SEEDS, 1.0, QUICK_MOMENTS, WindowParameters())
    busy = [wait for key, waits in measured.waits.items() if measured.busy_share(key) >= BUSY_SHARE for wait in waits]
    values = {"silence_false_alarms": float(measured.alarms.total()), "silence_delay_s": float(max(busy))}
    how = {
        " ".join(key): {
            "busy_slots": round(measured.busy_share(key), 3),
            "largest_exponent": round(measured.largest[key], 1),
            "delays_s": measured.waits[key],
        }
        for key in sorted(measured.messages)
    }
    return values, {"silence": {"calm_days": measured.days, "channels": how}}


def main() -> None:
    """Print false alarms and delays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--days", type=float, default=1.0, help="calm days for each seed")
    parser.add_argument("--moments", type=int, default=8, help="moments at which each exchange goes silent, per seed")
    options = parser.parse_args()
    parameters = WindowParameters()
    measured = measure(options.seeds, options.days, options.moments, parameters)
    days, messages = measured.days, measured.messages
    lines = [
        f"{days:.0f} calm days, {measured.alarms.total()} false alarms",
        "| channel | messages an hour | busy slots | false alarms | largest exponent | delay, median | longest |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in sorted(messages, key=lambda key: -messages[key]):
        found = measured.waits[key]
        delay = f"{statistics.median(found):.0f} s | {max(found)} s" if found else "not found | "
        lines.append(
            f"| {key[0]} {key[1]} | {messages[key] / days / 24:.0f} | {measured.busy_share(key):.1%}"
            f" | {measured.alarms[key]} | {measured.largest[key]:.1f} | {delay} |"
        )
    lines += [*stresses(parameters), *spring_2026(parameters), *scenarios(parameters, options.moments)]
    Console(soft_wrap=True, highlight=False).print("\n".join(lines), markup=False)


def spring_2026(parameters: WindowParameters) -> Sequence[str]:
    """Return a line for each length of the past: Binance is up and brings nothing while Bybit and OKX go on."""
    lines = ["", "| minutes of past | delay, median | longest |", "|---|---|---|"]
    days = [calm(seed, 24) for seed in range(1, STRESS_SEEDS + 1)]
    for minutes in SPRING_MINUTES:
        past = minutes * SLOTS_PER_HOUR // 60
        waits = []
        for day in days:
            for begin in range(0, 20 * SLOTS_PER_HOUR, 4 * SLOTS_PER_HOUR):
                three = {key: by_slot for key, by_slot in day.items() if key[0] in ("binance", "bybit", "okx")}
                watching = Watch(three, parameters)
                for slot in range(begin, begin + past):
                    watching.slot(slot)
                waits += [wait_s for _, wait_s in _muted(watching, "binance", begin + past, begin + past + past)]
        lines.append(f"| {minutes} | {statistics.median(waits):.0f} s | {max(waits)} s |")
    return lines


def scenarios(parameters: WindowParameters, moments: int) -> Sequence[str]:
    """Return the lines of the third table."""
    lines = [
        "",
        "| scenario | exchange | an hour | busy | false | exponent | median | 90 % | in 300 s | its own silence |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario, setting in SCENARIOS.items():
        hours = setting.seconds / 3600
        counts = leveraged(scenario, LEVERAGED_SEED)
        found = watch(counts, range(int(hours * SLOTS_PER_HOUR)), parameters).found
        waits: dict[ChannelKey, list[int]] = defaultdict(list)
        for key, wait_s in delays(counts, hours, parameters, moments):
            waits[key].append(wait_s)
        spared = _without_silences(counts, scenario)
        largest = watch(spared, range(int(hours * SLOTS_PER_HOUR)), parameters).largest
        for key, by_slot in counts.items():
            own = [one for one in TRUE_SILENCES[scenario] if one[0] == key[0]]
            alarms = [slot for channel, slot in found if channel == key]
            false = [slot for slot in alarms if not any(begin <= slot < end for _, begin, end in own)]
            told = [
                f"{(slot + 1 - begin) * SLOT_MS // 1000} s"
                for _, begin, end in own
                for slot in alarms
                if begin <= slot < end
            ]
            data = [number for number in by_slot.values() if number > 0]
            seen = sorted(waits[key])
            middle, long = statistics.median(seen), seen[len(seen) * 9 // 10]
            lines.append(
                f"| {scenario} | {key[0]} | {sum(data) / hours:.0f} | {len(data) / hours / SLOTS_PER_HOUR:.0%}"
                f" | {len(false)} | {largest[key]:.1f} | {middle:.0f} s | {long} s"
                f" | {sum(wait_s <= 300 for wait_s in seen) / len(seen):.0%} | {', '.join(told)} |"
            )
    return lines


def _without_silences(counts: Counts, scenario: str) -> Counts:
    """Return the same with the silences of the scenario said to be outages."""
    spared = {key: dict(by_slot) for key, by_slot in counts.items()}
    for exchange, begin, end in TRUE_SILENCES[scenario]:
        for key in spared:
            if key[0] == exchange:
                spared[key] |= dict.fromkeys(range(begin, end + 1), DOWN)
    return spared


def stresses(parameters: WindowParameters) -> Sequence[str]:
    """Return the lines of the second table."""
    lines = ["", f"| {STRESS_SEEDS} days in which | false alarms | largest exponent |", "|---|---|---|"]
    days = [calm(seed, 24) for seed in range(1, STRESS_SEEDS + 1)]
    for name, kept in STRESSES.items():
        outcomes = [watch(thinned(day, kept), range(24 * SLOTS_PER_HOUR), parameters) for day in days]
        alarms = sum(len(outcome.found) for outcome in outcomes)
        largest = max(max(outcome.largest.values()) for outcome in outcomes)
        lines.append(f"| {name} | {alarms} | {largest:.1f} |")
    return lines


if __name__ == "__main__":
    main()
