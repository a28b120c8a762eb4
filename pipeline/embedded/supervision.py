"""Child processes that come back when they die, unless they die again and again."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from pipeline.embedded.child import end_child, start_child
from pipeline.embedded.parts import last_line
from pipeline.errors import OperationError

_log = structlog.get_logger()

FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0
# So many deaths within this time, and waiting longer would help nobody.
_MOST_DEATHS = 6
_WITHIN_S = 600.0


class PartFailedError(OperationError):
    """A part died too often; the message names it and where it says more."""


class Supervised:
    """A process that is started again after its death, after a wait that doubles with each death of late.

    `look` must be called now and then, by the thread that made the object: children die with the thread that starts
    them.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.log = name, log
        self._command, self._environment = command, environment
        self._deaths: deque[float] = deque(maxlen=_MOST_DEATHS)
        self._again_s: float | None = None
        self._child: subprocess.Popen[bytes] = self._start()

    @property
    def process_id(self) -> int | None:
        """Return the process's id, None while it waits to be started again."""
        return self._child.pid if self._again_s is None else None

    @property
    def is_up(self) -> bool:
        """Tell whether the process runs."""
        return self._again_s is None and self._child.poll() is None

    def look(self) -> None:
        """Start the process again if it is time; raise `PartFailedError` if it died too often."""
        now_s = time.monotonic()
        if self._again_s is not None:
            if now_s >= self._again_s:
                self._again_s = None
                self._child = self._start()
                _log.info("part_started_again", part=self.name, pid=self._child.pid)
            return
        code = self._child.poll()
        if code is None:
            return
        self._deaths.append(now_s)
        recent = [death for death in self._deaths if now_s - death < _WITHIN_S]
        words = last_line(self.log)
        if len(recent) >= _MOST_DEATHS:
            raise PartFailedError(f"{self.name} ended {len(recent)} times: {words} (all of it in {self.log})")
        wait_s = min(_LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (len(recent) - 1))
        _log.warning("part_ended", part=self.name, code=code, said=words, again_in_s=wait_s)
        self._again_s = now_s + wait_s

    def end(self, patience_s: float = 10.0) -> None:
        """Ask the process to end, and kill it if it does not within `patience_s`."""
        end_child(self._child, patience_s)

    def _start(self) -> subprocess.Popen[bytes]:
        return start_child(self._command, self.log, self._environment)
