"""Recordings from files: packing, merging, progress, and what is no recording."""

import gzip
import itertools
import os
import random
import re

import pytest
import zstandard

from pipeline.feeds import map_frame
from pipeline.feeds.frame_lines import line_of_frame
from pipeline.ingest.recordings import EndOfRecording, RecordingError, read_recordings
from pipeline.records import Frame

START_US = 1_791_391_083_000_000
ORDER = (
    b'{"e":"forceOrder","E":1791391083124,"o":{"s":"ILVUSDT","S":"SELL","q":"116.5","p":"3.803","ap":"3.85642",'
    b'"X":"FILLED","l":"25.2","z":"116.5","T":1791391082119}}'
)


def frame(sequence, received_us=None, connection="a", payload=ORDER):
    time = START_US + 1000 * sequence if received_us is None else received_us
    return Frame("binance", "!forceOrder@arr", connection, sequence, time, payload)


def frames_of(paths):
    return [one for one in read_recordings(paths) if isinstance(one, Frame)]


def recording(frames):
    return b"".join(map(line_of_frame, frames))


PACKINGS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "two gzip members": lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
    "zstd": zstandard.compress,
    "two zstd frames": lambda content: zstandard.compress(content[:100]) + zstandard.compress(content[100:]),
    "zstd of unknown size": lambda content: zstandard.ZstdCompressor(write_content_size=False).compress(content),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("count", [1, 3, 5000])
def test_frames_come_back_whatever_the_packing_and_the_name(tmp_path, packing, count):
    path = tmp_path / "day.anything"
    frames = [frame(number) for number in range(count)]
    path.write_bytes(PACKINGS[packing](recording(frames)))
    assert frames_of([path]) == frames


def test_payloads_of_any_bytes(tmp_path):
    frames = [frame(0, payload=b"\x1f\x8b\x00\xff"), frame(1, payload=b""), frame(2, payload=bytes(range(256)) * 100)]
    (tmp_path / "r.jsonl").write_bytes(recording(frames))
    assert frames_of([tmp_path]) == frames


def test_a_first_message_longer_than_any_head(tmp_path):
    frames = [frame(0, payload=b"[" + b"1," * 50_000 + b"1]"), frame(1)]
    (tmp_path / "r.jsonl").write_bytes(recording(frames))
    assert frames_of([tmp_path / "r.jsonl"]) == frames


def test_a_bad_line_is_a_frame_that_is_refused(tmp_path):
    good = [frame(0), frame(1)]
    torn = line_of_frame(frame(2))[:40] + b"\n"
    wrong = line_of_frame(frame(3)).replace(b'"sequence":3', b'"sequence":"3"')
    content = torn + line_of_frame(good[0]) + wrong + b"\n" + line_of_frame(good[1])
    (tmp_path / "r.jsonl").write_bytes(content)
    first, second, third, fourth = frames_of([tmp_path / "r.jsonl"])
    assert [second, fourth] == good
    assert (first.channel, first.exchange, first.connection) == ("archive:frames", "", "r.jsonl")
    assert (first.sequence, third.sequence) == (0, 2), "the line's number"
    assert (first.received_time, third.received_time) == (good[0].received_time, good[0].received_time)
    assert first.payload == torn.rstrip()
    letters = [one for broken in (first, third) for one in map_frame(broken, {})]
    assert [letter.reason for letter in letters] == ["bad_json", "bad_number"]
    assert "sequence" in letters[1].message


def test_files_are_merged_by_time_in_any_order_of_the_arguments(tmp_path):
    times = random.Random(5)
    paths = []
    for name in "cab":
        moments = sorted(times.choices(range(40), k=60))
        path = tmp_path / f"{name}.jsonl"
        frames = [frame(number, START_US + moment, name) for number, moment in enumerate(moments)]
        path.write_bytes(recording(frames))
        paths.append(path)
    merged = [frames_of(order) for order in itertools.permutations(paths)]
    assert all(one == merged[0] for one in merged)
    assert len(merged[0]) == 180
    assert [one.received_time for one in merged[0]] == sorted(one.received_time for one in merged[0])
    ties = [(one.received_time, one.connection) for one in merged[0]]
    assert ties == sorted(ties)
    assert frames_of([tmp_path]) == merged[0]


