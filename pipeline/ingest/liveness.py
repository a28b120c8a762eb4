"""What a connection proves, and when it must be taken for dead.

Pings that hold the time go out again and again. A pong comes behind everything that the server had sent before it read
the ping, so with the pong in hand all of that has been received and worked on: the connection is *proved* up to the
time in the ping. A message alone proves less, since others may still wait behind it in the buffers of a burst. Where a
server answers no pings, the time of its last message has to do.

A proof counts once everything before it is safe: confirmed by Kafka or on the disk. So it says the truth even if the
process is killed right after it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# A server that sends messages but answers none of so many pings does not answer pings.
_PINGS_BEFORE_MUTE: Final = 10
_MOST_OPEN_PINGS: Final = 128
_MOST_PROOFS: Final = 128


class Liveness:
    """Keep the signs of life of one connection.

    Waits are in seconds of a clock that runs evenly (`now_s`), proofs in milliseconds since 1970 (`now_ms`). `position`
    is how many frames the process had taken in at that moment.
    """

    def __init__(self, stall_s: float, silence_s: float, now_s: float, now_ms: int) -> None:
        self.last_s = now_s
        self._proved_ms = now_ms
        # Proofs that wait for the frames before them: position and time.
        self._proofs: deque[tuple[int, int]] = deque()
        self._stall_s = stall_s
        self._silence_s = silence_s
        self._open: dict[bytes, int] = {}
        self._unanswered = 0
        self._answers = False

    @property
    def is_mute(self) -> bool:
        """Tell whether the server seems not to answer pings."""
        return not self._answers and self._unanswered >= _PINGS_BEFORE_MUTE

    def proved_ms(self, safe_position: int) -> int:
        """Return up to when everything that was sent has been received and is safe."""
        while self._proofs and self._proofs[0][0] <= safe_position:
            self._proved_ms = max(self._proved_ms, self._proofs.popleft()[1])
        return self._proved_ms

    def message(self, now_s: float, received_ms: int, position: int) -> None:
        """Hear of a message of any kind."""
        self.last_s = now_s
        if not self._answers and self._unanswered >= _PINGS_BEFORE_MUTE:
            if len(self._proofs) >= _MOST_PROOFS:
                self._proofs.pop()
            self._proofs.append((position, received_ms))

    def ping(self, now_ms: int) -> bytes:
        """Return what the next ping holds."""
        payload = str(now_ms).encode()
        if len(self._open) >= _MOST_OPEN_PINGS:
            del self._open[next(iter(self._open))]
        self._open[payload] = now_ms
        self._unanswered += 1
        return payload

    def pong(self, payload: bytes, position: int) -> None:
        """Hear a pong; one that answers no ping of ours proves nothing."""
        sent_ms = self._open.pop(payload, None)
        if sent_ms is not None:
            self._answers = True
            self._unanswered = 0
            self._proofs.append((position, sent_ms))
            # A server may answer only the newest of several pings.
            self._open = {other: time_ms for other, time_ms in self._open.items() if time_ms > sent_ms}

    def is_stalled(self, now_s: float) -> bool:
        """Tell whether nothing has come for so long that the connection covers nothing until something does."""
        return now_s - self.last_s > (self._stall_s if self._answers else self._silence_s)

    def is_dead(self, now_s: float) -> bool:
        """Tell whether nothing has come for so long that another connection is better."""
        return now_s - self.last_s > self._silence_s
