"""A seeded market on Binance, Bybit and OKX, in the exchanges' own messages, with a ledger of what is in them."""

from pipeline.embedded.simulator.contracts import instruments
from pipeline.embedded.simulator.simulation import START_MS, simulate, simulate_with_truth
from pipeline.embedded.simulator.truth import Ledger, Truth, ledger

__all__ = [
    "START_MS",
    "Ledger",
    "Truth",
    "instruments",
    "ledger",
    "simulate",
    "simulate_with_truth",
]
