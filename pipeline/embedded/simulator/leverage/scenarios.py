"""What kind of days are simulated: how restless the market is and how deep, never when a cascade is to happen.

A scenario is a row of phases, each until the next one begins, and outages of exchanges. Depth is what market makers
offer, as a multiple of the usual; they withdraw in a crash, which is what makes it one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Phase:
    """From `at_s` seconds after the start on.

    `drift_per_minute` is how far the market factor is pushed, `volatility` multiplies the usual movement, `depth` the
    usual depth of the books, `openings` the rate of new positions, `shocks` the usual rate of shocks. `long_share` of
    the new positions are long, and in the first phase of those that are held at the start.
    """

    at_s: int
    drift_per_minute: float = 0.0
    volatility: float = 1.0
    depth: float = 1.0
    openings: float = 1.0
    shocks: float = 1.0
    long_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Outage:
    """Seconds from the start in which an exchange brings nothing: `down` is said, `silent` looks like calm."""

    exchange: str
    begin_s: int
    end_s: int
    kind: Literal["down", "silent"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One stretch of market.

    `crowding` multiplies the number of positions held and opened, `size` their USD, `shock_size` the size of shocks.
    """

    name: str
    start_ms: int
    seconds: int
    phases: tuple[Phase, ...]
    outages: tuple[Outage, ...] = ()
    crowding: float = 1.0
    size: float = 1.0
    shock_size: float = 1.0


# 2026-09-07 00:00 UTC, a Monday. In the night to Sunday hardly anything moves.
CALM_WEEK = Scenario(
    name="calm",
    start_ms=1_788_739_200_000,
    seconds=7 * _DAY_S,
    phases=(
        Phase(0),
        Phase(5 * _DAY_S + 18 * _HOUR_S, volatility=0.3, openings=0.6, shocks=0.0),
        Phase(6 * _DAY_S + 10 * _HOUR_S),
    ),
    outages=(
        Outage("bybit", 2 * _DAY_S + 9 * _HOUR_S, 2 * _DAY_S + 9 * _HOUR_S + 1_200, "down"),
        Outage("okx", 4 * _DAY_S + 15 * _HOUR_S, 4 * _DAY_S + 15 * _HOUR_S + 300, "down"),
        Outage("binance", 5 * _DAY_S + 13 * _HOUR_S, 5 * _DAY_S + 13 * _HOUR_S + 1_800, "silent"),
    ),
)
# 2026-09-17 00:00 UTC.
STRESS_DAY = Scenario(
    name="stress",
    start_ms=1_789_603_200_000,
    seconds=_DAY_S,
    phases=(
        Phase(0),
        Phase(8 * _HOUR_S, volatility=1.8, depth=0.6, shocks=4.0, openings=1.5),
        Phase(13 * _HOUR_S, drift_per_minute=-0.0002, volatility=2.2, depth=0.45, shocks=6.0, openings=1.5),
        Phase(16 * _HOUR_S, drift_per_minute=0.00015, volatility=1.8, depth=0.6, shocks=4.0, openings=1.2),
        Phase(20 * _HOUR_S, volatility=1.3, depth=0.8, shocks=2.0),
    ),
    outages=(
        Outage("gate", 10 * _HOUR_S, 10 * _HOUR_S + 600, "down"),
        Outage("binance", 14 * _HOUR_S + 1_200, 14 * _HOUR_S + 2_400, "silent"),
    ),
    crowding=1.3,
    shock_size=1.4,
)
# 2026-10-10 08:00 UTC. The news comes at 20:50; the books are emptiest at 21:15.
_NEWS_S = 12 * _HOUR_S + 50 * _MINUTE_S
CRASH = Scenario(
    name="crash",
    start_ms=1_791_619_200_000,
    seconds=_DAY_S,
    phases=(
        Phase(0, volatility=0.8, shocks=0.5, long_share=0.6),
        Phase(_NEWS_S, -0.0012, volatility=2.0, depth=0.8, openings=2.0, shocks=0.0, long_share=0.4),
        Phase(_NEWS_S + 10 * _MINUTE_S, -0.0018, volatility=2.5, depth=0.6, openings=3.0, shocks=0.0, long_share=0.3),
        Phase(_NEWS_S + 25 * _MINUTE_S, -0.03, volatility=4.0, depth=0.05, openings=3.0, shocks=0.0, long_share=0.25),
        Phase(_NEWS_S + 26 * _MINUTE_S, 0.002, volatility=4.0, depth=0.45, openings=3.5, shocks=0.0, long_share=0.3),
        Phase(_NEWS_S + 32 * _MINUTE_S, 0.001, volatility=2.5, depth=0.45, openings=3.5, shocks=0.0, long_share=0.35),
        Phase(_NEWS_S + 45 * _MINUTE_S, 0.0007, volatility=3.0, depth=0.35, openings=3.5, shocks=1.0),
        Phase(_NEWS_S + 120 * _MINUTE_S, -0.0004, volatility=2.5, depth=0.35, openings=3.0, shocks=2.0),
        Phase(_NEWS_S + 240 * _MINUTE_S, volatility=1.5, depth=0.6, openings=1.5),
    ),
    outages=(
        Outage("bybit", _NEWS_S + 24 * _MINUTE_S, _NEWS_S + 27 * _MINUTE_S, "down"),
        Outage("binance", _NEWS_S + 50 * _MINUTE_S, _NEWS_S + 65 * _MINUTE_S, "silent"),
    ),
    crowding=2.5,
    size=4.0,
)

SCENARIOS = {scenario.name: scenario for scenario in (CALM_WEEK, STRESS_DAY, CRASH)}
