"""Runs of all assets in columns are what each asset's own runs are, second by second."""

from __future__ import annotations

import random
from dataclasses import fields

import pytest
from event_logs import liquidation

from pipeline.detect.cascade import AssetRuns, Run, parameters_of, settle
from pipeline.detect.detector import AssetFeeds
from pipeline.detect.detectors.cascade import CascadeDetector
from pipeline.detect.engine import Engine
from pipeline.detect.rules import CascadeRule, Rules
from pipeline.windows.fold import liquidation_row
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

PARAMETERS = WindowParameters()
BEGIN = 1_700_000_040_000
EXCHANGES = {"binance": "forceOrder", "bybit": "linear", "okx": "liquidation-orders"}
RULES = {
    "default": CascadeRule(floor_usd=2_000),
    "short gaps": CascadeRule(floor_usd=500, gap_s=3.5, sampled_gap_s=5, settle_s=1.5, least_events=2, end_rate=0.3),
    "no rate": CascadeRule(floor_usd=500, gap_s=2, sampled_gap_s=2, settle_s=0, end_rate=0.0, end_gaps=1),
}
# What is known of a run apart from what was said of it.
_NOT_COMPARED = {"revision", "is_unsaid", "moved_sd", "rate_micros", "seconds"}
COMPARED = [field.name for field in fields(Run) if field.name not in _NOT_COMPARED]


def market(seed, seconds=400):
    """Yield what comes in each second: liquidations of few assets, in bursts, out of order, some of them late."""
    chance, number, now = random.Random(seed), 0, BEGIN
    for second in range(seconds):
        now += chance.choice((4_000, 30_000)) if chance.random() < 0.02 else 1_000
        found = []
        for asset in range(4):
            rate = (8.0, 2.0, 0.4, 0.05)[asset] * (6 if second // 50 % 3 == asset % 3 else 0.2)
            for _ in range(min(int(chance.expovariate(1 / rate)), 40)):
                number += 1
                age_ms = chance.randrange(1_500) if chance.random() < 0.98 else chance.choice((3_000, 9_000, 45_000))
                exchange = chance.choice(sorted(EXCHANGES))
                position = "long" if chance.random() < (0.9 if asset % 2 else 0.4) else "short"
                found.append(
                    liquidation(
                        number,
                        max(BEGIN, now - age_ms),
                        (exchange, f"A{asset}USDT", f"A{asset}", EXCHANGES[exchange]),
                        position,
                        int(chance.lognormvariate(18, 2)),
                        round(chance.uniform(90, 110), 1),
                        "sampled" if exchange == "okx" or (asset == 3 and chance.random() < 0.9) else "full",
                    )
                )
        yield found, now


def detector_of(rule):
    """Return a detector of cascades over feeds that are known, with the facts that it is told of."""
    engine = Engine(Rules(cascade=rule), PARAMETERS)
    (detector,) = (one for one in engine.detectors if isinstance(one, CascadeDetector))
    for asset in range(4):
        feeds = engine.facts.feeds[f"A{asset}"] = AssetFeeds()
        for exchange, channel in EXCHANGES.items():
            feeds.note((exchange, channel, f"A{asset}USDT"), 0)
    engine.facts.coverage.begin_tick(PartitionState())
    return detector, engine.facts


def compared(runs):
    """Return what is known of the runs of an asset that are under way or ended as cascades."""
    found = [*runs.runs.values(), *runs.ended]
    return sorted([getattr(run, name) for name in COMPARED] for run in found), runs.sizes.days


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("seed", range(6))
def test_columns_find_what_the_runs_of_each_asset_alone_find(rule, seed):
    detector, facts = detector_of(rule)
    parameters, alone = parameters_of(rule), {f"A{asset}": AssetRuns() for asset in range(4)}
    changes, ended = 0, set()
    for found, now in market(seed):
        rows = [liquidation_row(one) for one in found]
        facts.watermark = now
        if rows:
            detector.take_tick(facts.numbering.events(rows))
        detector.judge()
        for row in rows:
            alone[row[4]].take(row)
        for number, asset in enumerate(facts.numbering.asset_names):
            runs = alone[asset]
            changed = settle(runs, now, parameters, lambda _run: None)
            changes += len(changed)
            ended |= {(asset, run.position, run.begin, run.ended) for run in changed if run.ended is not None}
            detector._columns.store(number)
            assert compared(detector._assets[number]) == compared(runs), (asset, now)
    assert changes > 20
    said = {(one.asset, one.position, one.begin, one.end) for one in facts.outputs if one.end is not None}
    assert said == ended
    assert ended
