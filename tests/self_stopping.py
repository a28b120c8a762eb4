"""Run a worker or a sink that kills itself at one of its own steps: `self_stopping.py worker|sink [STEP COUNT]`.

The settings come from the environment as for the product. With a step, the process ends by SIGKILL,
as a power cut would end it, when that step is taken for the COUNT-th time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from pipeline.codec import Codec
from pipeline.logs import configure_logs
from pipeline.settings import read_settings


def observer(step: str | None, count: int) -> Callable[[str], None]:
    left = count
    lock = threading.Lock()

    def observe(taken: str) -> None:
        nonlocal left
        if taken == step:
            with lock:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    return observe


def main() -> None:
    role = sys.argv[1]
    step = sys.argv[2] if len(sys.argv) > 2 else None
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    settings = read_settings()
    configure_logs(settings)
    if role == "worker":
        from pipeline.worker.application import run_worker

        run_worker(settings, Codec(), observer(step, count))
    else:
        from pipeline.warehouse.sink import run_sink

        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        run_sink(settings, Codec(), stop, observer(step, count))


main()
