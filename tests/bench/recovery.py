"""Memory of a worker that has folded events of 5,000 assets, and how soon its successor goes on.

The log holds 5,000 assets with one contract each and 20 minutes of event time at about 170 events a second, a busy
market; it is appended at 5,000 records a second. Then the worker is stopped, new events are appended, and the clock
runs from the start of a new worker's process (interpreter and imports included) until a read-committed consumer has
its first bar of a new event. Once, for the record, the worker is killed instead: then the group waits for the session
to time out.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from market import MINUTE_MS, BarKey, BarValue, LogRecord, build_log, contracts, liquidation
from places import BenchError, append, create_topics, fresh_folder, last_lines, resident_mb, running_broker
from race import WORKER, Finish, OutputReader, our_rows, worker_environment

from pipeline.codec import Codec
from pipeline.embedded.child import end_child, start_child
from pipeline.settings import Settings
from pipeline.topics import BARS, EVENTS, topic_name

NAMES = ("worker_rss_mb_5000_symbols", "recovery_s")
ASSETS = 5_000
RECORDS = 200_000
MINUTES = 20
APPEND_PER_S = 5_000
NEW_EVENTS = 500
PREFIX = "large-"

_TIMEOUT_S = 120.0


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Fill one worker's state, read its memory, then let others recover it."""
    log = build_log(RECORDS, ASSETS, MINUTES, listings=1)
    folder = fresh_folder("recovery")
    worker_log = folder / "log"
    with running_broker("kafka-recovery") as bootstrap:
        create_topics(bootstrap, PREFIX)
        events = topic_name(EVENTS, PREFIX)
        # As in operation: the default session time-out, not the race's.
        session = {"LIQUIDATIONS_SESSION_TIMEOUT_MS": str(Settings().session_timeout_ms)}
        environment = os.environ | worker_environment(bootstrap, PREFIX) | session
        child = start_child(WORKER.program, worker_log, environment)
        reader = OutputReader(bootstrap, topic_name(BARS, PREFIX))
        try:
            for first in range(0, len(log.main), APPEND_PER_S):
                due = time.monotonic() + 1.0
                append(bootstrap, events, log.main[first : first + APPEND_PER_S])
                time.sleep(max(0.0, due - time.monotonic()))
            _wait_all(reader, log.main_bars)
            resident = resident_mb(child.pid)
            peak = _peak_mb(child.pid)
            recovered: list[float] = []
            # Behind the closing events, in the first minute that has none.
            minute_ms = max(key[2] for key in log.main_bars) + 3 * MINUTE_MS
            for number in range(repeats + 1):
                if number:
                    end_child(child)
                else:
                    _kill(child)
                new = _new_events(number, minute_ms)
                append(bootstrap, events, new.values())
                start = time.time()
                child = start_child(WORKER.program, worker_log, environment)
                recovered.append(_first_bar(reader, new) - start)
                print(f"    recovered in {recovered[-1]:.2f} s", flush=True)  # noqa: T201
        except BenchError as error:
            raise BenchError(f"{error}\n{last_lines(worker_log)}") from error
        finally:
            end_child(child)
            reader.close()
    how = {
        "assets": ASSETS,
        "liquidations": RECORDS,
        "event_minutes": MINUTES,
        "peak_rss_mb": round(peak),
        "recovery_s": [round(s, 2) for s in recovered[1:]],
        "recovery_after_sigkill_s": round(recovered[0], 2),
    }
    values = {"worker_rss_mb_5000_symbols": resident, "recovery_s": median(recovered[1:])}
    return values, {"recovery": how}


def _new_events(number: int, minute_ms: int) -> dict[BarKey, LogRecord]:
    """Return one event of each of 500 contracts that have none in that minute yet, by the bar that it makes.

    The minute stays the same, so that every recovery finds the minutes in the state that are open to corrections.
    """
    codec = Codec()
    randomness = random.Random(number)
    market = contracts(ASSETS, listings=1)[number * NEW_EVENTS : (number + 1) * NEW_EVENTS]
    events = [
        liquidation(contract, 10_000_000 + number * NEW_EVENTS + i, minute_ms + 1000, randomness)
        for i, contract in enumerate(market)
    ]
    return {
        (event.exchange, event.symbol, minute_ms): LogRecord(event.asset.encode(), codec.encode(event))
        for event in events
    }


def _wait_all(reader: OutputReader, expected: dict[BarKey, BarValue]) -> None:
    finish = Finish(expected, our_rows)
    deadline = time.monotonic() + _TIMEOUT_S
    while not finish.look(reader.received):
        if time.monotonic() > deadline:
            raise BenchError(finish.what_is_wrong())
        time.sleep(0.2)


def _first_bar(reader: OutputReader, new: Collection[BarKey]) -> float:
    """Return when the first of the new bars could be read."""
    seen = 0
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        received = reader.received
        for time_s, message in received[seen:]:
            seen += 1
            if any(key in new for key, _ in our_rows(message)):
                return time_s
        time.sleep(0.02)
    raise BenchError(f"no bar of the new events within {_TIMEOUT_S:.0f} s")


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def _kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
