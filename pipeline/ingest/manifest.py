"""What lies beside each recorded file and says what is in it: `NAME.manifest`, one JSON document.

The manifest decides: bytes of the file behind its `bytes` were never finished and do not count, and records of the log
from `next_offset` on are not in the file yet.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import orjson

from pipeline.errors import OperationError

SUFFIX = ".manifest"
_FORMAT = 1


class ManifestError(OperationError):
    """A manifest cannot be read, or the file beside it is not what it says; the text names the file."""


@dataclass(frozen=True, slots=True)
class Log:
    """Where the frames came from: offsets mean something within one topic only.

    A topic that is deleted and made again has another `topic_id`; it is empty where the broker tells none.
    """

    topic: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one file holds: frames of one UTC day, exchange, collector and partition of the log, in the log's order.

    `channels` counts frames by channel. The received times (µs since 1970) are the earliest and the latest. All frames
    from `first_offset` to before `next_offset` that belong into the file are in it. `sha256` is that of the first
    `bytes` bytes, in hex.
    """

    log: Log
    partition: int
    first_offset: int
    next_offset: int
    day: str
    exchange: str
    collector: str
    frames: int
    channels: dict[str, int]
    first_received_time: int
    last_received_time: int
    bytes: int
    sha256: str


def manifest_path(recorded: Path) -> Path:
    """Return the path of the manifest of a recorded file."""
    return recorded.with_name(recorded.name + SUFFIX)


def read_manifest(recorded: Path) -> Manifest | None:
    """Return the manifest of a recorded file, or None if it has none. Raise `ManifestError` for one that is broken."""
    path = manifest_path(recorded)
    document = read_document(path)
    if document is None:
        return None
    try:
        values = {name: document[name] for name in get_type_hints(Manifest)}
        values["log"] = Log(**values["log"])
        manifest = Manifest(**values)
        # What decides how much of the file counts must be a count.
        if min(manifest.partition, manifest.first_offset, manifest.next_offset, manifest.bytes, manifest.frames) < 0:
            raise ValueError("a count below 0")
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{path}: is no manifest of a recorded file ({error})") from error
    return manifest


def write_manifest(recorded: Path, manifest: Manifest) -> None:
    """Put the manifest beside its file, whole or not at all; it is on the disk when this returns."""
    write_document(manifest_path(recorded), asdict(manifest))


def read_document(path: Path) -> dict[str, Any] | None:
    """Return what `write_document` wrote, or None if there is no such file."""
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ManifestError(f"{path}: is not of the format {_FORMAT} that this version reads")
    return document


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace a file by this JSON document, whole or not at all; it is on the disk when this returns."""
    packed = orjson.dumps({"format": _FORMAT, **document}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    # Hidden: who reads the folder at this moment takes it for no recording.
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
