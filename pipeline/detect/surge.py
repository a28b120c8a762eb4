"""Surges: bars of liquidated USD or counts far above the bars before them.

Definition (`rules_and_formulas` 6; requirements S28, S29, S37): the bar's value exceeds the bound that a scorer finds
in the `period` covered bars before it, by default their mean plus 2.5 sample standard deviations. The bar is not in its
own baseline unless the rule says so. A floor in USD and a least number of events keep an empty baseline from flagging
everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Final, TypeVar

from pipeline.detect.rules import Closed, Measure, SurgeRule
from pipeline.detect.scorers import (
    Baseline,
    CountTail,
    FreezingAverage,
    MeanAndDeviation,
    MedianAndMad,
    Quantile,
    Scorer,
)
from pipeline.detect.tick_events import Integers

MICROS: Final = 1_000_000

# One bar: micro-dollars of longs and of shorts, number of longs and of shorts.
Sums = Sequence[int]
_Amount = TypeVar("_Amount", int, Integers)
# What is judged of a bar: micro-dollars of each position, then numbers of events.
Series = tuple[Measure, Closed]
SERIES: Final[tuple[Series, ...]] = (
    ("usd", "long"),
    ("usd", "short"),
    ("usd", "both"),
    ("count", "long"),
    ("count", "short"),
    ("count", "both"),
)
# Where the numbers of events begin.
COUNTS: Final = 3


def scorer_of(rule: SurgeRule) -> Scorer:
    """Return the scorer that the rule names, with its parameters."""
    scorers: dict[str, Scorer] = {
        "mean_sd": MeanAndDeviation(rule.k),
        "median_mad": MedianAndMad(rule.limit),
        "quantile": Quantile(rule.q, rule.last),
        "ewma": FreezingAverage(rule.k, rule.period),
        "count_tail": CountTail(rule.probability),
    }
    return scorers[rule.scorer]


def values_of(bar: Iterable[_Amount]) -> tuple[_Amount, ...]:
    """Return the values of a bar, or columns of those of many bars, in the order of `SERIES`."""
    long_micros, short_micros, longs, shorts = bar
    return long_micros, short_micros, long_micros + short_micros, longs, shorts, longs + shorts


def unit_of(number: int) -> int:
    """Return what one USD, or one event, is in the values of a series, by its number."""
    return MICROS if number < COUNTS else 1


def baselines_of(bar: Sums, before: Sequence[Sums], rule: SurgeRule, scorer: Scorer) -> list[Baseline]:
    """Return what a bar is judged against, in USD and events, in the order of `SERIES`.

    `before` are the covered bars before it, oldest first.
    """
    if rule.baseline == "inclusive":
        before = [*before[-(rule.period - 1) :], bar]
    columns: list[Sequence[int]] = [()] * 4 if not before else list(zip(*before, strict=True))
    long_micros, short_micros, longs, shorts = columns
    micros, counts = list(map(add, long_micros, short_micros)), list(map(add, longs, shorts))
    all_values = (long_micros, short_micros, micros, longs, shorts, counts)
    if isinstance(scorer, MeanAndDeviation):
        return [scorer.judge_whole(values, unit_of(number)) for number, values in enumerate(all_values)]
    return [scorer.judge([value / unit_of(number) for value in values]) for number, values in enumerate(all_values)]
