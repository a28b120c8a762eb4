"""A queue of records on disk, in order and bounded, for the time in which Kafka is away.

The records of one frame are one *group*: all of it is in the spool, or nothing. A group is written as its length and
checksum (CRC-32), four bytes each, and then, for each record, topic (1 byte, an index), partition (2), length of the
key (2) and of the value (4), key and value. Numbers are big endian. Groups lie in files of about 16 MB whose names are
numbers that rise. A file starts with eight bytes that say what it is, and the place (8) up to which its groups are
confirmed; it is deleted when all of them are.

What `flush` has handed to the operating system outlives a kill of this process; what `sync` has written to the disk
outlives a power cut. A group that was cut short by either is found by its length or checksum.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from pipeline.errors import OperationError

_log = structlog.get_logger()

_SUFFIX = ".spool"
_MAGIC = b"LIQSPOL1"
_HEADER = struct.Struct(">8sQ")
_CONFIRMED = struct.Struct(">Q")
_CONFIRMED_AT = 8
_GROUP = struct.Struct(">II")
_RECORD = struct.Struct(">BhHI")

_SEGMENT_BYTES = 16 * 1024 * 1024
_BUFFER_BYTES = 256 * 1024
# While the disk has no room, what must be kept waits in memory up to here.
_MOST_BUFFER_BYTES = 2 * _BUFFER_BYTES
_READ_BYTES = 1024 * 1024
# Of the bound, for what must be said when there is no room for data any more.
_RESERVE = 0.05
# Of the bound: data come in again once so much of the room is free.
_AGAIN = 0.85
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


class SpoolError(OperationError):
    """The folder of the spool cannot be used; the message says why in one line."""


class SpoolFullError(OperationError):
    """There is no room for the group: the bound is reached, or the disk is full."""


class Entry(NamedTuple):
    """One record on its way to Kafka: index of the topic, partition (-1 by the key, -2 every one), key and value."""

    topic: int
    partition: int
    key: bytes
    value: bytes


Group = Sequence[Entry]


class Place(NamedTuple):
    """The end of a group: number of the file and offset in it. Later places compare as larger."""

    segment: int
    offset: int


class Spool:
    """Append groups, read them in the same order, and confirm what need not be kept.

    `folder` belongs to one process at a time. What an earlier process left in it is read first. At most `most_bytes`
    lie on the disk; the last twentieth of them is reserved for groups that `must` be kept.
    """

    def __init__(self, folder: Path, most_bytes: int, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self.damaged_bytes = 0
        self._segment_bytes = min(segment_bytes, max(_BUFFER_BYTES, most_bytes // 16))
        self._lock = _lock(folder)
        if self._lock is None:
            raise SpoolError(f"another process uses the spool {folder}: give this one another folder")
        self._segments: deque[tuple[int, int]] = deque(_segments_in(folder))  # number and bytes, oldest first
        self._kept_bytes = sum(size for _, size in self._segments)
        self._next_number = self._segments[-1][0] + 1 if self._segments else 1
        self._buffer = bytearray()
        self._writing: int | None = None  # descriptor of the newest file
        self._rotated: list[int] = []  # descriptors of full files that were not synced yet
        self._written = 0  # bytes of it that hold whole groups
        self._no_room = ""
        self._reading: int | None = None  # descriptor of the file that is read
        self._reading_number = 0
        self._read_to = 0
        self._confirmed = Place(0, 0)

    @property
    def bytes(self) -> int:
        """Return how many bytes are kept, on disk and about to be written."""
        return self._kept_bytes + len(self._buffer)

    @property
    def is_empty(self) -> bool:
        """Return whether everything that was appended has been confirmed."""
        return not self._segments and not self._buffer

    def regain(self) -> bool:
        """Try to write what waits, and return whether data fit in again, with some to spare."""
        return self.flush() and self.bytes < self.most_bytes * _AGAIN

    def append(self, group: Group, must: bool = False) -> None:
        """Add a group at the end. Raise `SpoolFullError` if there is no room; then nothing of it is kept."""
        if not group:
            return
        body = b"".join(
            part
            for entry in group
            for part in (
                _RECORD.pack(entry.topic, entry.partition, len(entry.key), len(entry.value)),
                entry.key,
                entry.value,
            )
        )
        added = _GROUP.size + len(body)
        bound = self.most_bytes if must else self.most_bytes * (1 - _RESERVE)
        if self.bytes + added > bound:
            raise SpoolFullError(f"{self.bytes} of {self.most_bytes} bytes are in use")
        if (
            len(self._buffer) >= _BUFFER_BYTES
            and not self.flush()
            and not (must and len(self._buffer) < _MOST_BUFFER_BYTES)
        ):
            raise SpoolFullError(self._no_room)
        self._buffer += _GROUP.pack(len(body), zlib.crc32(body))
        self._buffer += body

    def flush(self) -> bool:
        """Hand what was appended to the operating system. Return False if the disk has no room: it waits in memory."""
        if not self._buffer:
            return True
        try:
            if self._writing is None or self._written >= self._segment_bytes:
                self._begin_segment()
            self._write(self._buffer)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._no_room = f"cannot write to {self.folder}: {error.strerror}"
            return False
        self._buffer = bytearray()
        self._no_room = ""
        return True

    def unsynced(self) -> list[int]:
        """Return the descriptors, for `sync`, of the files written since the last call."""
        found, self._rotated = self._rotated, []
        if self._writing is not None:
            found.append(os.dup(self._writing))
        return found

    def end(self) -> Place:
        """Return the place behind the last group that was flushed."""
        return Place(self._segments[-1][0], self._segments[-1][1]) if self._segments else self._confirmed

    def skip_to_end(self) -> None:
        """Go on reading behind the last group that was flushed."""
        self._stop_reading()
        if self._segments:
            self._reading_number, self._read_to = self.end()

    def read(self, most_bytes: int = _READ_BYTES) -> list[tuple[Group, Place]]:
        """Return the next groups with their ends: about `most_bytes`, none when all that was flushed is read."""
        found: list[tuple[Group, Place]] = []
        taken = 0
        for number, size in list(self._segments):
            if number < self._reading_number:
                continue
            if number > self._reading_number:
                self._stop_reading()
                self._reading_number, self._read_to = number, 0
            while self._read_to < size and taken < most_bytes:
                begun = self._read_to
                found += self._read_chunk(number, size)
                taken += self._read_to - begun
            if taken >= most_bytes:
                break
        return found

    def take_unwritten(self) -> list[Group]:
        """Return the groups that the disk had no room for, and keep them no longer."""
        groups, _ = _groups_in(self._buffer)
        self._buffer = bytearray()
        self._no_room = ""
        return [group for group, _ in groups]

    def confirm(self, place: Place) -> None:
        """Note that everything up to `place` need not be kept: another process does not read it again."""
        self._confirmed = max(self._confirmed, place)
        while self._segments and self._segments[0][0] < place.segment:
            self._delete_first()
        if self._segments and self._segments[0][0] == place.segment:
            number, size = self._segments[0]
            if place.offset >= size:
                self._delete_first()
            else:
                descriptor = self._reading if self._reading_number == number else None
                _note_confirmed(_path(self.folder, number), place.offset, descriptor)

    def adopt(self, other: Path) -> int:
        """Take over what a process that is gone left in the folder `other`, and return how many bytes.

        It comes behind what is here, and before what is appended from now on.
        """
        lock = _lock(other)
        if lock is None:
            return 0
        moved = 0
        try:
            for number, size in _segments_in(other):
                _path(other, number).rename(_path(self.folder, self._next_number))
                self._segments.append((self._next_number, size))
                self._next_number += 1
                moved += size
        finally:
            os.close(lock)
        self._kept_bytes += moved
        return moved

    def close(self) -> None:
        """Write what waits to the disk and let go of the folder."""
        if self._lock is None:
            return
        if not self.flush():
            _log.error("spool_lost", folder=str(self.folder), bytes=len(self._buffer), reason=self._no_room)
        sync(self.unsynced())
        self._stop_reading()
        self._stop_writing()
        os.close(self._lock)
        self._lock = None

    def _begin_segment(self) -> None:
        if self._writing is not None:
            self._rotated.append(self._writing)
            self._writing = None
        path = _path(self.folder, self._next_number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.pwrite(descriptor, _HEADER.pack(_MAGIC, _HEADER.size), 0) != _HEADER.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        self._writing, self._written = descriptor, _HEADER.size
        self._segments.append((self._next_number, _HEADER.size))
        self._kept_bytes += _HEADER.size
        self._next_number += 1

    def _write(self, data: bytearray) -> None:
        if self._writing is None:
            raise AssertionError("there is no file to write to")
        done = 0
        view = memoryview(data)
        try:
            while done < len(data):
                done += os.pwrite(self._writing, view[done:], self._written + done)
        except OSError:
            # What waits is written again as a whole, so that nobody ever reads half a group.
            with contextlib.suppress(OSError):
                os.ftruncate(self._writing, self._written)
            raise
        finally:
            view.release()
        self._written += done
        self._kept_bytes += done
        self._segments[-1] = (self._segments[-1][0], self._written)

    def _read_chunk(self, number: int, size: int) -> list[tuple[Group, Place]]:
        if self._reading is None:
            self._reading = os.open(_path(self.folder, number), os.O_RDWR | os.O_CLOEXEC)
            if self._read_to == 0:
                self._read_to = _first_unconfirmed(self._reading, size)
                if self._read_to == size:
                    return [((), Place(number, size))]
        begin = self._read_to
        data = os.pread(self._reading, min(_READ_BYTES, size - begin), begin)
        if len(data) >= _GROUP.size:
            whole = _GROUP.size + _GROUP.unpack_from(data)[0]
            if len(data) < whole <= size - begin:
                data = os.pread(self._reading, whole, begin)
        groups, used = _groups_in(data)
        if used == 0:
            # Cut short when the process or the machine stopped, or damaged since: behind it nothing has a known place.
            self.damaged_bytes += size - begin
            _log.warning("spool_cut_short", file=str(_path(self.folder, number)), bytes=size - begin)
            self._read_to = size
            return [((), Place(number, size))]
        self._read_to = begin + used
        return [(group, Place(number, begin + end)) for group, end in groups]

    def _stop_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _delete_first(self) -> None:
        number, size = self._segments.popleft()
        if not self._segments:
            # The newest one: the next group starts another.
            self._stop_writing()
        if self._reading_number == number:
            self._stop_reading()
            self._reading_number, self._read_to = number + 1, 0
        _path(self.folder, number).unlink()
        self._kept_bytes -= size


def claim_spool(folder: Path, most_bytes: int) -> Spool:
    """Return a spool below `folder` that no other process uses, with all that processes which are gone left there.

    Several processes of one machine may share the folder: each takes the first free number.
    """
    number = 0
    while True:
        try:
            spool = Spool(folder / str(number), most_bytes)
        except SpoolError:
            if not (folder / str(number) / "lock").exists():
                raise
            number += 1
        else:
            break
    for other in sorted(path for path in folder.iterdir() if path.is_dir() and path != spool.folder):
        spool.adopt(other)
    if spool.bytes:
        _log.info("spool_found", folder=str(spool.folder), bytes=spool.bytes)
    return spool


def sync(descriptors: Sequence[int]) -> None:
    """Write files to the disk itself and close them. May take long; may run in a thread of its own."""
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Return the descriptor that locks `folder` as long as it is open, or None if another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"cannot use the spool {folder}: {error.strerror}; set LIQUIDATIONS_SPOOL_DIR") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}{_SUFFIX}"


def _segments_in(folder: Path) -> list[tuple[int, int]]:
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if not path.stem.isdecimal():
            raise SpoolError(f"{path} is no file of a spool: move it away")
        size = path.stat().st_size
        if size <= _HEADER.size:
            path.unlink()
        else:
            found.append((int(path.stem), size))
    return found


def _first_unconfirmed(descriptor: int, size: int) -> int:
    """Return the place from which a file is to be read; its start if the header is cut short, to be found damaged."""
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) == _HEADER.size:
        magic, confirmed = _HEADER.unpack(header)
        if magic == _MAGIC and _HEADER.size <= confirmed <= size:
            return int(confirmed)
    return 0


def _note_confirmed(path: Path, offset: int, descriptor: int | None) -> None:
    if descriptor is not None:
        os.pwrite(descriptor, _CONFIRMED.pack(offset), _CONFIRMED_AT)
        return
    own = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(own, _CONFIRMED.pack(offset), _CONFIRMED_AT)
    finally:
        os.close(own)


def _groups_in(data: bytes | bytearray) -> tuple[list[tuple[Group, int]], int]:
    """Return the whole groups at the start of `data`, each with its end, and how many bytes they take."""
    groups: list[tuple[Group, int]] = []
    at = 0
    while at + _GROUP.size <= len(data):
        length, checksum = _GROUP.unpack_from(data, at)
        begin = at + _GROUP.size
        body = bytes(data[begin : begin + length])
        if not length or len(body) < length or zlib.crc32(body) != checksum:
            break
        at = begin + length
        groups.append((_entries_in(body), at))
    return groups, at


def _entries_in(body: bytes) -> list[Entry]:
    entries = []
    at = 0
    while at < len(body):
        topic, partition, key_length, value_length = _RECORD.unpack_from(body, at)
        key_at = at + _RECORD.size
        value_at = key_at + key_length
        at = value_at + value_length
        entries.append(Entry(topic, partition, body[key_at:value_at], body[value_at:at]))
    return entries
