"""A recording folder that is killed at any step loses and repeats nothing; its files replay in the order of the log."""

from __future__ import annotations

import json
import random

import pytest

from pipeline.errors import OperationError
from pipeline.ingest.manifest import Log, ManifestError, manifest_path, read_manifest
from pipeline.ingest.recording_folder import RecordingFolder, locked, path_of
from pipeline.ingest.recordings import EndOfRecording, RecordingError, read_recordings
from pipeline.ingest.verify import missing_in, verify_recordings
from pipeline.records import Frame

LOG = Log("frames", "an-id")
# Ten seconds before midnight UTC.
START_US = 1_763_942_390_000_000
PARTITIONS = 3


class KilledError(Exception):
    pass


def frame(number, exchange="binance", collector="default", received_us=None, channel=None):
    received_us = START_US + number * 100_000 if received_us is None else received_us
    channel = channel or f"channel{number % 4}"
    payload = b'{"n":%d}' % number if number % 3 else b"\x1f\x8b\xff" + bytes([number % 256])
    return Frame(exchange, channel, f"{collector}/{channel}/1-0", number, received_us, payload)


def log_of(count=300, seed=1):
    """Return by partition the frames of two collectors, as a broker holds them: a channel in one each."""
    chance = random.Random(seed)
    partitions = {number: [] for number in range(PARTITIONS)}
    for number in range(count):
        exchange = chance.choice(["binance", "okx"])
        one = frame(number, exchange, chance.choice(["default", "second"]))
        partitions[(len(exchange) + number % 4) % PARTITIONS].append(one)
    return partitions


def record(path, partitions, observe=lambda _step: None, batch=17):
    """Read the log on from the positions, as the recorder does, with a step after each batch."""
    folder = RecordingFolder(path, LOG, observe)
    for partition in partitions:
        if partition not in folder.positions:
            folder.begin(partition, 0)
    reached = {partition: folder.positions[partition].next for partition in partitions}
    moved = {}
    waiting = 0
    while any(reached[partition] < len(found) for partition, found in partitions.items()):
        for partition, found in partitions.items():
            for offset in range(reached[partition], min(reached[partition] + 5, len(found))):
                folder.add(found[offset], partition, offset)
                moved[partition] = reached[partition] = offset + 1
                waiting += 1
        if waiting >= batch:
            folder.step(moved)
            moved, waiting = {}, 0
    if moved:
        folder.step(moved)


def frames_in(path):
    return [item for item in read_recordings([path]) if isinstance(item, Frame)]


def in_order(partitions):
    return sorted((one for found in partitions.values() for one in found), key=lambda one: one.received_time)


def test_what_is_recorded_comes_back_in_the_order_of_the_receive_times(tmp_path):
    partitions = log_of()
    record(tmp_path, partitions)
    assert frames_in(tmp_path) == in_order(partitions)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"2025-11-23", "2025-11-24"}
    assert all(not found.wrong for found in verify_recordings(tmp_path))
    assert sum(found.frames for found in verify_recordings(tmp_path)) == 300


def test_a_recording_ends_once_and_not_at_each_midnight(tmp_path):
    partitions = log_of()
    record(tmp_path, partitions)
    items = list(read_recordings([tmp_path]))
    ends = [place for place, item in enumerate(items) if isinstance(item, EndOfRecording)]
    assert ends == [len(items) - 1]
    assert items[-1].connections == {(one.exchange, one.channel, one.connection) for one in items[:-1]}


def steps_of(tmp_path, partitions):
    taken = []
    (tmp_path / "undisturbed").mkdir()
    record(tmp_path / "undisturbed", partitions, taken.append)
    return taken


