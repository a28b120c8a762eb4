"""`liquidations up`: everything embedded in one command, until it is stopped.

This process holds the embedded ClickHouse, the sink and the SQL endpoint; broker, worker and ingest are processes of
their own, and so are the simulated exchanges if they are asked for.

- Ingest, worker and simulated exchanges are started again when they die: all that they know is in the log or at the
  exchange. After six deaths within ten minutes the whole ends with one line.
- The broker keeps the log in memory, and the sink shares this process: if one of them ends, the whole ends.
- When it is stopped, the parts end in the order of the data: nothing that was collected is left on the way.
- The next start has a new log. It collects from the next minute on if the last one was still at work in this one,
  so that no bar is made twice from two halves.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.codec import Codec
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.parts import SinkThread, environment_of, sink_thread
from pipeline.embedded.pipeline import EMBEDDED_PARTITIONS, PipelineError, clickhouse_folder
from pipeline.embedded.sql_endpoint import sql_endpoint
from pipeline.embedded.supervision import Supervised
from pipeline.ingest.topic_admin import create_topics
from pipeline.kafka_client import KafkaUnavailableError
from pipeline.settings import Settings, read_settings
from pipeline.warehouse.client import connect
from pipeline.warehouse.databases import USUAL
from pipeline.warehouse.lag import sink_lag, worker_lag
from pipeline.warehouse.migrate import migrate

_COMMIT_INTERVAL_MS = 500
_LOOK_S = 0.5
_STATUS_S = 10.0
_GOODBYE_S = 20.0
_DRAIN_S = 60.0
_WORKER_GOODBYE_S = 3.0
_SERVE_S = 30.0
_MINUTE_S = 60
# By then the exchanges have sent what happened in the minute before.
_PUSHES_S = 2

Say = Callable[[str], None]
Ask = Callable[[str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Simulated:
    """The simulated exchanges instead of the real ones; `words` are further options of `simulate --serve`."""

    words: Sequence[str] = ()


def run_up(settings: Settings, data: Path, ingest_words: Sequence[str], simulated: Simulated | None, say: Say) -> None:
    """Run everything until SIGINT or SIGTERM, with its files under `data`.

    `ingest_words` are options of `liquidations ingest`. Raises `OperationError` with one line when a part is broken.
    """
    stop = threading.Event()
    with _told_by_signals(stop), ExitStack() as stack:
        run, logs = _settings(settings, data), data / "logs"
        _migrate(run)
        broker = stack.enter_context(EmbeddedBroker(logs))
        run = broker.settings(run)
        create_topics(run)
        sink = stack.enter_context(sink_thread(run, Codec()))
        where = stack.enter_context(sql_endpoint(run.clickhouse_url, data))
        worker = _part(stack, "worker", ["worker"], logs, run, _WORKER_GOODBYE_S)
        parts = [worker]
        words = list(ingest_words)
        if simulated is not None:
            found = data / "simulated-exchanges.toml"
            found.unlink(missing_ok=True)
            exchanges = _part(stack, "exchanges", _serving(simulated, data, found), logs, run, _GOODBYE_S)
            parts.append(exchanges)
            run = _with_exchanges(run, found, exchanges, stop)
            if "--exchange" not in words:
                words += [word for name in run.exchanges for word in ("--exchange", name)]
        _let_the_minute_pass(run, stop, say)
        if not stop.is_set():
            ingest = _part(stack, "ingest", ["ingest", *words], logs, run, _GOODBYE_S)
            parts.append(ingest)
            say(f'collecting; SQL: liquidations sql --data {data} "SELECT ..." (answered on {where}); Ctrl-C stops')
            say(f"to keep what comes: LIQUIDATIONS_BOOTSTRAP_SERVERS={run.bootstrap_servers} liquidations record")
            _Watch(run, broker, sink, parts, say).until(stop)
            say("stopping: ingest says goodbye, then the rest is folded and stored")
            ingest.end(_GOODBYE_S)
            _drain(run, sink)
    say(f"stopped; the data lie in {data}")


def _settings(settings: Settings, data: Path) -> Settings:
    return settings.model_copy(
        update={
            "clickhouse_url": clickhouse_folder(data),
            # What is said here of the rows is read from there.
            "clickhouse_database": USUAL,
            "partitions": min(settings.partitions, EMBEDDED_PARTITIONS),
            "commit_interval_ms": max(settings.commit_interval_ms, _COMMIT_INTERVAL_MS),
            "spool_dir": data / "spool",
        }
    )


def _migrate(run: Settings) -> None:
    client = connect(run.clickhouse_url)
    try:
        migrate(client)
    finally:
        client.close()


def _part(
    stack: ExitStack, name: str, words: Sequence[str], logs: Path, run: Settings, patience_s: float
) -> Supervised:
    part = Supervised(name, [sys.executable, "-m", "pipeline", *words], logs / f"{name}.log", environment_of(run))
    stack.callback(part.end, patience_s)
    return part


def _serving(simulated: Simulated, data: Path, settings: Path) -> list[str]:
    ledger = str(data / "logs" / "ledger.jsonl")
    return ["simulate", "--serve", "--write-settings", str(settings), "--ledger", ledger, *simulated.words]


def _with_exchanges(run: Settings, found: Path, exchanges: Supervised, stop: threading.Event) -> Settings:
    """Wait for the simulated exchanges and return the settings with their addresses."""
    deadline = time.monotonic() + _SERVE_S
    while not found.exists() and not stop.is_set():
        exchanges.look()
        if time.monotonic() > deadline:
            raise PipelineError(f"the simulated exchanges do not start; see {exchanges.log}")
        time.sleep(0.05)
    if stop.is_set():
        return run
    return run.model_copy(update={"exchanges": read_settings(found).exchanges})


def _let_the_minute_pass(run: Settings, stop: threading.Event, say: Say) -> None:
    """Wait for the next minute if this one has events already."""
    now_s = time.time()
    begun_s = now_s - now_s % _MINUTE_S
    with _asking(run) as ask:
        (found,) = ask(
            "SELECT count() FROM liquidations.events WHERE event_time >= toStartOfMinute(now())"
            " AND event_time <= now64() + INTERVAL 1 MINUTE"
        )
    if found:
        wait_s = begun_s + _MINUTE_S + _PUSHES_S - now_s
        say(f"waiting {wait_s:.0f} s for a new minute: this one was begun by an earlier run")
        stop.wait(wait_s)


class _Watch:
    """Looks after the parts, and tells how it goes."""

    def __init__(
        self, run: Settings, broker: EmbeddedBroker, sink: SinkThread, parts: Sequence[Supervised], say: Say
    ) -> None:
        self._run, self._broker, self._sink, self._parts, self._say = run, broker, sink, parts, say

    def until(self, stop: threading.Event) -> None:
        """Look until `stop`; raise when the whole must end."""
        next_s = time.monotonic() + _STATUS_S
        with _asking(self._run) as ask:
            while not stop.wait(_LOOK_S):
                self._look()
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + _STATUS_S
                    self._say(self._status(ask))

    def _look(self) -> None:
        if not self._broker.is_running:
            raise PipelineError(
                f"the embedded broker ended, and the log with it: start again (it says more in {self._broker.log_path})"
            )
        _check(self._sink)
        for part in self._parts:
            part.look()

    def _status(self, ask: Ask) -> str:
        events, usd = ask(
            "SELECT count(), round(sum(notional_usd)) FROM liquidations.events"
            " WHERE event_time > now64() - INTERVAL 1 MINUTE AND event_time <= now64() + INTERVAL 1 MINUTE",
        )
        up, channels = ask(
            "SELECT countIf(alive_ms > 0), count() FROM liquidations.coverage"
            " WHERE start = (SELECT max(start) FROM liquidations.coverage WHERE start > now() - INTERVAL 10 MINUTE)",
        )
        try:
            lags = f"worker {sum(worker_lag(self._run).values()):,}, sink {sink_lag(self._run):,}"
        except KafkaUnavailableError:
            lags = "worker ?, sink ?"
        down = "".join(f"; {part.name} is being started again" for part in self._parts if not part.is_up)
        clock = datetime.now(UTC)
        return (
            f"{clock:%H:%M:%S} last minute: {events:,} liquidations, {usd:,.0f} USD; {up} of {channels} channels"
            f" covered; records behind: {lags}{down}"
        )


@contextmanager
def _asking(run: Settings) -> Iterator[Ask]:
    """Give a function that returns the only row of a query's answer."""
    client = connect(run.clickhouse_url)

    def ask(sql: str) -> Sequence[Any]:
        (row,) = client.query(sql).result_rows
        return row

    try:
        yield ask
    finally:
        client.close()


def _check(sink: SinkThread) -> None:
    if not sink.is_alive():
        raise sink.failure or PipelineError("the sink stopped")


def _drain(run: Settings, sink: SinkThread) -> None:
    """Wait until everything that was collected is stored."""
    deadline = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline:
        _check(sink)
        try:
            if sum(worker_lag(run).values()) == 0 and sink_lag(run) == 0:
                return
        except KafkaUnavailableError:
            pass
        time.sleep(_LOOK_S)
    raise PipelineError(f"not everything could be stored within {_DRAIN_S:.0f} s")


@contextmanager
def _told_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at SIGINT and SIGTERM; a second one is obeyed at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        signal.signal(number, handle)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
