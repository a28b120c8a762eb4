"""`liquidations record --verify`: whether recorded files are what their manifests say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OperationError
from pipeline.feeds.statements import collector_of
from pipeline.ingest.manifest import SUFFIX, ManifestError, read_manifest
from pipeline.ingest.recording_folder import day_of, hash_of, missing_offsets
from pipeline.ingest.recordings import EndOfRecording, RecordingError, read_recordings


@dataclass(frozen=True, slots=True)
class Verified:
    """One file: how many frames it holds, of how many channels, and what is wrong with it (nothing: it is right)."""

    path: Path
    frames: int
    channels: int
    wrong: str


def verify_recordings(folder: Path) -> Iterator[Verified]:
    """Read every recorded file below `folder` and say of each whether it is right, in the order of days and names.

    Raise `OperationError` if there is none.
    """
    found = False
    for path in _recorded(folder):
        found = True
        yield _verify(path)
    if not found:
        raise OperationError(f"{folder}: holds no recording with a manifest")


def missing_in(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (partition, from, to): offsets of the log that were gone before they were recorded, or were no frames."""
    for partition, ranges in sorted(missing_offsets(folder).items()):
        yield from ((partition, begin, end) for begin, end in ranges)


def _recorded(folder: Path) -> list[Path]:
    return sorted(
        path.with_name(path.name.removesuffix(SUFFIX))
        for path in folder.rglob(f"*{SUFFIX}")
        if not path.name.startswith(".")
    )


def _verify(path: Path) -> Verified:
    channels: Counter[str] = Counter()
    strange = 0
    first_us, last_us = 0, 0
    try:
        manifest = read_manifest(path)
        if manifest is None:
            raise ManifestError(f"{path}: has no manifest")
        hash_of(path, manifest)
        for frame in read_recordings([path]):
            if isinstance(frame, EndOfRecording):
                continue
            channels[frame.channel] += 1
            first_us = min(first_us or frame.received_time, frame.received_time)
            last_us = max(last_us, frame.received_time)
            of = (day_of(frame.received_time), frame.exchange, collector_of(frame.connection))
            strange += of != (manifest.day, manifest.exchange, manifest.collector)
    except (ManifestError, RecordingError) as error:
        return Verified(path, channels.total(), len(channels), str(error).removeprefix(f"{path}: "))
    said = {
        "frames": (channels.total(), manifest.frames),
        "channels": (dict(channels), manifest.channels),
        "first received time": (first_us, manifest.first_received_time),
        "last received time": (last_us, manifest.last_received_time),
        "frames of another day, exchange or collector": (strange, 0),
    }
    wrong = [f"{what}: {found}, not {told}" for what, (found, told) in said.items() if found != told]
    return Verified(path, channels.total(), len(channels), "; ".join(wrong))
