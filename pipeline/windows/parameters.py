"""What the fold can be told."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class WindowParameters:
    """How long bars wait and stay correctable.

    `lateness_ms`: how far the watermark must pass a bar's end to close it. `correction_ms`: how long after that a late
    event still corrects it. `behind_ms`: a channel whose last heartbeat is this far behind the newest one is left out
    of the watermark, and two heartbeats further apart than this vouch for nothing in between.

    `silence_probability`: a channel that is up and brings nothing is silent when this is less likely than that
    (`pipeline.windows.silence`). `silence_half_life_ms`: how long ago heartbeats count half for what is usual.
    """

    lateness_ms: int = 5_000
    correction_ms: int = 600_000
    behind_ms: int = 30_000
    silence_probability: float = 1e-6
    silence_half_life_ms: int = 43_200_000

    def is_closed(self, start: int, watermark: int) -> bool:
        """Return whether the minute from `start` is over for good."""
        return watermark >= start + MINUTE_MS + self.lateness_ms

    def closed_before(self, watermark: int) -> int:
        """Return the start of the first minute that is not over for good; 0 before the first heartbeat."""
        settled = watermark - self.lateness_ms
        return max(0, settled - settled % MINUTE_MS)

    def is_expired(self, start: int, watermark: int) -> bool:
        """Return whether the minute from `start` can no longer be corrected."""
        return watermark >= start + MINUTE_MS + self.lateness_ms + self.correction_ms
