"""How far the market is behind the partition of events that is furthest ahead, minute by minute.

This is a measurement of one run, the only thing in the market that depends on the order in which pulses come.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.detect.market.pulse_order import PulseOrder
from pipeline.records import MarketDelay
from pipeline.windows.fold import SECOND_MS
from pipeline.windows.parameters import MINUTE_MS


@dataclass(slots=True)
class DelayMeter:
    """The newest watermark (ms), the largest delay in its minute (ms), how often the minute was spoken of.

    `told` is what was last said: the seconds of the newest watermark and of the market's.
    """

    newest: int = 0
    most_ms: int = 0
    said: int = 0
    told: tuple[int, int] = (0, 0)

    def hear(self, newest: int) -> None:
        """Take note of the newest watermark."""
        if newest // MINUTE_MS > self.newest // MINUTE_MS:
            self.most_ms, self.said = 0, 0
        self.newest = newest

    def measure(self, watermark: int) -> None:
        """Take note that the market is at `watermark` only now."""
        if watermark:
            self.most_ms = max(self.most_ms, self.newest - watermark)

    def say(self, order: PulseOrder) -> MarketDelay | None:
        """Return what is to be said now; None if nothing has moved by a second since the last time."""
        reached = order.passed
        seconds = self.newest // SECOND_MS, reached // SECOND_MS
        if seconds == tuple(self.told):
            return None
        self.told = seconds
        self.said += 1
        return MarketDelay(
            start=self.newest - self.newest % MINUTE_MS,
            newest=self.newest,
            watermark=reached or None,
            most_ms=self.most_ms,
            held_by=order.held_by,
            waiting=order.waiting,
            revision=self.said,
        )