def test_a_file_keeps_its_own_order_even_when_its_clock_jumps_back(tmp_path):
    jumping = [frame(0, START_US + 50), frame(1, START_US + 10), frame(2, START_US + 60)]
    steady = [frame(0, START_US + 20, "b"), frame(1, START_US + 55, "b")]
    (tmp_path / "a.jsonl").write_bytes(recording(jumping))
    (tmp_path / "b.jsonl").write_bytes(recording(steady))
    merged = frames_of([tmp_path])
    assert [one for one in merged if one.connection == "a"] == jumping
    assert merged == [steady[0], jumping[0], jumping[1], steady[1], jumping[2]]


def test_the_end_of_each_file_is_told_with_what_it_held(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(recording([frame(0), frame(9, connection="other")]))
    (tmp_path / "b.jsonl").write_bytes(recording([frame(4, connection="b")]))
    first, second, end_of_b, third, end_of_a = read_recordings([tmp_path])
    assert [one.sequence for one in (first, second, third)] == [0, 4, 9]
    assert end_of_b == EndOfRecording(frozenset({("binance", "!forceOrder@arr", "b")}))
    assert {connection for _, _, connection in end_of_a.connections} == {"a", "other"}


def test_a_folder_is_its_recordings_at_any_depth_without_notes_and_hidden_files(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "r.jsonl").write_bytes(recording([frame(0)]))
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / ".hidden").write_text("state")
    assert frames_of([tmp_path]) == [frame(0)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_progress_counts_the_bytes_of_the_files(tmp_path, packing):
    content = PACKINGS[packing](recording([frame(number) for number in range(4000)]))
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "b.jsonl").write_bytes(content)
    seen = []
    for _ in read_recordings([tmp_path], lambda read, total: seen.append((read, total))):
        pass
    assert {total for _, total in seen} == {2 * len(content)}
    assert [read for read, _ in seen] == sorted(read for read, _ in seen)
    assert seen[-1][0] == 2 * len(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"nothing of this kind\n", "known formats.*binance_forceorder_csv.*frames"),
        (b'{"e":"forceOrder","o":{}}\n', "liquidations map"),
        (b"\x89PNG\r\n", "is no recording"),
        (b"\x1f\x8b\x08broken", "is damaged"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
def test_what_is_no_recording_is_said_at_once(tmp_path, content, said):
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    good = tmp_path / "good.jsonl"
    good.write_bytes(recording([frame(0)]))
    with pytest.raises(RecordingError, match=rf"{re.escape(str(path))}.*{said}"):
        read_recordings([good, path])


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        read_recordings([tmp_path / "nowhere"])


def test_a_folder_without_recordings(tmp_path):
    with pytest.raises(RecordingError, match="no recording in"):
        read_recordings([tmp_path])
    with pytest.raises(RecordingError, match="no recording in"):
        read_recordings([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(recording([frame(0)]))
    path.chmod(0)
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recordings([path])


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_file_cut_short_gives_what_it_has_and_says_so(tmp_path, packing):
    noise = random.Random(3)
    frames = [frame(number, payload=noise.randbytes(1000)) for number in range(2000)]
    content = PACKINGS[packing](recording(frames))
    path = tmp_path / "r.jsonl"
    path.write_bytes(content[: len(content) // 2])
    read = read_recordings([path])
    found = []
    with pytest.raises(RecordingError, match="is damaged"):
        found.extend(iter(lambda: next(read), None))
    assert 500 < len(found) < 1500
    assert found == frames[: len(found)]
