"""A folder of recorded days, which grows by whole steps only.

    DIR/2026-11-24/binance.default.3.jsonl.zst             frames of a day, exchange, collector and partition
    DIR/2026-11-24/binance.default.3.jsonl.zst.manifest    what is in it
    DIR/.positions.json                                    how far the log is recorded

One step is, for each file that frames came for: append them as one zstd frame and have them on the disk, then replace
the manifest. At the end of the step the positions are replaced. A power cut anywhere leaves files that are longer than
their manifests say, whose rest is cut off by the next step, and manifests that are ahead of the positions, whose frames
are read again and left out by their offsets. So every frame is in its file once.

A file holds one partition of the log in the log's order. A collector's receive times rise from frame to frame, so
merging the files by them restores the order in which the frames were worked on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import zstandard

from pipeline.errors import OperationError
from pipeline.feeds.frame_lines import line_of_frame
from pipeline.feeds.statements import collector_of
from pipeline.ingest.manifest import (
    Log,
    Manifest,
    ManifestError,
    read_document,
    read_manifest,
    sync_folder,
    write_document,
    write_manifest,
)
from pipeline.records import Frame

SUFFIX = ".jsonl.zst"
_POSITIONS = ".positions.json"
_LOCK = ".lock"
_DAY_US = 86_400_000_000
_CHUNK_BYTES = 1 << 20
_LEVEL = 6
# A name longer than this is cut and made distinct by its hash: file names have an end.
_LONGEST_WORD = 60

# Steps are told to an observer in tests; the product has none.
Observe = Callable[[str], None]


@dataclass(slots=True)
class Position:
    """How far a partition is recorded: the next offset to read.

    `missing` are the offsets (from, to) that the recording lacks: the broker had deleted them before they were read, or
    they were no frames.
    """

    next: int
    missing: list[tuple[int, int]] = field(default_factory=list)


class RecordingFolder:
    """Takes frames and keeps them from the next `step` on.

    `positions` are by partition; who reads the log begins there. Raises `ManifestError` for a folder that holds
    another log, or whose files are damaged, and `OperationError` if the disk does not take what is written.
    """

    def __init__(self, folder: Path, log: Log, observe: Observe = lambda _step: None) -> None:
        self._folder = folder
        self._log = log
        self._observe = observe
        self._files: dict[Path, _File] = {}
        self.positions = self._read_positions()

    def add(self, frame: Frame, partition: int, offset: int) -> int:
        """Take a frame for the next step and return the size of its line, 0 for one that is recorded already."""
        path = self._folder / path_of(frame, partition)
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(path, self._log, frame, partition, offset, self._observe)
        return file.add(frame, offset)

    def step(self, positions: Mapping[int, int]) -> int:
        """Keep what was taken; `positions` are the next offsets of the partitions read. Return the frames kept."""
        try:
            kept = sum(self._files[path].keep(positions) for path in sorted(self._files) if self._files[path].waits)
            self._observe("kept")
            for partition, offset in positions.items():
                position = self.positions.setdefault(partition, Position(offset))
                position.next = max(position.next, offset)
            self._write_positions()
        except OSError as error:
            raise OperationError(f"cannot record into {self._folder}: {error.strerror or error}") from error
        self._observe("positions")
        self._forget_old_days()
        return kept

    def begin(self, partition: int, offset: int) -> None:
        """Begin a partition that was not recorded before at `offset`."""
        self.positions[partition] = Position(offset)

    def skip(self, partition: int, begin: int, end: int) -> None:
        """Go on at `end`: what is from `begin` on is not there or is no frame; the next step writes that down."""
        position = self.positions[partition]
        position.missing.append((begin, end))
        position.next = end

    def _forget_old_days(self) -> None:
        # Frames of an old day may still come, from a spool; then its file is opened again.
        days = sorted({path.parent.name for path in self._files})[:-2]
        self._files = {path: file for path, file in self._files.items() if path.parent.name not in days}

    def _read_positions(self) -> dict[int, Position]:
        path = self._folder / _POSITIONS
        document = read_document(path)
        if document is None:
            return {}
        try:
            log = Log(**document["log"])
            positions = {
                int(partition): Position(int(said["next"]), [(int(begin), int(end)) for begin, end in said["missing"]])
                for partition, said in document["partitions"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ManifestError(f"{path}: does not say how far the log is recorded ({error})") from error
        check_log(self._folder, log, self._log)
        return positions

    def _write_positions(self) -> None:
        partitions = {
            str(partition): {"next": position.next, "missing": position.missing}
            for partition, position in sorted(self.positions.items())
        }
        log: dict[str, Any] = {"topic": self._log.topic, "topic_id": self._log.topic_id}
        write_document(self._folder / _POSITIONS, {"log": log, "partitions": partitions})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if it is missing, and keep other recorders out of it within the `with` block."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("wb")
    except OSError as error:
        raise OperationError(f"cannot record into {folder}: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationError(f"another process records into {folder}: give it another --out") from None
        yield


def missing_offsets(folder: Path) -> dict[int, list[tuple[int, int]]]:
    """Return by partition the offsets (from, to) that the recording lacks, see `Position`."""
    document = read_document(folder / _POSITIONS) or {"partitions": {}}
    return {
        int(key): [(a, b) for a, b in said["missing"]]
        for key, said in document["partitions"].items()
        if said["missing"]
    }


def check_log(path: Path, recorded: Log, log: Log) -> None:
    """Raise `ManifestError` if what is at `path` was recorded from another log than `log`."""
    same_id = recorded.topic_id == log.topic_id or not (recorded.topic_id and log.topic_id)
    if recorded.topic != log.topic or not same_id:
        raise ManifestError(
            f"{path} holds recordings of another log ({recorded.topic} {recorded.topic_id}, now {log.topic}"
            f" {log.topic_id}): give another --out"
        )


def path_of(frame: Frame, partition: int) -> Path:
    """Return where a frame belongs, below the folder: the UTC day of its receive time, and its file."""
    day = day_of(frame.received_time)
    return Path(day) / f"{_word(frame.exchange)}.{_word(collector_of(frame.connection))}.{partition}{SUFFIX}"


def day_of(received_time: int) -> str:
    """Return the UTC day (YYYY-MM-DD) of a time in µs since 1970."""
    return f"{datetime.fromtimestamp(received_time // _DAY_US * 86_400, UTC):%Y-%m-%d}"


def _word(name: str) -> str:
    """Return a name as a part of a file's name: the same for the same name only, never empty or hidden."""
    word = quote(name, safe="").replace(".", "%2E") or "%"
    if len(word) > _LONGEST_WORD:
        return f"{word[:_LONGEST_WORD].rstrip('%')}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return word


