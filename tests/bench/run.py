"""Measure the pipeline's speed: print a table and write `build/bench.json`. `docs/benchmarks.md` says what is measured.

Run as `python tests/bench/run.py [--only NAME ...] [--records N] [--repeats K]`. The worker is raced against other
engines only where their environment `.venv-bench` is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import append_to_row
import detection
import ingest_rate
import panel_speed
import races
import recovery
import replay_rate
import rules_cost
import silence
import sink_rate
import spool_rate
from places import ROOT, WORK, BenchError
from rich.console import Console
from rich.table import Table

RESULT = ROOT / "build" / "bench.json"
# No measure of a healthy system comes near it. What takes longest is to make 100 million liquidations, once.
GROUP_TIMEOUT_S = 3_600.0

# A group of measures that are taken together: the wanted names and the options become values and details.
Take = Callable[[frozenset[str], int, int], tuple[dict[str, float], Mapping[str, Any]]]
GROUPS: tuple[tuple[tuple[str, ...], Take], ...] = (
    (races.NAMES, races.take),
    (rules_cost.NAMES, rules_cost.take),
    (sink_rate.NAMES, sink_rate.take),
    (replay_rate.NAMES, replay_rate.take),
    (append_to_row.NAMES, append_to_row.take),
    (recovery.NAMES, recovery.take),
    (ingest_rate.NAMES, ingest_rate.take),
    (spool_rate.NAMES, spool_rate.take),
    (silence.NAMES, silence.take),
    (panel_speed.NAMES, panel_speed.take),
    (detection.names("calm"), detection.take_calm),
    (detection.names("stress"), detection.take_stress),
    (detection.names("crash"), detection.take_crash),
)
# What is wanted of each: at least or at most.
WANTED = {
    "worker_vs_bare_loop": "≥ 0.8, aim 1",
    "worker_vs_bytewax": "≥ 2, aim 4",
    "worker_vs_pathway": "≥ 2, aim 4",
    "worker_vs_quix": "≥ 4, aim 8",
    "sink_vs_decode_and_insert": "≥ 5",
    "rules_cost_ratio": "≥ 0.5",
    "append_to_row_p99_ms": "aim < 1000",
    "worker_rss_mb_5000_symbols": "aim < 300",
    "ingest_frames_per_s": "aim 20,000",
    "silence_false_alarms": "0",
    "silence_delay_s": "≤ 300",
    "panel_p95_ms_1d": "≤ 100",
    "panel_p95_ms_30d": "≤ 1000",
}


def main() -> int:
    """Take the wanted measures and return the exit code: 1 if one of them failed."""
    known = [name for names, _ in GROUPS for name in names]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--records", type=int, default=300_000, help="liquidations in the raced log")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each measure; the median counts")
    options = parser.parse_args()
    console = Console()
    WORK.mkdir(parents=True, exist_ok=True)
    values: dict[str, float] = {}
    details: dict[str, Any] = {
        "machine": machine(),
        "records": options.records,
        "repeats": options.repeats,
        "failed": {},
    }
    begun = time.monotonic()
    for names, take in GROUPS:
        wanted = frozenset(names) & frozenset(options.only)
        if not wanted:
            continue
        console.print(f"[dim]{time.monotonic() - begun:5.0f} s[/] {', '.join(sorted(wanted))}")
        try:
            taken, how = in_own_process(take, wanted, options.records, options.repeats)
        except (BenchError, BrokenProcessPool, TimeoutError) as error:
            console.print(f"        failed: {error}", style="red", markup=False)
            details["failed"] |= dict.fromkeys(wanted, str(error))
            continue
        values |= taken
        details |= how
        details["failed"] |= dict.fromkeys(wanted - taken.keys(), "not measured")
    RESULT.write_text(json.dumps({**values, "details": details}, indent=2) + "\n")
    console.print(table(values))
    for name, reason in details["failed"].items():
        console.print(f"{name}: {reason}", style="red", markup=False)
    console.print(f"{RESULT} written after {time.monotonic() - begun:.0f} s", markup=False)
    return 1 if details["failed"] else 0


def in_own_process(
    take: Take, wanted: frozenset[str], records: int, repeats: int
) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Take measures in a process of their own: memory is fresh, and the embedded ClickHouse opens one folder only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(take, wanted, records, repeats)
        try:
            return future.result(GROUP_TIMEOUT_S)
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()
            raise TimeoutError(f"not done within {GROUP_TIMEOUT_S:.0f} s") from None


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def table(values: Mapping[str, float]) -> Table:
    """Return the measured values as a table."""
    shown = Table("measure", "value", "wanted")
    for name, value in values.items():
        shown.add_row(name, f"{value:,.2f}" if value < 1_000 else f"{value:,.0f}", WANTED.get(name, ""))
    return shown


if __name__ == "__main__":
    sys.exit(main())
