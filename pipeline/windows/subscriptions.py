"""Contracts on channels that are subscribed contract by contract: which were subscribed when, and by whom.

Only changes are heard. What they mean for a minute is computed when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pipeline.records import Subscription
from pipeline.windows.spans import Span

# The end of a subscription that goes on: later than any time.
OPEN: Final = 1 << 62
# A contract that nobody subscribes for so long is delisted.
_GIVEN_UP_MS: Final = 86_400_000


@dataclass(slots=True)
class Contract:
    """One contract on one channel: for each collector since when its last word holds, and when it was subscribed.

    A collector's spans rise; the last one may be open. Those from before the minutes that can still be asked for are
    forgotten.
    """

    said: dict[str, int] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)

    def hear(self, subscription: Subscription) -> bool:
        """Take a change in; return False for what says nothing new, or is older than what is known."""
        collector, time = subscription.collector, subscription.time
        if time < self.said.get(collector, 0):
            return False
        spans = self.spans.setdefault(collector, [])
        is_up = bool(spans) and spans[-1][1] == OPEN
        if is_up == (subscription.state == "up") and collector in self.said:
            return False
        self.said[collector] = time
        if subscription.state == "up":
            spans.append((time, OPEN))
        elif is_up:
            begin, _ = spans.pop()
            if begin < time:
                spans.append((begin, time))
        return True

    def is_subscribed_since(self, collector: str, time: int) -> bool:
        """Tell whether `collector` has it subscribed without a break since `time`."""
        spans = self.spans.get(collector)
        if not spans:
            return False
        begin, end = spans[-1]
        return begin <= time and end == OPEN

    def forget_before(self, time: int) -> bool:
        """Forget the spans that ended before `time`; return whether there were any."""
        found = False
        for collector, spans in self.spans.items():
            if spans and spans[0][1] <= time:
                found = True
                self.spans[collector] = [span for span in spans if span[1] > time]
        return found

    def is_given_up(self, watermark: int) -> bool:
        """Tell whether nobody has subscribed it for a day."""
        return not any(self.spans.values()) and all(said + _GIVEN_UP_MS <= watermark for said in self.said.values())

    def stored(self) -> Iterator[tuple[str, int, list[Span]]]:
        """Yield what a checkpoint keeps: collector, since when its last word holds, spans."""
        for collector, said in self.said.items():
            yield collector, said, self.spans[collector]
