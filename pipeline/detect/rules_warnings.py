"""Rules that are allowed and do not do what one expects of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.detect.rules import CascadeRule, RatioRule, RegimeRule, RollingThresholdRule, Rules, SurgeRule
from pipeline.detect.scorers import FreezingAverage

# What a throttled feed can show of one contract: one order per second.
_PUSH_S = 1.0


def warnings(rules: Rules) -> Iterator[str]:
    """Yield one sentence for each such thing, with the parameters it is about."""
    yield from (f"{name}: {said}" for name, said in _common(rules))
    for name, found in (
        ("surge", _surge(rules.surge)),
        ("rolling_threshold", _rolling_threshold(rules.rolling_threshold)),
        ("cascade", _cascade(rules.cascade)),
        ("regime", _regime(rules.regime)),
        ("ratio", _ratio(rules.ratio)),
    ):
        if getattr(rules, name).enabled:
            yield from (f"{name}: {said}" for said in found)


def highest_inclusive_z(period: int) -> float:
    """Return the highest (x - mean) / sample sd that one of `period` values can have: (n - 1) / sqrt(n)."""
    return (period - 1) / math.sqrt(period)


def _common(rules: Rules) -> Iterator[tuple[str, str]]:
    for name in Rules.model_fields:
        rule = getattr(rules, name)
        if not rule.enabled:
            yield name, "it is off"
            continue
        if rule.least_coverage == 0:
            yield name, "with least_coverage = 0 it is never blind, and takes hours without a connection for calm ones"
        for parameter in type(rule).model_fields:
            if getattr(rule, parameter) == ():
                yield name, f"{parameter} is empty, so it never fires"


def _surge(rule: SurgeRule) -> Iterator[str]:
    if rule.baseline == "inclusive" and rule.scorer == "mean_sd":
        highest = highest_inclusive_z(rule.period)
        if highest <= rule.k:
            yield (
                f"a bar in its own baseline of {rule.period} is at most {highest:.3f} deviations above the mean, so"
                f" k = {rule.k:g} is never exceeded"
            )
    warm_up = FreezingAverage().warm_up
    if rule.scorer == "ewma" and rule.period < warm_up:
        yield f"ewma judges after {warm_up} bars, and period = {rule.period} gives it fewer"
    if rule.scorer == "quantile" and math.ceil(rule.q * rule.last) >= rule.last:
        yield f"the {rule.q:g} quantile of {rule.last} bars is their highest"
    if rule.scorer == "count_tail" and "usd" in rule.measures:
        yield 'count_tail is for counts: leave "usd" out of measures'
    if rule.floor_usd == 0 and rule.least_events == 1:
        yield "with floor_usd = 0 and least_events = 1 every event after a calm time fires"
    if rule.min_value_usd > rule.floor_usd:
        yield "min_value_usd is above floor_usd, which then does nothing"


def _rolling_threshold(rule: RollingThresholdRule) -> Iterator[str]:
    if rule.memory_s < rule.span_s:
        yield (
            f"memory_s = {rule.memory_s} is shorter than span_s = {rule.span_s}: the threshold falls back while the"
            " same events are still in the sum, and they fire again"
        )


def _cascade(rule: CascadeRule) -> Iterator[str]:
    if rule.sampled_gap_s < rule.gap_s:
        yield "sampled_gap_s is shorter than gap_s, though sampled feeds show fewer events"
    if rule.sampled_gap_s <= _PUSH_S:
        yield f"sampled feeds show one event per second: with gaps of at most {rule.sampled_gap_s:g} s runs fall apart"


def _regime(rule: RegimeRule) -> Iterator[str]:
    if rule.low >= rule.high:
        yield "low is not under high, so bars are both"


def _ratio(rule: RatioRule) -> Iterator[str]:
    if rule.threshold >= 1:
        yield "more than the traded volume is liquidated only where a feed is wrong"
