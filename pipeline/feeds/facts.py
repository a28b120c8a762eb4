"""What is known of an exchange's public feed, with the evidence: the feeds table and the rules' page are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from pipeline.records import Completeness, Position, PriceKind

Subject = Literal["position", "quantity", "price", "time", "identity", "counted", "instrument", "liveness"]


@dataclass(frozen=True, slots=True)
class Era:
    """From `since` on (ISO date; empty: from the start) the feed shows this share of all liquidations."""

    since: str
    completeness: Completeness
    meaning: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the mapping in one or two sentences, and the name of the source it rests on.

    `proved` is false where sources disagree or say nothing; the data then says so, too.
    """

    subject: Subject
    text: str
    evidence: str
    proved: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """One exchange's feed.

    `markets` are its words for what it covers; `eras` the completeness over time, oldest first; `delay` and `since` in
    words (how late an event comes; since when the feed exists). `positions` maps the raw word or sign to the position
    that was closed: every other raw value is refused.
    """

    markets: tuple[str, ...]
    eras: tuple[Era, ...]
    price_kind: PriceKind
    delay: str
    since: str
    positions: Mapping[str, Position]
    rules: tuple[Rule, ...]
    caveats: tuple[str, ...] = ()

    @property
    def completeness(self) -> Completeness:
        """Return what the feed shows today."""
        return self.eras[-1].completeness


def completeness_at(eras: tuple[Era, ...], time_ms: int) -> Completeness:
    """Return what the feed showed at a time in milliseconds since 1970; before the first era what the first says."""
    found = eras[0]
    for era, start_ms in zip(eras, _starts_ms(eras), strict=True):
        if time_ms >= start_ms:
            found = era
    return found.completeness


@lru_cache(maxsize=64)
def _starts_ms(eras: tuple[Era, ...]) -> tuple[int, ...]:
    starts = (datetime.fromisoformat(era.since or "1970-01-01").replace(tzinfo=UTC) for era in eras)
    return tuple(1000 * int(start.timestamp()) for start in starts)
