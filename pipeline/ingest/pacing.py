"""Things that may be done only so many times a second."""

from __future__ import annotations

import asyncio


class Pace:
    """Turns, at most `per_s` a second, in the order in which they were asked for."""

    def __init__(self, per_s: float) -> None:
        self._gap_s = 1.0 / per_s
        self._free_at = 0.0

    async def turn(self) -> None:
        """Return when it is the caller's turn."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._free_at)
        self._free_at = at + self._gap_s
        if at > now:
            await asyncio.sleep(at - now)