def test_killed_at_each_step_it_goes_on_where_it_was(tmp_path):
    partitions = log_of(50)
    steps = len(steps_of(tmp_path, partitions))
    assert steps > 20
    for last in range(steps):
        path = tmp_path / str(last)
        path.mkdir()
        left = [last]

        def observe(_step, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

        with pytest.raises(KilledError):
            record(path, partitions, observe)
        # What the manifests tell of is whole at every moment, for who reads meanwhile.
        assert all(not found.wrong for found in verify_recordings(path)) if list(path.glob("*/*.manifest")) else True
        record(path, partitions)
        assert frames_in(path) == in_order(partitions), last
        assert all(not found.wrong for found in verify_recordings(path))


def test_killed_again_and_again(tmp_path):
    partitions = log_of(200)
    chance = random.Random(5)
    kills = 0
    for _ in range(10_000):
        left = [chance.randrange(12)]

        def observe(_step, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

        try:
            record(tmp_path, partitions, observe)
        except KilledError:
            kills += 1
        else:
            break
    assert kills > 10
    assert frames_in(tmp_path) == in_order(partitions)


@pytest.mark.parametrize("torn", [1, 7, 40])
def test_a_torn_end_is_not_read_and_cut_off(tmp_path, torn):
    partitions = log_of(60)
    record(tmp_path, partitions)
    for path in tmp_path.rglob("*.zst"):
        content = path.read_bytes()
        path.write_bytes(content + content[:torn])
    assert frames_in(tmp_path) == in_order(partitions)
    longer = log_of(120)
    record(tmp_path, longer)
    assert frames_in(tmp_path) == in_order(longer)
    assert all(path.stat().st_size == read_manifest(path).bytes for path in tmp_path.rglob("*.zst"))


def test_a_file_without_manifest_was_never_finished(tmp_path):
    one = frame(1)
    path = tmp_path / path_of(one, 0)
    path.parent.mkdir()
    path.write_bytes(b"rubbish of an interrupted step")
    record(tmp_path, {0: [one]})
    assert frames_in(tmp_path) == [one]


def test_frames_of_an_old_day_go_into_their_file(tmp_path):
    """As after an outage over several days, when a spool is drained."""
    day_us = 86_400_000_000
    times = [START_US + day * day_us + part for day in (0, 1, 2, 3) for part in (0, 1)] + [START_US + 2]
    partitions = {0: [frame(number, received_us=time) for number, time in enumerate(times)]}
    record(tmp_path, partitions, batch=2)
    assert frames_in(tmp_path) == in_order(partitions)
    manifest = read_manifest(tmp_path / path_of(partitions[0][0], 0))
    assert manifest.frames == 3
    assert manifest.next_offset == 9
    assert manifest.channels == {"channel0": 2, "channel1": 1}
    assert (manifest.first_received_time, manifest.last_received_time) == (START_US, START_US + 2)


def test_a_changed_byte_is_found(tmp_path):
    record(tmp_path, log_of(60))
    path = min(tmp_path.rglob("*.zst"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [found.path for found in verify_recordings(tmp_path) if found.wrong] == [path]
    with pytest.raises(ManifestError, match="is damaged"):
        record(tmp_path, log_of(2000))


def test_a_lost_end_is_found(tmp_path):
    record(tmp_path, log_of(60))
    path = min(tmp_path.rglob("*.zst"))
    path.write_bytes(path.read_bytes()[:-3])
    assert [found.path for found in verify_recordings(tmp_path) if found.wrong] == [path]
    with pytest.raises(RecordingError, match="middle of a zstd frame"):
        frames_in(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("frames", 1000, "frames: "),
        ("channels", {"x": 1}, "channels: "),
        ("first_received_time", 0, "first received time: "),
        ("last_received_time", 1, "last received time: "),
        ("collector", "other", "frames of another day, exchange or collector: "),
    ],
)
def test_a_manifest_that_does_not_fit_is_found(tmp_path, key, value, says):
    record(tmp_path, log_of(60))
    path = min(tmp_path.rglob("*.zst"))
    document = json.loads(manifest_path(path).read_bytes())
    manifest_path(path).write_text(json.dumps({**document, key: value}))
    (wrong,) = [found.wrong for found in verify_recordings(tmp_path) if found.wrong]
    assert wrong.startswith(says)


def test_nothing_to_verify(tmp_path):
    with pytest.raises(OperationError, match="no recording with a manifest"):
        list(verify_recordings(tmp_path))


def test_another_log_is_refused(tmp_path):
    record(tmp_path, log_of(60))
    with pytest.raises(ManifestError, match="another log"):
        RecordingFolder(tmp_path, Log("frames", "another-id"))
    (tmp_path / ".positions.json").unlink()
    folder = RecordingFolder(tmp_path, Log("other", "an-id"))
    with pytest.raises(ManifestError, match="another log"):
        folder.add(log_of(60)[0][0], 0, 0)


def test_without_positions_the_manifests_still_decide(tmp_path):
    partitions = log_of(200)
    record(tmp_path, partitions)
    (tmp_path / ".positions.json").unlink()
    record(tmp_path, partitions)
    assert frames_in(tmp_path) == in_order(partitions)


def test_what_is_missing_is_written_down(tmp_path):
    folder = RecordingFolder(tmp_path, LOG)
    folder.begin(0, 10)
    folder.add(frame(0), 0, 10)
    folder.step({0: 11})
    folder.skip(0, 11, 20)
    folder.add(frame(1), 0, 20)
    folder.step({0: 21})
    assert list(missing_in(tmp_path)) == [(0, 11, 20)]
    assert RecordingFolder(tmp_path, LOG).positions[0].next == 21


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "é" * 200, "x" * 500, "nul\0", ".hidden"])
def test_any_name_makes_a_file(tmp_path, name):
    one = frame(1, exchange=name, collector="plain")
    two = frame(2, exchange="binance", collector=name.replace("/", "-"))
    record(tmp_path, {0: [one, two]})
    assert frames_in(tmp_path) == [one, two]
    assert all(path.parent.parent == tmp_path for path in tmp_path.rglob("*.zst"))


def test_names_are_told_apart():
    names = ["a", "a.b", "a%2Eb", "A", "x" * 61, "x" * 62, "", "%"]
    assert len({path_of(frame(1, exchange=name), 0) for name in names}) == len(names)


def test_one_recorder_at_a_time(tmp_path):
    other = locked(tmp_path / "new")
    with locked(tmp_path / "new"), pytest.raises(OperationError, match="another process records"):
        other.__enter__()
    with locked(tmp_path / "new"):
        pass


def test_a_disk_that_takes_nothing_is_one_line(tmp_path):
    (tmp_path / "2025-11-23").write_text("a file where a folder should be")
    folder = RecordingFolder(tmp_path, LOG)
    with pytest.raises(ManifestError, match=r"cannot be read: .*Not a directory"):
        folder.add(frame(1), 0, 0)


def test_a_full_disk_is_one_line(tmp_path):
    folder = RecordingFolder(tmp_path, LOG)
    folder.begin(0, 0)
    folder.add(frame(1), 0, 0)
    (tmp_path / path_of(frame(1), 0)).parent.write_text("came in between")
    with pytest.raises(OperationError, match="cannot record into"):
        folder.step({0: 1})
