from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pipeline.embedded.simulator.leverage import SCENARIOS, Outage, Run, Scenario, TrueLedger
from pipeline.embedded.simulator.leverage.run import Item

# The restless middle of the stress day, cut to what a test needs, with an outage of each kind.
RESTLESS = replace(
    SCENARIOS["stress"],
    name="restless",
    seconds=2_400,
    phases=(replace(SCENARIOS["stress"].phases[2], at_s=0),),
    outages=(Outage("gate", 600, 900, "down"), Outage("binance", 1_200, 1_800, "silent")),
    crowding=0.8,
    shock_size=2.0,
)


@dataclass(frozen=True)
class Played:
    scenario: Scenario
    items: list[Item]
    ledger: TrueLedger


@pytest.fixture(scope="session")
def restless() -> Played:
    run = Run(RESTLESS)
    items = list(run.items())
    return Played(RESTLESS, items, run.ledger)
