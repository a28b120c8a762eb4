"""The worker against other engines, in rounds: each engine once per round, so that a slow minute hits all of them.

A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from market import build_log
from places import PEERS_PYTHON, BenchError, running_broker
from race import ENGINES_BY_NAME, WORKER, Result, run

NAMES = (
    "worker_vs_bare_loop",
    "worker_vs_bytewax",
    "worker_vs_pathway",
    "worker_vs_quix",
    "worker_vs_bytewax_by_hand",
)
_ATTEMPTS = 2


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Race the worker against the engines in `wanted`."""
    if not PEERS_PYTHON.exists():
        raise BenchError(f"{PEERS_PYTHON} is missing: `make bench` installs the other engines there")
    opponents = [name.removeprefix("worker_vs_") for name in NAMES if name in wanted]
    log = build_log(records)
    rounds: list[dict[str, Result]] = []
    with running_broker("kafka-races") as bootstrap:
        for number in range(repeats):
            results = {}
            for name in (WORKER.name, *opponents):
                results[name] = _run(name, log, bootstrap, number)
                _say(results[name], number)
            rounds.append(results)
    values = {
        f"worker_vs_{name}": median(r[WORKER.name].records_per_s / r[name].records_per_s for r in rounds)
        for name in opponents
    }
    engines = {
        name: {
            "records_per_s": [round(r[name].records_per_s) for r in rounds],
            "cpu_s": [round(r[name].cpu_s, 2) for r in rounds],
            "resident_mb": [round(r[name].resident_mb) for r in rounds],
        }
        for name in (WORKER.name, *opponents)
    }
    by_processor_s = {
        f"worker_vs_{name}": round(median(r[name].cpu_s / r[WORKER.name].cpu_s for r in rounds), 2)
        for name in opponents
    }
    return values, {"races": engines, "ratios_by_processor_s": by_processor_s}


def _run(name: str, log: Any, bootstrap: str, number: int) -> Result:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return run(ENGINES_BY_NAME[name], log, bootstrap, f"{number}-{attempt}")
        except BenchError as error:
            print(f"    {error}", flush=True)  # noqa: T201 - this is what the program is for
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _say(result: Result, number: int) -> None:
    print(  # noqa: T201
        f"    round {number + 1} {result.engine:16} {result.records_per_s:10,.0f} records/s "
        f"in {result.seconds:5.1f} s, {result.cpu_s:5.1f} s of processor, {result.resident_mb:4.0f} MB",
        flush=True,
    )
