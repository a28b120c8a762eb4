"""Surges: bars of liquidated USD or counts far above the bars before them.

Definition (`rules_and_formulas` 6; requirements S28, S29, S37): the bar's value exceeds the bound that a scorer finds
in the `period` covered bars before it, by default their mean plus 2.5 sample standard deviations. The bar is not in its
own baseline unless the rule says so. A floor in USD and a least number of events keep an empty baseline from flagging
everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.detect.minute_history import Covered, MinuteHistory
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

MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule says of one bar: its value (USD or events), what it was judged against, and whether it surges."""

    value: float
    baseline: Baseline
    surges: bool


def scorer_of(rule: SurgeRule) -> Scorer:
    """Return the scorer that the rule names, with its parameters."""
    scorers: dict[str, Scorer] = {
        "mean_sd": MeanAndDeviation(rule.k),
        "median_mad": MedianAndMad(rule.limit),
        "quantile": Quantile(rule.q),
        "ewma": FreezingAverage(rule.k, rule.period),
        "count_tail": CountTail(rule.probability),
    }
    return scorers[rule.scorer]


def judge(
    history: MinuteHistory,
    start: int,
    interval_ms: int,
    measure: Measure,
    position: Closed,
    rule: SurgeRule,
    scorer: Scorer,
    covered: Covered,
) -> Verdict:
    """Judge the bar of `history` from `start` (ms) on, as it is now.

    The history holds events of at least the rule's `min_value_usd` only.
    """
    unit = MICROS if measure == "usd" else 1
    whole = history.value(start, interval_ms, measure, position)
    before = history.before(start, interval_ms, measure, position, rule.period, covered)
    if rule.baseline == "inclusive":
        before = [*before[-(rule.period - 1) :], whole]
    baseline = scorer.judge([value / unit for value in before])
    value = whole / unit
    surges = (
        baseline.threshold is not None
        and value > baseline.threshold
        and history.value(start, interval_ms, "usd", position) >= rule.floor_usd * MICROS
        and history.value(start, interval_ms, "count", position) >= rule.least_events
    )
    return Verdict(value, baseline, surges)
