"""A child process that never outlives this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# The kernel is asked to kill the child when its parent dies, which also covers the parent's SIGKILL, where no clean-up
# of ours could run. The wish survives exec. It is made by a short program of its own because code between fork and
# exec is unsafe in a process with threads. The parent may have died before the wish was made: hence the second look.
# Other systems than Linux have no such wish; there an orderly end of the parent still stops the child.
_LAUNCHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def start_child(
    command: Sequence[str | Path], log_path: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command`, whose first word is the path of a program, with its output appended to `log_path`.

    The child gets a session of its own, so that Ctrl-C reaches only this process, which stops the child when its own
    work is done. On Linux "this process" means the thread that calls: keep it alive as long as the child.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    words = [os.fspath(word) for word in command]
    with log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the commands are our own
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environment is None else dict(environment),
        )


def end_child(child: subprocess.Popen[bytes], patience_s: float = 10.0) -> None:
    """Ask `child` to end, wait, and kill it if it does not within `patience_s`."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
