"""How likely it is that a channel which is up has nothing to say.

Time is cut into slots of ten seconds. A slot in which a channel was up is *busy* if it brought data in it, however
much: a burst counts once. How likely an empty slot is follows from the channel's own past, from its slots in which the
other exchanges were as active as they are in this one. Empty slots in a row multiply. `docs/coverage.md` derives this
and gives its rate of false alarms and its delay.

All numbers here are functions of the heartbeats in the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Final

from pipeline.windows.parameters import WindowParameters

ChannelKey = tuple[str, str]  # exchange, channel

SLOT_MS: Final = 10_000

# A past is judged by from so many slots on (ten minutes), of which so many were busy.
_LEAST_SLOTS: Final = 60.0
_LEAST_BUSY: Final = 30.0
# Empty slots that every past begins with, so that a short one proves little.
_DOUBTED_SLOTS: Final = 40.0
# However busy a channel is, an empty slot counts as if no more than this share were busy. An exchange can calm down
# within a second; so two minutes of nothing are the least that is called a silence.
_MOST_BUSY: Final = 0.7
# Slots are told apart by how active the others are, as a share of their usual: the limits between.
_ACTIVITIES: Final = (0.05, 0.15, 0.35, 0.6, 0.9, 1.3, 1.9, 2.8)
# Each kind of slot begins with so many that are as busy as the channel usually is, or in proportion less.
_SUPPOSED_SLOTS: Final = 30.0
# However calm the others are, this share of the usual is supposed: all may be silent at once.
_LEAST_ACTIVITY: Final = 0.15
# What a channel brings just now is half this slot, a quarter the one before, and so on.
_RECENT_SHARE: Final = 0.5
# More than this in one slot is a burst of its own, of which nothing follows for others.
_BURST_TIMES: Final = 2.0
_BURST_AT_LEAST: Final = 1.0
# A channel that always brings its usual within this share tells nothing of the market, as candles do.
_LEAST_SWING: Final = 0.15
_SWING_SLOTS: Final = 360.0
# A channel counts by what it usually brings in a slot, so many messages at most.
_MOST_WEIGHT: Final = 3.0
# With less than this in a slot, the others together tell nothing.
_LEAST_USUAL: Final = 0.01
# By how much waits that are longer than so many usual ones are longer shows how long waits are. It begins with ten
# supposed ones, a fifth longer than those of independent slots.
_LONG_WAIT: Final = 3.0
_SUPPOSED_WAITS: Final = 10.0
_SUPPOSED_BEYOND: Final = 12.0
# What comes after so many usual waits without data may be a silence, and is not taken for a habit.
_DOUBTFUL_WAIT: Final = 5.0


@dataclass(slots=True)
class Habit:
    """What one channel usually brings, and what is missing since its last data.

    Sums over past slots in which it was up, of which each slot takes its share: `slots`, `busy` ones, data `messages`
    (bursts cut off), and `by_activity` slots and busy ones for each activity of the others. `recent` is the average of
    messages in a slot just now, `swing` by what share of the usual that differs from it. `long_waits` is how many waits
    were longer than three usual ones, `beyond` the sum of what they were longer. `waited` is the present wait in usual
    ones: the exponent of its probability. `expected` counts the messages that were likely in it.
    """

    slots: float = 0.0
    busy: float = 0.0
    messages: float = 0.0
    recent: float = 0.0
    swing: float = 0.0
    long_waits: float = 0.0
    beyond: float = 0.0
    waited: float = 0.0
    expected: float = 0.0
    by_activity: list[float] = field(default_factory=lambda: [0.0] * (2 * len(_ACTIVITIES) + 2))

    @property
    def is_known(self) -> bool:
        """Tell whether the past suffices to judge by."""
        return self.slots >= _LEAST_SLOTS and self.busy >= _LEAST_BUSY

    @property
    def usual(self) -> float:
        """Return the average of messages in a slot."""
        return self.messages / self.slots if self.slots else 0.0

    @property
    def tells(self) -> bool:
        """Tell whether how much it brings is a sign of how active the market is."""
        return self.slots >= _LEAST_SLOTS and self.swing >= _LEAST_SWING

    @property
    def stretch(self) -> float:
        """Return by how much waits are longer than independent slots would make them, at least 1.

        What a wait with an exponential distribution is longer than some length has its mean again.
        """
        return max(1.0, (self.beyond + _SUPPOSED_BEYOND) / (self.long_waits + _SUPPOSED_WAITS))

    @property
    def probability(self) -> float:
        """Return how likely a wait as long as the present one is."""
        return exp(-self.waited / self.stretch)

    def share(self, activity: float) -> float:
        """Return how likely a slot is busy when the others are this active, as a share of their usual."""
        at = 2 * bisect_right(_ACTIVITIES, activity)
        usual = self.busy / (self.slots + _DOUBTED_SLOTS)
        supposed: float = 1.0 - (1.0 - usual) ** min(1.0, max(_LEAST_ACTIVITY, activity))
        return (self.by_activity[at + 1] + _SUPPOSED_SLOTS * supposed) / (self.by_activity[at] + _SUPPOSED_SLOTS)

    def hear(self) -> None:
        """End the wait: data came."""
        if self.waited > _LONG_WAIT:
            self.long_waits += 1.0
            self.beyond += self.waited - _LONG_WAIT
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
    counted = {key: _counted(habits[key], messages) for key, messages in sorted(brought.items())}
    activities = _activities(habits, counted)
    kept = 0.5 ** (SLOT_MS / parameters.silence_half_life_ms)
    found = []
    for key, messages in counted.items():
        habit = habits[key]
        activity = activities[key[0]]
        if messages:
            habit.hear()
        elif habit.is_known:
            share = habit.share(activity)
            habit.waited -= log(1.0 - min(share, _MOST_BUSY))
            habit.expected += share * habit.messages / habit.busy
            if habit.probability < parameters.silence_probability:
                found.append(key)
                continue
        _learn(habit, messages, activity, kept)
    return found


def _counted(habit: Habit, messages: int) -> float:
    """Return the messages of a slot without what is a burst, and take note of what the channel brings just now."""
    counted = min(float(messages), max(_BURST_AT_LEAST, _BURST_TIMES * habit.usual))
    habit.recent += (counted - habit.recent) * _RECENT_SHARE
    return counted


def _activities(habits: Mapping[ChannelKey, Habit], counted: Mapping[ChannelKey, float]) -> dict[str, float]:
    """Return for each exchange how active the others are, as a share of their usual; 1 if nobody tells."""
    recent: dict[str, float] = defaultdict(float)
    usual: dict[str, float] = defaultdict(float)
    for key in counted:
        habit = habits[key]
        if habit.tells:
            weight = min(_MOST_WEIGHT, habit.usual)
            recent[key[0]] += weight * habit.recent / habit.usual
            usual[key[0]] += weight
    all_recent, all_usual = sum(recent.values()), sum(usual.values())
    found = {}
    for exchange in {exchange for exchange, _ in counted}:
        others = all_usual - usual[exchange]
        # Sums of doubles differ by their order: what is left of nothing need not be zero.
        is_compared = others > _LEAST_USUAL
        found[exchange] = max(0.0, all_recent - recent[exchange]) / others if is_compared else 1.0
    return found


def _learn(habit: Habit, messages: float, activity: float, kept: float) -> None:
    habit.by_activity = [number * kept for number in habit.by_activity]
    if habit.waited <= _DOUBTFUL_WAIT:
        at = 2 * bisect_right(_ACTIVITIES, activity)
        habit.by_activity[at] += 1.0
        if messages:
            habit.by_activity[at + 1] += 1.0
    habit.slots = habit.slots * kept + 1.0
    habit.busy = habit.busy * kept + (messages > 0.0)
    habit.messages = habit.messages * kept + messages
    habit.long_waits *= kept
    habit.beyond *= kept
    if habit.messages:
        swing = abs(habit.recent / habit.usual - 1.0)
        habit.swing += (swing - habit.swing) / min(habit.slots, _SWING_SLOTS)
