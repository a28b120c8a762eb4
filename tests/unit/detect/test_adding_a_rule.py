"""The page about adding a rule: its example, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from event_logs import BASE_MS, CHANNELS, CONTRACTS, heartbeat, liquidation, run
from pydantic import Field, create_model

from pipeline.detect import detectors
from pipeline.detect.coverage_history import INTERVALS_MS
from pipeline.detect.detector import Detector, Facts
from pipeline.detect.finding import MICROS, Finding, least_complete
from pipeline.detect.rules import Rule, Rules
from pipeline.records import COMPLETENESS_ORDER
from pipeline.windows.fold import LiquidationRow
from pipeline.windows.parameters import MINUTE_MS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "adding_a_rule.md").read_text()
# What the files that the page names import already, or would.
IMPORTED = {one.__name__: one for one in (Rule, Field, Sequence, Detector, Facts, Finding, least_complete)} | {
    "LiquidationRow": LiquidationRow,
    "MICROS": MICROS,
    "MINUTE_MS": MINUTE_MS,
    "INTERVALS_MS": INTERVALS_MS,
    "COMPLETENESS_ORDER": COMPLETENESS_ORDER,
    "__name__": "example",
}
OFF = {name: {"enabled": False} for name in Rules.model_fields}


@pytest.fixture
def example(monkeypatch):
    """The rules with that of the page as the only one that runs."""
    names = dict(IMPORTED)
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "adding_a_rule.md", "exec", dont_inherit=True), names)  # noqa: S102 - the page is ours

    monkeypatch.setattr(detectors, "DETECTORS", {**detectors.DETECTORS, "large": names["LargeDetector"]})
    monkeypatch.setattr("pipeline.detect.engine.DETECTORS", detectors.DETECTORS)
    return create_model("RulesWithLarge", __base__=Rules, large=(names["LargeRule"], names["LargeRule"]()))


def log():
    records = [heartbeat(BASE_MS, channel) for channel in CHANNELS]
    for number, usd in enumerate((10, 1_000_000, 999_999, 5_000_000), start=1):
        time = BASE_MS + 20_000 + number * 1_000
        records.append(liquidation(number, time, CONTRACTS[number - 1], micros=usd * MICROS))
        records += [heartbeat(time + 500, channel) for channel in CHANNELS]
    return [*records, *(heartbeat(BASE_MS + 90_000, channel) for channel in CHANNELS)]


@pytest.mark.parametrize("restart", [False, True])
def test_the_example_finds_what_is_large(example, restart):
    rules = example.model_validate({**OFF, "large": {}})
    found = run(log(), list(range(30)), restart=restart, rules=rules)[0].latest().anomalies.values()
    rows = sorted((one.value, one.asset, one.exchange, one.state, one.completeness) for one in found)
    assert rows == [
        (1e6, "ETH", "binance", "closed", "sampled"),
        (5e6, "BTC", "okx", "closed", "sampled"),
    ]
    assert {one.contributors[0] for one in found} == {(2).to_bytes(16, "big"), (4).to_bytes(16, "big")}


def test_it_can_wait_while_it_is_blind(example):
    waiting = example.model_validate({**OFF, "large": {"when_blind": "wait"}})
    records = [record for record in log() if not hasattr(record, "frames") or record.time > BASE_MS + 60_000]
    assert not run(records, rules=waiting)[0].latest().anomalies
    degraded = example.model_validate({**OFF, "large": {}})
    found = run(records, rules=degraded)[0].latest().anomalies.values()
    assert [one.degraded for one in found] == [True, True]
