"""A market whose cascades emerge: leveraged traders, and forced orders that move the price into the next positions.

Nothing in it says when a cascade is to happen. Traders open positions with the leverage and the margin of their tier,
each with its own liquidation price (`tiers`, `traders`). Prices move by chance and by shocks that excite further ones
(`shocks`); a price that reaches a position makes a forced order, whose impact moves the price on (`market`). Exchanges
show of that what they really show, late, twice or not at all (`reporting`). The ledger has the whole truth (`ledger`).

Only additions, multiplications, divisions and square roots make the numbers, and Python's own generator the chance, so
a seed gives the same market on every machine.
"""

from pipeline.embedded.simulator.leverage.chains import TrueCascade
from pipeline.embedded.simulator.leverage.ledger import TrueLedger, TrueOrder, TrueOutage, ledger_lines
from pipeline.embedded.simulator.leverage.listings import listings
from pipeline.embedded.simulator.leverage.run import Run, frames
from pipeline.embedded.simulator.leverage.scenarios import SCENARIOS, Outage, Phase, Scenario

__all__ = [
    "SCENARIOS",
    "Outage",
    "Phase",
    "Run",
    "Scenario",
    "TrueCascade",
    "TrueLedger",
    "TrueOrder",
    "TrueOutage",
    "frames",
    "ledger_lines",
    "listings",
]