class _File:
    """One file: what its manifest says, and the lines that wait for the next step."""

    def __init__(self, path: Path, log: Log, first: Frame, partition: int, first_offset: int, observe: Observe) -> None:
        self._path = path
        self._log = log
        self._observe = observe
        self._partition = partition
        self._day = day_of(first.received_time)
        self._exchange = first.exchange
        self._collector = collector_of(first.connection)
        self._lines: list[bytes] = []
        found = read_manifest(path)
        if found is None:
            self._first_offset = self._next_offset = first_offset
            self._channels: Counter[str] = Counter()
            self._first_us, self._last_us = first.received_time, first.received_time
            self._bytes = 0
            self._hash = hashlib.sha256()
        else:
            check_log(path, found.log, log)
            self._first_offset, self._next_offset = found.first_offset, found.next_offset
            self._channels = Counter(found.channels)
            self._first_us, self._last_us = found.first_received_time, found.last_received_time
            self._bytes = found.bytes
            self._hash = hash_of(path, found)

    @property
    def waits(self) -> bool:
        return bool(self._lines)

    def add(self, frame: Frame, offset: int) -> int:
        if offset < self._next_offset:
            return 0
        line = line_of_frame(frame)
        self._lines.append(line)
        self._next_offset = offset + 1
        self._channels[frame.channel] += 1
        self._first_us = min(self._first_us, frame.received_time)
        self._last_us = max(self._last_us, frame.received_time)
        return len(line)

    def keep(self, positions: Mapping[int, int]) -> int:
        packed = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(b"".join(self._lines))
        self._path.parent.mkdir(exist_ok=True)
        is_new = not self._path.exists()
        # Not opened for appending: behind `bytes` there may be what an interrupted step has left.
        with self._path.open("wb" if is_new else "r+b") as file:
            file.truncate(self._bytes)
            file.seek(self._bytes)
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self._path.parent)
            sync_folder(self._path.parent.parent)
        self._observe("appended")
        self._bytes += len(packed)
        self._hash.update(packed)
        self._next_offset = max(self._next_offset, positions.get(self._partition, 0))
        write_manifest(self._path, self._manifest())
        self._observe("manifest")
        kept = len(self._lines)
        self._lines = []
        return kept

    def _manifest(self) -> Manifest:
        return Manifest(
            log=self._log,
            partition=self._partition,
            first_offset=self._first_offset,
            next_offset=self._next_offset,
            day=self._day,
            exchange=self._exchange,
            collector=self._collector,
            frames=self._channels.total(),
            channels=dict(sorted(self._channels.items())),
            first_received_time=self._first_us,
            last_received_time=self._last_us,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
        )


def hash_of(path: Path, manifest: Manifest) -> hashlib._Hash:
    """Return the hash over what the manifest says of a file; raise `ManifestError` if the file is another one."""
    hashed = hashlib.sha256()
    left = manifest.bytes
    try:
        with path.open("rb") as file:
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                hashed.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from error
    if left or hashed.hexdigest() != manifest.sha256:
        raise ManifestError(f"{path}: is damaged: it is not what its manifest says")
    return hashed
