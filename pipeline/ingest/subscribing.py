"""The subscriptions of one connection: asked for, confirmed, refused, asked for again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.feeds.live import Heard, Topic

# So often the same topics are asked for without an answer to any; then the connection is at fault.
_MOST_TRIES: Final = 3
_LONGEST_S: Final = 3_600.0


@dataclass(slots=True)
class _Open:
    """A topic without a confirmation: asked for `tries` times, again at `again_s`."""

    again_s: float
    tries: int = 0
    # Since the last answer.
    unanswered: int = 0
    is_refused: bool = False
    # Refused for itself at least once.
    is_settled: bool = False
    # Asked for together with others; and to be asked for alone.
    is_shared: bool = False
    alone: bool = False


class Subscribing:
    """Decide what to ask for next.

    A topic that is not confirmed within `confirm_s` is asked for again, after twice the time at each try. One that is
    refused is asked for again after `refused_again_s`, doubled likewise: listings come and go, and a refusal may
    have been about the moment. Neither wait exceeds an hour. Times are seconds of a clock that runs evenly.
    """

    def __init__(self, topics: Iterable[Topic], per_request: int, confirm_s: float, refused_again_s: float) -> None:
        self._per_request = per_request
        self._confirm_s = confirm_s
        self._refused_again_s = refused_again_s
        self._topics: dict[str, Topic] = {}
        self._open: dict[str, _Open] = {}
        # Since when (ms) each topic is confirmed.
        self.confirmed: dict[str, int] = {}
        self.add(topics)

    @property
    def is_complete(self) -> bool:
        """Tell whether all topics are confirmed."""
        return not self._open

    @property
    def is_settled(self) -> bool:
        """Tell whether all topics are confirmed or were refused for themselves: nothing new is to be expected soon."""
        return all(open_.is_settled for open_ in self._open.values())

    @property
    def next_s(self) -> float:
        """Return when something is to be asked for."""
        return min((open_.again_s for open_ in self._open.values()), default=math.inf)

    def is_hopeless(self, now_s: float) -> bool:
        """Tell whether nothing is confirmed and what was asked for often enough was never answered."""
        return not self.confirmed and any(
            open_.unanswered >= _MOST_TRIES and open_.again_s <= now_s for open_ in self._open.values()
        )

    def add(self, topics: Iterable[Topic]) -> None:
        """Want more topics."""
        for topic in topics:
            self._topics[topic.name] = topic
            self._open[topic.name] = _Open(again_s=-math.inf)

    def drop(self, names: Iterable[str]) -> None:
        """Want topics no more."""
        for name in names:
            self._topics.pop(name, None)
            self._open.pop(name, None)
            self.confirmed.pop(name, None)

    def next_request(self, now_s: float) -> tuple[list[Topic], int]:
        """Return the topics to ask for now, and how many of them were asked for before in vain."""
        due = [name for name, open_ in self._open.items() if open_.again_s <= now_s]
        alone = next((name for name in due if self._open[name].alone), None)
        due = due[: self._per_request] if alone is None else [alone]
        repeated = 0
        for name in due:
            open_ = self._open[name]
            repeated += open_.tries > 0 and not open_.is_refused
            open_.is_refused = False
            open_.is_shared = len(due) > 1
            open_.again_s = now_s + min(self._confirm_s * 2**open_.tries, _LONGEST_S)
            open_.tries += 1
            open_.unanswered += 1
        return [self._topics[name] for name in due], repeated

    def hear(self, heard: Heard, now_s: float, now_ms: int) -> tuple[str, ...]:
        """Take what a message confirmed and refused; return the names of the topics that are refused for themselves."""
        for name in heard.confirmed:
            if self._open.pop(name, None) is not None:
                self.confirmed[name] = now_ms
        return tuple(name for name, _ in heard.refused if name in self._topics and self._refuse(name, now_s))

    def _refuse(self, name: str, now_s: float) -> bool:
        self.confirmed.pop(name, None)
        open_ = self._open.setdefault(name, _Open(again_s=now_s, tries=1))
        open_.is_refused = True
        open_.unanswered = 0
        open_.alone = True
        if open_.is_shared:
            open_.is_shared = False
            open_.tries = 0
            open_.again_s = now_s
            return False
        open_.is_settled = True
        longest_s = max(_LONGEST_S, self._refused_again_s)
        open_.again_s = now_s + min(self._refused_again_s * 2 ** (open_.tries - 1), longest_s)
        return True
