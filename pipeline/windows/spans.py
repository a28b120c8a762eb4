"""Spans of time, in milliseconds: what was covered from when until when."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]  # begin, end; the end is not in it


def shared(some: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return where a span of `some` and one of `others` lie over each other."""
    others = list(others)
    return [
        (max(begin, other_begin), min(end, other_end))
        for begin, end in some
        for other_begin, other_end in others
        if begin < other_end and other_begin < end
    ]


def left(begin: int, end: int, spans: Iterable[Span]) -> list[Span]:
    """Return what is left of the time from `begin` to `end` outside of `spans`."""
    found = []
    for first, last in sorted(spans):
        if begin < min(first, end):
            found.append((begin, min(first, end)))
        begin = max(begin, last)
    if begin < end:
        found.append((begin, end))
    return found


def total_ms(spans: Iterable[Span], begin: int, end: int) -> int:
    """Return how much of the time from `begin` to `end` lies in at least one of `spans`."""
    total = 0
    for first, last in sorted(spans):
        first, last = max(first, begin), min(last, end)  # noqa: PLW2901 - cut to the time asked for
        if first < last:
            total += last - first
            begin = last
    return total
