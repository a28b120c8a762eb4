"""Score the rules on simulated markets whose truth is known. `docs/scoring.md` has the definitions.

Run as `python tests/bench/detection.py [--scenario NAME ...] [--seed N]`. Prints the tables of the documentation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from scores import (
    Score,
    score_cascades,
    score_passings,
    score_quiet,
    score_ratios,
    score_silences,
    score_surges,
    share_in_cascades,
)
from truths import MARKET, hour_sums, passings, quiet_periods, ratios, surges
from watch import Watched, watch

from pipeline.detect.rules import Rules
from pipeline.embedded.simulator.leverage import SCENARIOS, Run

# How often (s) the collector speaks: seven days of every second would take the bench many minutes.
HEARTBEAT_S = {"calm": 5, "stress": 1, "crash": 1}
SURGE_INTERVALS_MS = (60_000, 300_000)
QUIET_INTERVAL_MS = 300_000
HISTORY_DAYS = 7
RULES_SCORED = ("cascade", "rolling_threshold", "market_threshold", "surge", "ratio", "silent_channel", "quiet")


def names(scenario: str) -> tuple[str, ...]:
    """Return the names of a scenario's measures."""
    found = [f"{rule}_{measure}_{scenario}" for rule in RULES_SCORED for measure in ("recall", "precision", "delay_s")]
    found += [f"cascade_{measure}_{scenario}" for measure in ("large_recall", "usd_recall", "end_delay_s")]
    found.append(f"surge_in_cascades_{scenario}")
    if scenario == "calm":
        found += [f"{rule}_false_alarms_per_day_{scenario}" for rule in RULES_SCORED]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one scenario by rule, with what was watched."""

    watched: Watched
    scores: Mapping[str, Score]


def score(scenario: str, seed: int = 7) -> Scored:
    """Play a scenario under the default rules and score every rule."""
    rules = Rules()
    watched = watch(Run(SCENARIOS[scenario], seed, HEARTBEAT_S[scenario]), rules)
    ledger = watched.ledger
    rolling = rules.rolling_threshold
    span_ms, memory_ms = rolling.span_s * 1000, rolling.memory_s * 1000
    passed, sums = passings(ledger.orders, rolling.base_usd, span_ms, memory_ms), hour_sums(ledger.orders, span_ms)
    fires = watched.of_kind("rolling_threshold")
    return Scored(
        watched,
        {
            "cascade": score_cascades(ledger.cascades, watched.of_kind("cascade")),
            "rolling_threshold": score_passings(
                [one for one in passed if one.asset != MARKET], sums, [one for one in fires if one.last.asset != MARKET]
            ),
            "market_threshold": score_passings(
                [one for one in passed if one.asset == MARKET], sums, [one for one in fires if one.last.asset == MARKET]
            ),
            "surge": _surges(watched, rules),
            "ratio": score_ratios(
                ratios(
                    ledger, watched.traded, rules.ratio.interval_s * 1000, rules.ratio.threshold, rules.ratio.floor_usd
                ),
                watched.of_kind("ratio"),
            ),
            "silent_channel": score_silences(ledger.outages, watched.of_kind("silent_channel")),
            "quiet": score_quiet(
                quiet_periods(ledger, QUIET_INTERVAL_MS, rules.regime.low, rules.regime.quiet_bars, HISTORY_DAYS),
                watched.of_kind("quiet"),
            ),
        },
    )


def _surges(watched: Watched, rules: Rules) -> Score:
    """Score the surges of assets in USD on the shorter bars: a day has too few hours to judge them by."""
    rule, ledger = rules.surge, watched.ledger
    total = Score()
    judged = [
        one
        for one in watched.of_kind("surge")
        if (one.last.scope, one.last.measure) == ("asset", "usd") and one.last.interval_ms in SURGE_INTERVALS_MS
    ]
    for interval_ms in SURGE_INTERVALS_MS:
        true = surges(ledger, interval_ms, rule.period, rule.k, rule.floor_usd, rule.least_events)
        found = [one for one in judged if one.last.interval_ms == interval_ms]
        part = score_surges(true, found, ledger.scenario.start_ms + rule.period * interval_ms)
        total.true += part.true
        total.hit += part.hit
        total.found += part.found
        total.right += part.right
        total.delays_s += part.delays_s
    sided = [one for one in judged if one.last.position != "both"]
    inside = share_in_cascades(ledger.cascades, sided)
    if inside is not None:
        total.more["in_cascades"] = inside
    return total


def take_calm(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:  # noqa: ARG001
    """Take the measures of the calm week."""
    return _take("calm", wanted)


def take_stress(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:  # noqa: ARG001
    """Take the measures of the stress day."""
    return _take("stress", wanted)


def take_crash(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:  # noqa: ARG001
    """Take the measures of the crash."""
    return _take("crash", wanted)


def _take(scenario: str, wanted: frozenset[str]) -> tuple[dict[str, float], dict[str, Any]]:
    scored = score(scenario)
    values = {name: value for name, value in measures(scenario, scored).items() if name in wanted}
    return values, {f"detection_{scenario}": details(scored)}


def measures(scenario: str, scored: Scored) -> dict[str, float]:
    """Return the measures that have a value: a rule that found nothing has no precision."""
    found: dict[str, float | None] = {}
    for rule, one in scored.scores.items():
        found[f"{rule}_recall_{scenario}"] = one.recall
        found[f"{rule}_precision_{scenario}"] = one.precision
        found[f"{rule}_delay_s_{scenario}"] = one.delay_s
        for name, value in one.more.items():
            found[f"{rule}_{name}_{scenario}"] = value
        if scenario == "calm":
            seconds = scored.watched.ledger.scenario.seconds
            found[f"{rule}_false_alarms_per_day_{scenario}"] = one.false_alarms_per_day(seconds)
    return {name: value for name, value in found.items() if value is not None}


def details(scored: Scored) -> dict[str, Any]:
    """Return the counts behind the measures, and how much of the market the feeds showed."""
    ledger = scored.watched.ledger
    true_micros = sum(order.micros for order in ledger.orders)
    return {
        "true_orders": len(ledger.orders),
        "true_usd": true_micros // 1_000_000,
        "orders_shown": round(scored.watched.events / len(ledger.orders), 3),
        "usd_shown": round(scored.watched.micros / true_micros, 3),
        "rules": {
            rule: {
                "true": one.true,
                "hit": one.hit,
                "found": one.found,
                "right": one.right,
                "delay_p90_s": quantiles(one.delays_s, n=10)[-1] if len(one.delays_s) > 1 else None,
            }
            for rule, one in scored.scores.items()
        },
    }


def table(scenario: str, scored: Scored) -> list[str]:
    """Return the lines of a table for the documentation."""
    said = details(scored)
    days = scored.watched.ledger.scenario.seconds / 86_400
    happened = f"{said['true_orders']:,} forced orders, {said['true_usd'] / 1e6:,.0f} million USD"
    shown = f"{said['orders_shown']:.0%} of the orders and {said['usd_shown']:.0%} of the USD"
    lines = [
        f"{scenario}: {happened}; shown {shown}",
        "",
        "| rule | true | found | recall | precision | delay, median | 90 % | wrong per day |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule, one in scored.scores.items():
        longest = said["rules"][rule]["delay_p90_s"]
        cells = [
            rule,
            f"{one.true:,}",
            f"{one.found:,}",
            "" if one.recall is None else f"{one.recall:.0%}",
            "" if one.precision is None else f"{one.precision:.0%}",
            "" if one.delay_s is None else f"{one.delay_s:.1f} s",
            "" if longest is None else f"{longest:.0f} s",
            f"{(one.found - one.right) / days:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    more = {f"{rule} {name}": value for rule, one in scored.scores.items() for name, value in one.more.items()}
    lines += ["", ", ".join(f"{name} {value:.2f}" for name, value in more.items())]
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    for scenario in options.scenario:
        console.print("\n".join([*table(scenario, score(scenario, options.seed)), ""]), markup=False)


if __name__ == "__main__":
    main()
