"""How long to wait before trying again."""

from __future__ import annotations

from random import Random


class BackOff:
    """Waits that grow: the n-th is drawn evenly from 0 to `first_s * 2**n`, at most `most_s` (full jitter).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog. Drawn from the whole range, the attempts of many
    connections that were lost at once are spread best.
    """

    def __init__(self, first_s: float, most_s: float, random: Random) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._random = random
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        wait_s = self._random.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._most_s, self._ceiling_s * 2)
        return wait_s

    def reset(self) -> None:
        """Begin again with short waits."""
        self._ceiling_s = self._first_s
