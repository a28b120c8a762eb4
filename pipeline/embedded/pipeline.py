"""The whole pipeline on one machine, from a stream of frames to rows: for the demo and for replays.

Broker and ClickHouse are embedded, or the real ones whose addresses are given. The worker is a process of its own, the
sink a thread of this one, because the embedded ClickHouse serves one process only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal
from urllib.parse import quote

from pipeline.codec import Codec
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.parts import SinkThread, WorkerProcess, last_line, sink_thread, worker_process
from pipeline.embedded.totals import Totals, read_totals
from pipeline.errors import OperationError
from pipeline.feeds.feed import Instruments
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.recordings import EndOfRecording
from pipeline.ingest.replay import Replayed, replay
from pipeline.ingest.topic_admin import create_topics, delete_topics
from pipeline.kafka_client import KafkaUnavailableError
from pipeline.records import Frame
from pipeline.settings import Settings
from pipeline.warehouse.client import connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.lag import sink_lag, worker_lag
from pipeline.warehouse.migrate import migrate, status

EMBEDDED_PARTITIONS = 2
_INSERT_INTERVAL_MS = 1_000
_COMMIT_INTERVAL_MS = 500
# The embedded broker reads a few hundred batches a second, however small they are.
_LINGER_MS = 500
_LOOK_EVERY_S = 0.4
# With nothing moving for this long something is broken that did not say so.
_STALL_S = 120.0

Stage = Literal["starting", "publishing", "folding", "storing", "done"]


class PipelineError(OperationError):
    """A part of the pipeline stopped; the message names it and where it says more."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is: what was published, and how many records wait for the worker and for the sink."""

    stage: Stage
    replayed: Replayed
    worker_lag: int | None = None
    sink_lag: int | None = None


Progress = Callable[[Snapshot], None]
# Publishes everything that is to enter, with the settings of the run, and tells how far it is.
Source = Callable[[Settings, Publisher, Callable[[Replayed], None]], Replayed]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where to run: None for what is embedded. `database` is None for the one in the settings."""

    bootstrap_servers: str | None = None
    clickhouse_url: str | None = None
    database: str | None = None


def clickhouse_folder(data: Path) -> str:
    """Return the address of the embedded ClickHouse below the data folder."""
    return "chdb://" + quote(str((data / "clickhouse").resolve()))


def recordings(items: Iterable[Frame | EndOfRecording], instruments: Instruments) -> Source:
    """Return the source of what is in recordings, in the order of its times."""

    def publish(run: Settings, publisher: Publisher, progress: Callable[[Replayed], None]) -> Replayed:
        return replay(items, instruments, publisher, run.lateness_ms, progress)

    return publish


def run_pipeline(
    source: Source,
    settings: Settings,
    data: Path,
    progress: Progress,
    servers: Servers = Servers(),
) -> Totals:
    """Send what `source` publishes through the whole pipeline and return when its rows are in ClickHouse.

    Every run has topics of its own, under a fresh prefix, since a log that has seen today's heartbeats would take a
    recording of last year for too late. On a real broker they are deleted in the end. Rows of the same recording are
    the same rows, so a run may be repeated.
    """
    data.mkdir(parents=True, exist_ok=True)
    logs = data / "logs"
    replayed = Replayed()
    progress(Snapshot("starting", replayed))
    with ExitStack() as stack:
        run = _settings_of_run(settings, data, servers)
        _prepare_warehouse(run, embedded=servers.clickhouse_url is None)
        if servers.bootstrap_servers is None:
            broker = stack.enter_context(EmbeddedBroker(logs))
            run = broker.settings(run)
        create_topics(run)
        if servers.bootstrap_servers is not None:
            stack.callback(delete_topics, run)
        codec = Codec()
        sink = stack.enter_context(sink_thread(run, codec))
        worker = stack.enter_context(worker_process(run, logs))
        look = _Look(worker, sink, progress)
        publisher = Publisher(run, codec, _LINGER_MS)
        replayed = source(run, publisher, lambda counts: look.sometimes("publishing", counts))
        # However quick it was: whoever watches has seen how far the market went.
        progress(Snapshot("publishing", replayed))
        look.until("folding", replayed, lambda: sum(worker_lag(run).values()))
        look.until("storing", replayed, lambda: sink_lag(run))
        totals = read_totals(run, codec, replayed.frames, replayed.without_events)
        progress(Snapshot("done", replayed, 0, 0))
    return totals


def _settings_of_run(settings: Settings, data: Path, servers: Servers) -> Settings:
    changes: dict[str, object] = {
        "topic_prefix": f"{settings.topic_prefix}replay-{token_hex(4)}-",
        "clickhouse_url": servers.clickhouse_url or clickhouse_folder(data),
        "clickhouse_database": servers.database or settings.clickhouse_database,
        # Nobody waits for single rows here: larger blocks and transactions leave more time for the rest.
        "insert_interval_ms": max(settings.insert_interval_ms, _INSERT_INTERVAL_MS),
        "commit_interval_ms": max(settings.commit_interval_ms, _COMMIT_INTERVAL_MS),
    }
    if servers.bootstrap_servers is None:
        changes["partitions"] = min(settings.partitions, EMBEDDED_PARTITIONS)
    else:
        changes["bootstrap_servers"] = servers.bootstrap_servers
    return settings.model_copy(update=changes)


def _prepare_warehouse(run: Settings, *, embedded: bool) -> None:
    password = run.clickhouse_password
    client = connect(run.clickhouse_url, run.clickhouse_user, password.get_secret_value() if password else None)
    databases = Databases(run.clickhouse_database)
    try:
        if embedded:
            migrate(client, databases=databases)
        elif status(client, databases=databases).pending:
            named = "" if databases == Databases() else f" --database {databases.name}"
            raise PipelineError(f"{run.clickhouse_url} lacks tables: run `liquidations migrate{named}` first")
    finally:
        client.close()


class _Look:
    """Sees now and then whether the parts are alive, and shows how far they are."""

    def __init__(self, worker: WorkerProcess, sink: SinkThread, progress: Progress) -> None:
        self._worker = worker
        self._sink = sink
        self._progress = progress
        self._next_s = 0.0

    def sometimes(self, stage: Stage, replayed: Replayed) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + _LOOK_EVERY_S
            self._check()
            self._progress(Snapshot(stage, replayed))

    def until(self, stage: Stage, replayed: Replayed, lag: Callable[[], int]) -> None:
        """Wait until `lag` is 0."""
        least: int | None = None
        moved_s = time.monotonic()
        while True:
            self._check()
            try:
                left = lag()
            except KafkaUnavailableError:
                # A broker under load may miss one answer; one that is gone is noticed when nothing moves.
                if time.monotonic() - moved_s > _STALL_S:
                    raise
                continue
            folding = stage == "folding"
            self._progress(Snapshot(stage, replayed, left if folding else 0, None if folding else left))
            if left == 0:
                return
            if least is None or left < least:
                least, moved_s = left, time.monotonic()
            elif time.monotonic() - moved_s > _STALL_S:
                raise PipelineError(f"{stage}: {left} records are left and nothing moves; see {self._worker.log}")
            time.sleep(_LOOK_EVERY_S)

    def _check(self) -> None:
        if self._worker.poll() is not None:
            raise PipelineError(f"the worker stopped: {last_line(self._worker.log)} (all of it in {self._worker.log})")
        if not self._sink.is_alive():
            raise self._sink.failure or PipelineError("the sink stopped")
