"""The parts of an embedded pipeline: the worker as a process, the sink as a thread of this one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pipeline.codec import Codec
from pipeline.embedded.child import end_child, start_child
from pipeline.settings import Settings
from pipeline.warehouse.sink import run_sink

_SINK_PATIENCE_S = 60.0
_WORKER_PATIENCE_S = 1.0


class SinkThread(threading.Thread):
    """The sink, which must share a process with everything else that reads the embedded ClickHouse."""

    def __init__(self, run: Settings, codec: Codec) -> None:
        super().__init__(name="sink", daemon=True)
        self._run = run
        self._codec = codec
        self.stop = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Copy topics into tables until `stop` is set; what went wrong is kept in `failure`."""
        try:
            run_sink(self._run, self._codec, self.stop)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever looks
            self.failure = error


@contextmanager
def sink_thread(run: Settings, codec: Codec) -> Iterator[SinkThread]:
    """Run the sink within the `with` block; raise in its end what the sink died of."""
    thread = SinkThread(run, codec)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop.set()
        thread.join(_SINK_PATIENCE_S)
    if thread.failure is not None:
        raise thread.failure


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """The worker's process: `poll()` returns its exit code once it has ended."""

    poll: Callable[[], int | None]
    log: Path


@contextmanager
def worker_process(run: Settings, logs: Path) -> Iterator[WorkerProcess]:
    """Run a worker within the `with` block."""
    log = logs / "worker.log"
    child = start_child([sys.executable, "-m", "pipeline", "worker"], log, environment_of(run))
    try:
        yield WorkerProcess(child.poll, log)
    finally:
        # Everything is committed, or the run has failed: a long goodbye to the group would help nobody.
        end_child(child, _WORKER_PATIENCE_S)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return this process's environment with these settings in place of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIQUIDATIONS_")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            environment[f"LIQUIDATIONS_{name.upper()}"] = value.get_secret_value()
        elif isinstance(value, dict):
            dumped = settings.model_dump_json(include={name})
            environment[f"LIQUIDATIONS_{name.upper()}"] = dumped.partition(":")[2].removesuffix("}")
        elif value is not None:
            environment[f"LIQUIDATIONS_{name.upper()}"] = str(value)
    return environment


def last_line(log: Path) -> str:
    """Return the last line that a part wrote."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
