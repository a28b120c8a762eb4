"""Our own recordings: every line is a frame with the channel it came by (see `pipeline.feeds.frame_lines`).

A line that is no frame becomes one of the channel `archive:frames`, of no exchange, with the line as its payload and
the time of its neighbour; mapping it says why it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import orjson

from pipeline.feeds.archives.lines import lines_of
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.frame_lines import KEYS, frame_of_line, is_frame
from pipeline.records import EARLIEST_MS, Frame, RefusedError, dead_letter_of_frame

NAME: Final = "frames"


def _recognise(path: Path, head: bytes) -> bool:  # noqa: ARG001 - the name tells nothing
    *complete, last = head.split(b"\n")
    if any(_is_frame(line) for line in complete) or _is_frame(last):
        return True
    # A first message longer than the head is seen by its keys; they come before the payload, or the payload is short.
    return not complete and last.startswith(b"{") and all(f'"{key}"'.encode() in last for key in KEYS)


def _is_frame(line: bytes) -> bool:
    try:
        return is_frame(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    waiting: list[tuple[int, bytes]] = []
    received_time: int | None = None
    for number, line in enumerate(lines_of(chunks)):
        try:
            frame = frame_of_line(line)
        except RefusedError:
            if received_time is None:
                waiting.append((number, line))
            else:
                yield _broken(path, number, line, received_time)
            continue
        received_time = frame.received_time
        yield from (_broken(path, early, broken, received_time) for early, broken in waiting)
        waiting.clear()
        yield frame
    yield from (_broken(path, early, broken, EARLIEST_MS * 1000) for early, broken in waiting)


def _broken(path: Path, number: int, line: bytes, received_time: int) -> Frame:
    return Frame("", ARCHIVE.channel, path.name, number, received_time, line)


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:  # noqa: ARG001 - nothing here names a contract
    try:
        frame_of_line(frame.payload)
    except RefusedError as refusal:
        yield dead_letter_of_frame(frame, 0, refusal.reason, str(refusal))
    else:
        yield dead_letter_of_frame(frame, 0, "unexpected_message", "a whole frame inside a frame of a broken line")


ARCHIVE = Archive(NAME, _recognise, _frames, _map)
