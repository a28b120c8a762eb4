"""`liquidations`, whose ingest writes down for every frame when it was sent and when it was known to be safe.

A frame is safe when Kafka has confirmed it and all before it: this is what proofs of coverage wait for. The lines of
the file `BENCH_ACKNOWLEDGED` are two times in milliseconds: the one in the message, and that of the confirmation.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from pathlib import Path
from typing import Any

from pipeline.cli.entry import main
from pipeline.ingest import collect
from pipeline.ingest.spooling_publisher import SpoolingPublisher
from pipeline.records import Frame

SENT = re.compile(rb'"(?:E|sent)":(\d{13})')
VARIABLE = "BENCH_ACKNOWLEDGED"


class _Timed(SpoolingPublisher):
    """Notes when frames become safe."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sent: deque[tuple[int, int]] = deque()
        self._lines = Path(os.environ[VARIABLE]).open("w")  # noqa: SIM115 - as long as the process

    def frame(self, frame: Frame) -> None:
        super().frame(frame)
        found = SENT.search(frame.payload)
        if found is not None:
            self._sent.append((self.position, int(found[1])))

    def _confirm(self) -> None:
        super()._confirm()
        safe, now_ms = self.safe_position, time.time_ns() // 1_000_000
        if not self._sent or self._sent[0][0] > safe:
            return
        while self._sent and self._sent[0][0] <= safe:
            self._lines.write(f"{self._sent.popleft()[1]} {now_ms}\n")
        self._lines.flush()


if __name__ == "__main__":
    collect.SpoolingPublisher = _Timed  # type: ignore[misc]  # the same class, with notes
    main()
