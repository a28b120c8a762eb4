"""What was really sent: one entry per message and socket, and one for each message that nobody listened to.

An entry is a JSON object. `time_us` is when (µs since 1970), `what` one of

- `opened`, `subscribed` (with `topic`), `closed` (with `why`): what became of a socket;
- `sent`: a message was handed to the system for `socket`, between `begun_us` and `time_us`; `rows` is what it holds, as
  the simulator knows it;
- `unheard`: a message with rows was due, and no socket had subscribed to it (or a fault kept it back);
- `asked`: a REST request for `path`, answered with `status`;
- `fault`: a fault began.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from pipeline.embedded.simulator.truth import Truth


class ServedLedger:
    """Entries in the order in which things happened: in a file as JSON lines, in memory, or (not kept) only counted.

    `now_ns` gives the time of an entry (nanoseconds since 1970).
    """

    def __init__(
        self, path: Path | None = None, *, is_kept: bool = True, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._is_kept = is_kept
        self._now_ns = now_ns
        self.entries: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {"sent": 0, "unheard": 0, "events": 0}
        self._file: BinaryIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.BufferedWriter(io.FileIO(path, "wb"), 1 << 20)

    def now_us(self) -> int:
        """Return the time (µs since 1970) that an entry would have now."""
        return self._now_ns() // 1000

    def note(self, what: str, exchange: str, rows: Sequence[Truth] = (), **more: object) -> None:
        """Add an entry."""
        if what in self.counts:
            self.counts[what] += 1
        if what == "sent":
            self.counts["events"] += sum(row.kind == "event" for row in rows)
        if not self._is_kept:
            return
        entry: dict[str, Any] = {"time_us": self.now_us(), "what": what, "exchange": exchange, **more}
        if rows:
            entry["rows"] = [row._asdict() for row in rows]
        if self._file is None:
            self.entries.append(entry)
        else:
            self._file.write(orjson.dumps(entry) + b"\n")

    def flush(self) -> None:
        """Let the file hold all entries."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a file; a last line that is not whole yet is left out."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
