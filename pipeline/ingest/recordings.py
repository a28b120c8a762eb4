"""Recordings from files: our own frames and the known archive formats, plain, gzip or zstd.

Of a file with a manifest beside it (see `pipeline.ingest.manifest`), as `liquidations record` writes them, what the
manifest does not tell of is not read: it is being written. Such files of the same name in folders of several days are
one recording that goes on from day to day, and all in one folder end together.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from gzip import BadGzipFile, GzipFile
from io import RawIOBase
from pathlib import Path
from typing import IO

import zstandard

from pipeline.errors import OperationError
from pipeline.feeds import all_archives
from pipeline.feeds.feed import Archive
from pipeline.ingest.manifest import SUFFIX as MANIFEST_SUFFIX
from pipeline.ingest.manifest import read_manifest
from pipeline.records import Frame, RefusedError

# Bytes read so far and bytes in all, as the files lie on the disk.
Progress = Callable[[int, int], None]

_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# What lies beside recordings in a folder and is none.
_BESIDE = {".md", ".txt", ".pdf", MANIFEST_SUFFIX}


class RecordingError(OperationError):
    """A path cannot be read as a recording; the text says which and why."""


@dataclass(frozen=True, slots=True)
class EndOfRecording:
    """Stands behind the last frame of a file: from here on nobody vouches for these (exchange, channel, connection)."""

    connections: frozenset[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Recording:
    """One file, the format it is in, and how many of its bytes count; `is_recorded` tells one with a manifest."""

    path: Path
    archive: Archive
    size_bytes: int
    is_recorded: bool = False


def read_recordings(paths: Sequence[Path], progress: Progress | None = None) -> Iterator[Frame | EndOfRecording]:
    """Return the frames of all files below `paths`, merged by the time at which they were received.

    Behind the last frame of each recording stands an `EndOfRecording`.

    A folder stands for the files in it, sorted, at any depth; hidden files, notes (`.md`, `.txt`, `.pdf`) and manifests
    are left out. Frames of one file keep their order; between files the running maximum of `received_time` decides,
    then the file's name, so the order of `paths` changes nothing.

    Raise `RecordingError` at once for what is no recording, and while reading for a damaged file.
    """
    recordings = find_recordings(paths)
    total = sum(recording.size_bytes for recording in recordings)
    read: dict[Path, int] = {}
    days: dict[tuple[Path, str] | int, list[Recording]] = {}
    for number, recording in enumerate(recordings):
        path = recording.path.resolve()
        days.setdefault((path.parent.parent, path.name) if recording.is_recorded else number, []).append(recording)

    def count(path: Path, size_bytes: int) -> None:
        read[path] = size_bytes
        if progress is not None:
            progress(sum(read.values()), total)

    streams = [
        _keyed(sorted(series, key=lambda recording: recording.path.resolve()), number, count)
        for number, series in enumerate(days.values())
    ]
    folders = [series[0].path.resolve().parent.parent if series[0].is_recorded else None for series in days.values()]
    return _ended_together(heapq.merge(*streams, key=lambda keyed: keyed[:2]), folders)


def _ended_together(
    items: Iterable[tuple[int, int, Frame | EndOfRecording]], folders: Sequence[Path | None]
) -> Iterator[Frame | EndOfRecording]:
    """Let what was recorded into one folder end together: one recorder heard all of it.

    `folders` are by the number of the series.
    """
    left = Counter(folders)
    ended: dict[Path, frozenset[tuple[str, str, str]]] = {}
    for _, number, item in items:
        folder = folders[number]
        if folder is None or isinstance(item, Frame):
            yield item
            continue
        ended[folder] = ended.get(folder, frozenset()) | item.connections
        left[folder] -= 1
        if not left[folder]:
            yield EndOfRecording(ended[folder])


def find_recordings(paths: Sequence[Path]) -> list[Recording]:
    """Return the recordings below `paths` in their one order, or raise `RecordingError` for the first that is none."""
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise RecordingError(f"no recording in {', '.join(map(str, paths)) or 'an empty list of paths'}")
    return [_recording(file) for file in sorted(files, key=lambda file: (file.name, str(file.resolve())))]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [
            file
            for file in sorted(path.rglob("*"))
            if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in _BESIDE
        ]
    if not path.exists():
        raise RecordingError(f"{path}: there is no such file")
    return [path]


def _recording(path: Path) -> Recording:
    head = b""
    manifest = read_manifest(path)
    size_bytes = path.stat().st_size if manifest is None else manifest.bytes
    for chunk in _chunks(path, size_bytes):
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    head = head[:_HEAD_BYTES]
    if not head:
        raise RecordingError(f"{path}: is empty")
    for archive in all_archives().values():
        if archive.recognise(path, head):
            return Recording(path, archive, size_bytes, manifest is not None)
    known = ", ".join(sorted(all_archives()))
    hint = "; messages without frames go through `liquidations map`" if head.lstrip().startswith(b"{") else ""
    raise RecordingError(f"{path}: is no recording; known formats, plain, gzip or zstd, are {known}{hint}")


def _keyed(
    series: Sequence[Recording], number: int, count: Callable[[Path, int], None]
) -> Iterator[tuple[int, int, Frame | EndOfRecording]]:
    latest = 0
    connections: set[tuple[str, str, str]] = set()
    for recording in series:
        path = recording.path
        try:
            chunks = _chunks(path, recording.size_bytes, partial(count, path))
            for frame in recording.archive.frames(path, chunks):
                latest = max(latest, frame.received_time)
                connections.add((frame.exchange, frame.channel, frame.connection))
                yield latest, number, frame
        except RefusedError as refusal:
            raise RecordingError(f"{path}: {refusal}") from refusal
    yield latest, number, EndOfRecording(frozenset(connections))


class _Beginning(RawIOBase):
    """The first `size_bytes` of a file."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._size_bytes = size_bytes

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size_bytes - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def _chunks(path: Path, size_bytes: int, count: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """Return the uncompressed bytes of a file's first `size_bytes`; its own first bytes tell how it is packed."""
    try:
        with path.open("rb") as whole:
            magic = whole.read(len(_ZSTD_MAGIC))
            whole.seek(0)
            file = _Beginning(whole, size_bytes)
            if magic.startswith(_GZIP_MAGIC):
                chunks = _gzip(file)
            elif magic == _ZSTD_MAGIC:
                chunks = _zstd(file)
            else:
                chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
            for chunk in chunks:
                count(whole.tell())
                yield chunk
    except (BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise RecordingError(f"{path}: is damaged: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error


def _gzip(file: _Beginning) -> Iterator[bytes]:
    with GzipFile(fileobj=file) as unpacked:
        yield from iter(lambda: unpacked.read(_CHUNK_BYTES), b"")


def _zstd(file: _Beginning) -> Iterator[bytes]:
    # Frame by frame: the library's stream reader takes a file that is cut short for one that has ended.
    packed = file.read(_CHUNK_BYTES)
    while packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if not packed:
                raise EOFError("it ends in the middle of a zstd frame")
            if unpacked := frame.decompress(packed):
                yield unpacked
            packed = frame.unused_data if frame.eof else file.read(_CHUNK_BYTES)
        packed = packed or file.read(_CHUNK_BYTES)
