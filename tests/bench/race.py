"""How long an engine takes for the main part of the log, from the log's release to the last bar a reader sees.

One definition for all engines (`docs/benchmarks.md` has it in words):

1. The engine starts on a topic that holds only the warm-up. It has joined and is warm when its output topic shows
   the warm-up's bars.
2. Its process is frozen (SIGSTOP), and the main part is appended, so that neither start nor filling is timed.
3. The clock starts when it is woken (SIGCONT) and stops when a read-committed consumer has received the record with
   which every bar of the main part has its right last value. A wrong or missing bar is a failed run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, Message, TopicPartition
from market import BarKey, BarValue, Log
from places import (
    ENGINES,
    NO_RULES,
    OUR_PYTHON,
    PARTITIONS,
    PEERS_PYTHON,
    BenchError,
    append,
    cpu_seconds,
    create_topics,
    delete_topics,
    fresh_folder,
    last_lines,
    resident_mb,
)

from pipeline.codec import Codec
from pipeline.embedded.child import end_child, start_child
from pipeline.records import Bar
from pipeline.topics import BARS, EVENTS, topic_name

READY_TIMEOUT_S = 90.0
RUN_TIMEOUT_S = 180.0
# Frozen processes must not lose their partitions while the topic is filled.
SESSION_TIMEOUT_MS = 30_000
_QUIET_S = 0.7

Rows = Callable[[Message], Iterable[tuple[BarKey, BarValue]]]


@dataclass(frozen=True, slots=True)
class Result:
    """One timed run."""

    engine: str
    seconds: float
    records_per_s: float
    cpu_s: float
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Engine:
    """How to start an engine and read its output; `rows` is None for one that publishes nothing."""

    name: str
    program: tuple[str, ...]
    rows: Rows | None
    environment: dict[str, str] = field(default_factory=dict)


def _pathway_rows(message: Message) -> Iterable[tuple[BarKey, BarValue]]:
    row = json.loads(message.value())
    if row["diff"] > 0:
        names = (
            "long_micros",
            "short_micros",
            "long_count",
            "short_count",
            "largest_micros",
            "price_low",
            "price_high",
        )
        yield (row["exchange"], row["symbol"], row["start"]), tuple(row[name] for name in names)


def _list_rows(message: Message) -> Iterable[tuple[BarKey, BarValue]]:
    exchange, symbol, start, *bar = json.loads(message.value())
    yield (exchange, symbol, start), tuple(bar)


def _quix_rows(message: Message) -> Iterable[tuple[BarKey, BarValue]]:
    for exchange, symbol, start, *bar in json.loads(message.value()):
        yield (exchange, symbol, start), tuple(bar)


_VALUE_NAMES = (
    "long_micros",
    "short_micros",
    "long_count",
    "short_count",
    "largest_micros",
    "price_low",
    "price_high",
)
_codec = Codec()


def our_rows(message: Message) -> Iterable[tuple[BarKey, BarValue]]:
    bar = _codec.decode(message.value())
    if isinstance(bar, Bar):
        sums = (bar.long_micros, bar.short_micros, bar.long_count, bar.short_count, bar.largest_micros)
        yield (bar.exchange, bar.symbol, bar.start), (*sums, bar.price_low, bar.price_high)


def peer(name: str, script: str, rows: Rows | None) -> Engine:
    """Return an engine that is a script in `engines/`, run with the peers' environment, without telemetry."""
    environment = {
        "PATHWAY_THREADS": "1",
        "PATHWAY_PROCESSES": "1",
        "PATHWAY_TELEMETRY_SERVER": "",
        "DO_NOT_TRACK": "1",
    }
    return Engine(name, (str(PEERS_PYTHON), str(ENGINES / script)), rows, environment)


# The job of the others is bars, and so is the worker's here.
_PROGRAM = (str(OUR_PYTHON), "-m", "pipeline", "worker")
WORKER = Engine("worker", _PROGRAM, our_rows, {"LIQUIDATIONS_RULES_FILE": str(NO_RULES)})
WORKER_WITH_RULES = Engine("worker_with_rules", _PROGRAM, our_rows)
BARE_LOOP = peer("bare_loop", "bare_loop.py", None)
BYTEWAX = peer("bytewax", "bytewax_bars.py", _list_rows)
PATHWAY = peer("pathway", "pathway_bars.py", _pathway_rows)
BYTEWAX_BY_HAND = peer("bytewax_by_hand", "bytewax_by_hand.py", _list_rows)
QUIX = peer("quix", "quix_bars.py", _quix_rows)
ENGINES_BY_NAME = {engine.name: engine for engine in (WORKER, BARE_LOOP, BYTEWAX, BYTEWAX_BY_HAND, PATHWAY, QUIX)}


def worker_environment(bootstrap: str, prefix: str) -> dict[str, str]:
    """Return the settings of our worker; what is not here is at its default."""
    return {
        "LIQUIDATIONS_BOOTSTRAP_SERVERS": bootstrap,
        "LIQUIDATIONS_TOPIC_PREFIX": prefix,
        "LIQUIDATIONS_PARTITIONS": str(PARTITIONS),
        "LIQUIDATIONS_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
    }


