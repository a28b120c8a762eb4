"""How likely it is that a channel which is up has nothing to say.

Time is cut into slots of ten seconds. A slot in which a channel was up is *busy* if it brought data in it, however
much: a burst counts once. From the share of busy slots in its own past follows how likely an empty slot is; from what
the other exchanges bring at the same moment, how much calmer than usual the market is. Empty slots in a row multiply.
`docs/coverage.md` derives this and gives its rate of false alarms and its delay.

All numbers here are functions of the heartbeats in the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Final

from pipeline.windows.parameters import WindowParameters

ChannelKey = tuple[str, str]  # exchange, channel

SLOT_MS: Final = 10_000

# Empty slots that every past begins with, so that a short one proves little: ten minutes.
_DOUBTED_SLOTS: Final = 60.0
# A past is judged by from so many slots on (ten minutes), of which so many were busy.
_LEAST_SLOTS: Final = 60.0
_LEAST_BUSY: Final = 30.0
# What a channel brings just now is an average over about two minutes.
_RECENT_SHARE: Final = 1 / 12
# More than this in one slot is a burst of its own, of which nothing follows for others: three times the usual.
_BURST_TIMES: Final = 3.0
_BURST_AT_LEAST: Final = 3.0
# A channel that usually brings less than this in a slot does not show in two minutes how calm the market is.
_TELLING_PER_SLOT: Final = 0.5
# However calm the others are, this share of the usual is expected: all may be silent at once.
_LEAST_ACTIVITY: Final = 0.1
# Euler's constant: the largest of n waiting times of mean one is about log(n) + this.
_EULER: Final = 0.5772156649015329


@dataclass(slots=True)
class Habit:
    """What one channel usually brings, and what is missing since its last data.

    Sums over past slots in which it was up, of which each slot takes its share: `slots`, `busy` ones, data `messages`
    (bursts cut off). `recent` is the average of messages in a slot just now. `longest` is the longest wait for data in
    the past, in units of the usual wait; it fades, too. `waited` is the present wait in those units: the exponent of
    its probability. `expected` counts the messages that were likely in it.
    """

    slots: float = 0.0
    busy: float = 0.0
    messages: float = 0.0
    recent: float = 0.0
    longest: float = 0.0
    waited: float = 0.0
    expected: float = 0.0

    @property
    def is_known(self) -> bool:
        """Tell whether the past suffices to judge by."""
        return self.slots >= _LEAST_SLOTS and self.busy >= _LEAST_BUSY

    @property
    def usual(self) -> float:
        """Return the average of messages in a slot."""
        return self.messages / self.slots if self.slots else 0.0

    @property
    def waits(self) -> float:
        """Return how many usual waits an empty slot is, at usual activity: its probability is exp of minus this."""
        return -log(1.0 - self.busy / (self.slots + _DOUBTED_SLOTS))

    @property
    def stretch(self) -> float:
        """Return by how much waits are longer than independent busy slots would make them, at least 1.

        The largest of n independent waits of mean m is about m (log n + 0.577): the longest that was seen tells m.
        """
        return max(1.0, self.longest / (log(max(self.busy, _LEAST_BUSY)) + _EULER))

    @property
    def probability(self) -> float:
        """Return how likely a wait as long as the present one is."""
        return exp(-self.waited / self.stretch)

    def hear(self) -> None:
        """End the wait: data came."""
        self.longest = max(self.longest, self.waited)
        self.waited = self.expected = 0.0

    def resume(self) -> None:
        """End a silence, of which nothing is learnt: a second one must not hide behind it."""
        self.waited = self.expected = 0.0


def judge(
    habits: Mapping[ChannelKey, Habit], brought: Mapping[ChannelKey, int], parameters: WindowParameters
) -> list[ChannelKey]:
    """Take one slot in; return the channels whose silence can no longer be chance, in the order of their names.

    `brought` gives the data messages of each channel that was up in the slot and is not known to be silent. Whoever
    brought nothing and is returned is to be left out until data come again.
    """
    activities = _activities(habits, brought)
    found = []
    for key, messages in sorted(brought.items()):
        habit = habits[key]
        if messages:
            habit.hear()
        elif habit.is_known:
            activity = _of_others(activities, key[0])
            habit.waited += habit.waits * activity
            habit.expected += habit.usual * activity
            if habit.probability < parameters.silence_probability:
                found.append(key)
                continue
        _learn(habit, messages, parameters)
    return found


def _activities(habits: Mapping[ChannelKey, Habit], brought: Mapping[ChannelKey, int]) -> dict[str, float]:
    """Return for each exchange what it brings now, as a share of the usual.

    Its calmest channel counts: candles come in any market.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for key in brought:
        habit = habits[key]
        if habit.is_known and habit.usual >= _TELLING_PER_SLOT:
            shares[key[0]].append(habit.recent / habit.usual)
    return {exchange: min(found) for exchange, found in shares.items()}


def _of_others(activities: Mapping[str, float], exchange: str) -> float:
    """Return how active the others are, from 0.1 to 1: the middle one of them, 1 if there is none to compare with."""
    others = [share for other, share in activities.items() if other != exchange]
    return min(1.0, max(_LEAST_ACTIVITY, median(others))) if others else 1.0


def _learn(habit: Habit, messages: int, parameters: WindowParameters) -> None:
    counted = min(float(messages), max(_BURST_AT_LEAST, _BURST_TIMES * habit.usual))
    kept = 0.5 ** (SLOT_MS / parameters.silence_half_life_ms)
    habit.slots = habit.slots * kept + 1.0
    habit.busy = habit.busy * kept + (messages > 0)
    habit.messages = habit.messages * kept + counted
    habit.longest *= kept
    habit.recent += (counted - habit.recent) * _RECENT_SHARE
