"""Archives of text lines: one row a line, one frame a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.feeds.numbers import shown
from pipeline.records import EARLIEST_MS, Frame, RefusedError

# What a row tells of its frame before it is mapped: its exchange, and when it was received in µs since 1970.
Origin = tuple[str, int]


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Return the lines without their ends; empty lines are no rows."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line := line.rstrip(b"\r"):
                yield line
    if line := rest.rstrip(b"\r"):
        yield line


def without_header(lines: Iterable[bytes], header: bytes) -> Iterator[bytes]:
    """Return the lines without the first one if it is `header`."""
    remaining = iter(lines)
    for first in remaining:
        if first != header:
            yield first
        break
    yield from remaining


def row_frames(
    channel: str, path: Path, rows: Iterable[bytes], origin_of: Callable[[bytes], Origin], exchange: str = ""
) -> Iterator[Frame]:
    """Return one frame per row.

    A row whose `origin_of` is refused is of `exchange`, and of the time of the row before it or, at the file's start,
    of the first row that tells one.
    """
    waiting: list[bytes] = []
    received_time: int | None = None
    sequence = 0
    for row in rows:
        origin = _origin(row, origin_of)
        if origin is not None:
            for broken in waiting:
                yield Frame(exchange, channel, path.name, sequence, origin[1], broken)
                sequence += 1
            waiting.clear()
            received_time = origin[1]
        elif received_time is None:
            waiting.append(row)
            continue
        yield Frame(origin[0] if origin else exchange, channel, path.name, sequence, received_time, row)
        sequence += 1
    for broken in waiting:
        # Not one row tells a time; the earliest of all keeps them in front of whatever they are merged with.
        yield Frame(exchange, channel, path.name, sequence, EARLIEST_MS * 1000, broken)
        sequence += 1


def columns_of(row: bytes, *counts: int) -> list[str]:
    """Return the columns of a row, or refuse it if their number is none of `counts`."""
    try:
        columns = row.decode().split(",")
    except UnicodeDecodeError as error:
        raise RefusedError("bad_row", f"not UTF-8 text: {error.reason}") from None
    if len(columns) not in counts:
        expected = " or ".join(map(str, counts))
        raise RefusedError("bad_row", f"{len(columns)} columns instead of {expected}: {shown(row)}")
    return columns


def _origin(row: bytes, origin_of: Callable[[bytes], Origin]) -> Origin | None:
    try:
        return origin_of(row)
    except RefusedError:
        return None