class OutputReader:
    """Receives an engine's output in a thread and stamps each record with the time at which it could be read."""

    def __init__(self, bootstrap: str, topic: str, partitions: int = PARTITIONS) -> None:
        self.received: list[tuple[float, Message]] = []
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"reader-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(10_000, 0.02)
            now = time.time()
            self.received += [(now, message) for message in messages if message.error() is None]

    def close(self) -> None:
        """Stop receiving."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()


class Finish:
    """Looks through output records in order for the one that makes all `expected` bars right."""

    def __init__(self, expected: dict[BarKey, BarValue], rows: Rows) -> None:
        self._expected = expected
        self._rows = rows
        self._wrong = dict.fromkeys(expected)
        self._seen = 0
        self.reached: float | None = None

    def look(self, received: list[tuple[float, Message]]) -> float | None:
        """Return when the record that completed the bars was received, if it is among `received` (a growing list)."""
        for time_s, message in received[self._seen :]:
            self._seen += 1
            for key, bar in self._rows(message):
                if key not in self._expected:
                    continue
                if bar != self._expected[key]:
                    self._wrong[key] = None
                    self.reached = None
                elif self._wrong.pop(key, 0) is None and not self._wrong:
                    self.reached = time_s
        return self.reached

    def what_is_wrong(self) -> str:
        """Describe what is missing, for a failed run."""
        some = ", ".join(map(str, list(self._wrong)[:3]))
        return f"{len(self._wrong)} of {len(self._expected)} bars are missing or wrong, such as {some}"


def run(engine: Engine, log: Log, bootstrap: str, label: str) -> Result:
    """Time `engine` over the main part of `log`. Raise `BenchError` if it fails or its bars are wrong."""
    prefix = f"{engine.name}-{label}-"
    folder = fresh_folder(prefix.rstrip("-"))
    create_topics(bootstrap, prefix)
    events, output = topic_name(EVENTS, prefix), topic_name(BARS, prefix)
    append(bootstrap, events, log.warm_up)
    child = start_child(
        _command(engine, log, bootstrap, events, output, folder),
        folder / "log",
        os.environ | engine.environment | worker_environment(bootstrap, prefix),
    )
    reader = OutputReader(bootstrap, output)
    try:
        watch = _Watch(engine, child, reader, folder)
        watch.wait_ready(log)
        time.sleep(1.0)
        os.killpg(child.pid, signal.SIGSTOP)
        append(bootstrap, events, log.main)
        time.sleep(0.5)
        cpu_before = cpu_seconds(child.pid)
        start = time.time()
        os.killpg(child.pid, signal.SIGCONT)
        end = watch.wait_finished(log)
        seconds = end - start
        return Result(
            engine.name,
            seconds,
            log.main_liquidations / seconds,
            watch.cpu_s - cpu_before,
            watch.resident_mb,
        )
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGCONT)
        end_child(child)
        reader.close()
        delete_topics(bootstrap, prefix)


def _command(engine: Engine, log: Log, bootstrap: str, events: str, output: str, folder: Path) -> list[str]:
    if engine in (WORKER, WORKER_WITH_RULES):
        return list(engine.program)
    places = ["--bootstrap", bootstrap, "--input", events, "--output", output, "--state", str(folder)]
    counts = ["--warm-up", str(log.warm_up_liquidations), "--records", str(log.main_liquidations)]
    return [*engine.program, *places, *counts]


class _Watch:
    """Waits for an engine's warm-up and end, and notes what it used."""

    def __init__(self, engine: Engine, child: subprocess.Popen[bytes], reader: OutputReader, folder: Path) -> None:
        self._engine = engine
        self._child = child
        self._reader = reader
        self._folder = folder
        self.cpu_s = 0.0
        self.resident_mb = 0.0

    def wait_ready(self, log: Log) -> None:
        """Return when the warm-up's bars are there."""
        if self._engine.rows is None:
            self._wait("ready", READY_TIMEOUT_S, (self._folder / "ready").exists)
            return
        finish = Finish(log.warm_up_bars, self._engine.rows)
        reached = self._wait("warm", READY_TIMEOUT_S, lambda: finish.look(self._reader.received), finish)
        assert reached

    def wait_finished(self, log: Log) -> float:
        """Return when the last of the main part's bars could be read."""
        if self._engine.rows is None:
            result = self._folder / "result.json"
            self._wait("done", RUN_TIMEOUT_S, result.exists)
            found = json.loads(result.read_text())
            bars = {(e, s, start): tuple(bar) for e, s, start, *bar in found["bars"]}
            if any(bars.get(key) != bar for key, bar in log.main_bars.items()):
                raise BenchError(f"{self._engine.name} has wrong bars")
            return float(found["ended"])
        finish = Finish(log.main_bars, self._engine.rows)

        def look() -> float | None:
            # Decoding output takes processor time from the engine: only when nothing new has come for a while.
            received = self._reader.received
            quiet = not received or time.time() - received[-1][0] > _QUIET_S
            return finish.look(received) if quiet else None

        return float(self._wait("done", RUN_TIMEOUT_S, look, finish) or 0.0)

    def _wait(
        self, what: str, timeout_s: float, reached: Callable[[], object], finish: Finish | None = None
    ) -> float | None:
        deadline = time.monotonic() + timeout_s
        while not (found := reached()):
            if self._child.poll() is None:
                self.cpu_s = cpu_seconds(self._child.pid)
                self.resident_mb = resident_mb(self._child.pid)
            elif not reached():
                raise BenchError(f"{self._engine.name} ended: {last_lines(self._folder / 'log')}")
            if time.monotonic() > deadline:
                wrong = finish.what_is_wrong() if finish else ""
                raise BenchError(f"{self._engine.name} is not {what} after {timeout_s:.0f} s. {wrong}")
            time.sleep(0.05)
        return found if isinstance(found, float) else None
