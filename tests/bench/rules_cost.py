"""What the rules of detection cost the worker: its throughput with all of them on over that without any, in one run.

Throughput matters where liquidations come fast, so `rules_cost_ratio` is taken with 2,000 a second over 500 contracts;
`rules_cost_ratio_sparse` with the log of the races, in which an asset has one a second and every look at it is for one
event. State is measured beside it: one asset's cells after a minute of the shape of the worst of 10 October 2025, in
which one asset has 2,000 liquidations a second on eight exchanges.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import count
from statistics import median
from typing import Any

from market import Log, build_log
from places import running_broker
from race import WORKER, WORKER_WITH_RULES, run

from pipeline.detect.engine import Engine
from pipeline.detect.rules import Rules
from pipeline.records import Heartbeat
from pipeline.windows import checkpoint
from pipeline.windows.fold import Batch, LiquidationRow, fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

NAMES = ("rules_cost_ratio", "rules_cost_ratio_sparse", "rules_state_mb_per_asset")
_EXCHANGES = 8
_EVENTS_PER_S = 2_000
_QUIET_MINUTES = 5
_BEGIN_MS = 1_760_127_300_000


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Measure what of `wanted` is asked for."""
    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    if "rules_cost_ratio" in wanted:
        minutes = max(1, round(records / (_EVENTS_PER_S * 60)))
        log = build_log(minutes * _EVENTS_PER_S * 60, minutes=minutes)
        values["rules_cost_ratio"], details["rules_cost"] = _cost(log, repeats)
    if "rules_cost_ratio_sparse" in wanted:
        values["rules_cost_ratio_sparse"], details["rules_cost_sparse"] = _cost(build_log(records), repeats)
    if "rules_state_mb_per_asset" in wanted:
        cells = worst_minute_cells()
        values["rules_state_mb_per_asset"] = sum(cells.values()) / 1e6
        details["rules_state_bytes"] = cells
    return values, details


def _cost(log: Log, repeats: int) -> tuple[float, dict[str, Any]]:
    rounds = []
    with running_broker("kafka-rules-cost") as bootstrap:
        for number in range(repeats):
            bare, ruled = run(WORKER, log, bootstrap, f"{number}"), run(WORKER_WITH_RULES, log, bootstrap, f"{number}")
            rounds.append((bare, ruled))
            print(  # noqa: T201 - this is what the program is for
                f"    round {number + 1} without rules {bare.records_per_s:,.0f} records/s, {bare.cpu_s:.1f} s of"
                f" processor; with all {ruled.records_per_s:,.0f} records/s, {ruled.cpu_s:.1f} s",
                flush=True,
            )
    details = {
        "records_per_s": [[round(bare.records_per_s), round(ruled.records_per_s)] for bare, ruled in rounds],
        "by_processor_s": round(median(bare.cpu_s / ruled.cpu_s for bare, ruled in rounds), 2),
    }
    return median(ruled.records_per_s / bare.records_per_s for bare, ruled in rounds), details


def worst_minute_cells() -> dict[str, int]:
    """Return the bytes of the cells of one asset's rules after the worst minute, by kind."""
    chance = random.Random(10)
    parameters, rules = WindowParameters(), Rules()
    state, engine = PartitionState(), Engine(rules, parameters)
    kept: dict[bytes, int] = {}
    numbers = count()
    for second in range((_QUIET_MINUTES + 1) * 60):
        now = _BEGIN_MS + second * 1_000
        events = _EVENTS_PER_S if second >= _QUIET_MINUTES * 60 else 2
        rows = [_row(next(numbers), now + chance.randrange(1_000), chance) for _ in range(events)]
        beats = [
            (events, Heartbeat(f"exchange{one}", "liquidations", "bench", now + 1_000, "up", 1, None))
            for one in range(_EXCHANGES)
        ]
        fold(state, Batch(rows, beats, second), parameters, engine)
        for key, value in checkpoint.take(state, parameters, engine).cells:
            if key.startswith(b"rules/"):
                kept[key] = 0 if value is None else len(key) + len(value)
    by_kind: dict[str, int] = {}
    for key, size in kept.items():
        kind = key.decode().split("/")[1]
        by_kind[kind] = by_kind.get(kind, 0) + size
    return by_kind


def _row(number: int, time_ms: int, chance: random.Random) -> LiquidationRow:
    exchange = f"exchange{number % _EXCHANGES}"
    return (
        number.to_bytes(16, "big"),
        exchange,
        "BTCUSDT",
        "BTC-USDT-PERP",
        "BTC",
        "long" if chance.random() < 0.84 else "short",
        100_000.0,
        int(chance.lognormvariate(9.0, 1.6) * 1_000_000),
        time_ms,
        "exchange",
        time_ms * 1_000,
        "full",
        "liquidations",
    )
