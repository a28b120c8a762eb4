"""The spool on disk: order, bounds, what a kill leaves, and what a damaged file costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.spool import Entry, Spool, SpoolError, SpoolFullError, claim_spool, sync

ROOM = 64 * 1024 * 1024


def group(number: int, size: int = 100, records: int = 2):
    return [Entry(index % 3, index - 1, b"key-%d" % number, b"%d." % number + b"x" * size) for index in range(records)]


def read_all(spool):
    found = []
    while chunk := spool.read():
        found += chunk
    return [part for part, _ in found if part], found[-1][1] if found else None


def fill(spool, size):
    """Append until there is no room, and return the groups that were taken and the reason."""
    taken = []
    while True:
        try:
            spool.append(group(len(taken), size))
        except SpoolFullError as full:
            return taken, str(full)
        taken.append(group(len(taken), size))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


def test_groups_come_back_as_they_were_and_in_order(folder):
    spool = Spool(folder, ROOM)
    groups = [group(number) for number in range(1_000)]
    for one in groups:
        spool.append(one)
    assert spool.flush()
    found, end = read_all(spool)
    assert found == groups
    assert not spool.is_empty
    spool.confirm(end)
    assert spool.is_empty
    assert spool.bytes == 0
    assert list(folder.glob("*.spool")) == []
    spool.close()


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3_000)), max_size=40),
    st.integers(300, 5_000),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_any_order_of_appending_reading_confirming_and_restarting_loses_nothing(
    tmp_path_factory, sizes, segment, chance
):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, ROOM, segment)
    groups = [group(number, size, records) for number, (records, size) in enumerate(sizes)]
    read, confirmed = [], 0
    for one in groups:
        spool.append(one)
        if chance.random() < 0.5:
            spool.flush()
        if chance.random() < 0.3:
            read += spool.read(chance.randrange(1, 4_000))
        if read and chance.random() < 0.3:
            # Places are those of one process: what an earlier one confirmed is not confirmed again.
            further = chance.randint(confirmed, len(read))
            if further > confirmed:
                confirmed = further
                spool.confirm(read[confirmed - 1][1])
        if chance.random() < 0.1:
            spool.flush()
            spool.close()
            spool = Spool(folder, ROOM, segment)
            # What was not confirmed is read again; nothing that was confirmed is.
            read = read[:confirmed]
    spool.flush()
    while chunk := spool.read():
        read += chunk
    assert [part for part, _ in read if part] == groups
    if read:
        spool.confirm(read[-1][1])
    assert spool.is_empty
    spool.close()


def test_a_group_beyond_the_bound_is_refused_and_what_must_be_kept_has_a_reserve(folder):
    spool = Spool(folder, 1024 * 1024)
    taken, reason = fill(spool, 1_000)
    assert "bytes are in use" in reason
    spool.append(group(len(taken), 1_000), must=True)
    assert spool.bytes <= 1024 * 1024
    assert not spool.regain()
    assert read_all(spool)[0] == [*taken, group(len(taken), 1_000)]
    with pytest.raises(SpoolFullError):
        spool.append(group(1, 60_000), must=True)
    spool.close()


def test_room_comes_back_as_files_are_confirmed(folder):
    spool = Spool(folder, 2 * 1024 * 1024, 256 * 1024)
    fill(spool, 10_000)
    chunk = spool.read(1_500_000)
    assert not spool.regain()
    spool.confirm(chunk[-1][1])
    assert spool.regain()
    spool.append(group(1))
    spool.close()


def test_what_was_flushed_outlives_a_kill(folder):
    program = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parents[3])!r}]
from pathlib import Path
from pipeline.ingest.spool import Entry, Spool
spool = Spool(Path({str(folder)!r}), {ROOM})
for number in range(5000):
    spool.append([Entry(0, -1, b"key", b"%d" % number)])
spool.flush()
chunk = spool.read(10_000)
spool.confirm(chunk[99][1])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    spool = Spool(folder, ROOM)
    spool.append([Entry(0, -1, b"key", b"5000")])
    spool.flush()
    found, _ = read_all(spool)
    assert [int(one[0].value) for one in found] == list(range(100, 5_001))
    spool.close()


@pytest.mark.parametrize("cut", [1, 7, 9, 50, 140])
def test_a_last_group_that_was_cut_short_is_left_out(folder, cut):
    spool = Spool(folder, ROOM)
    for number in range(10):
        spool.append(group(number))
    spool.close()
    path = next(folder.glob("*.spool"))
    os.truncate(path, path.stat().st_size - cut)
    spool = Spool(folder, ROOM)
    spool.append(group(10))
    spool.flush()
    found, end = read_all(spool)
    assert found == [group(number) for number in (*range(9), 10)]
    assert spool.damaged_bytes > 0
    spool.confirm(end)
    assert spool.is_empty
    spool.close()


def test_a_damaged_file_costs_only_what_is_behind_the_damage_in_it(folder):
    spool = Spool(folder, ROOM, 1)
    for number in range(3_000):
        spool.append(group(number, 500))
        if number % 1_000 == 999:
            spool.flush()
    spool.close()
    paths = sorted(folder.glob("*.spool"))
    assert len(paths) >= 3
    data = bytearray(paths[1].read_bytes())
    data[len(data) // 2] ^= 1
    paths[1].write_bytes(data)
    spool = Spool(folder, ROOM)
    found, end = read_all(spool)
    numbers = [int(one[0].key.removeprefix(b"key-")) for one in found]
    assert numbers == sorted(numbers)
    assert 0 in numbers
    assert 2_999 in numbers
    assert 2_000 < len(numbers) < 3_000
    assert spool.damaged_bytes > 0
    spool.confirm(end)
    assert spool.is_empty
    spool.close()


@pytest.mark.parametrize("content", [b"", b"LIQ", b"\0" * 16, b"\0" * 4_096, b"x" * 4_096])
def test_a_file_of_rubbish_is_passed_over(folder, content):
    folder.mkdir()
    (folder / f"{7:012d}.spool").write_bytes(content)
    spool = Spool(folder, ROOM)
    spool.append(group(1))
    spool.flush()
    found, end = read_all(spool)
    assert found == [group(1)]
    spool.confirm(end)
    assert spool.is_empty
    spool.close()


def test_a_file_that_is_not_ours_is_said(folder):
    folder.mkdir()
    (folder / "notes.spool").write_bytes(b"")
    with pytest.raises(SpoolError, match="move it away"):
        Spool(folder, ROOM)


def test_a_record_larger_than_what_is_read_at_once(folder):
    spool = Spool(folder, ROOM)
    groups = [group(0), group(1, 5_000_000, 1), group(2)]
    for one in groups:
        spool.append(one)
    spool.flush()
    assert read_all(spool)[0] == groups
    spool.close()


def test_a_folder_belongs_to_one_process(folder):
    spool = Spool(folder, ROOM)
    with pytest.raises(SpoolError, match="another process"):
        Spool(folder, ROOM)
    spool.close()
    Spool(folder, ROOM).close()


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="LIQUIDATIONS_SPOOL_DIR"):
        claim_spool(tmp_path / "file" / "spool", ROOM)


def test_processes_share_a_folder_and_the_next_one_takes_what_others_left(folder):
    first, second = claim_spool(folder, ROOM), claim_spool(folder, ROOM)
    assert first.folder != second.folder
    first.append(group(1))
    second.append(group(2))
    second.append(group(3))
    second.flush()
    chunk = second.read()
    second.confirm(chunk[0][1])
    first.close()
    second.close()
    third = claim_spool(folder, ROOM)
    third.append(group(4))
    third.flush()
    found, end = read_all(third)
    assert found == [group(1), group(3), group(4)]
    third.confirm(end)
    assert third.is_empty
    third.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_refuses_groups_and_keeps_all_that_it_took(small_disk):
    spool = Spool(small_disk / "spool", ROOM, 512 * 1024)
    taken, reason = fill(spool, 3_000)
    assert "No space left" in reason
    assert not spool.flush()
    spool.append(group(len(taken), 10), must=True)
    taken.append(group(len(taken), 10))
    found = []
    while len(found) < len(taken):
        chunk = spool.read(600_000)
        if chunk:
            found += [part for part, _ in chunk]
            spool.confirm(chunk[-1][1])
        spool.flush()
    assert found == taken
    assert spool.regain()
    spool.append(group(1))
    assert spool.flush()
    spool.close()


def test_what_a_full_disk_had_no_room_for_can_be_taken_from_memory(small_disk):
    spool = Spool(small_disk / "spool", ROOM)
    filler = small_disk / "filler"
    room = os.statvfs(small_disk)
    filler.write_bytes(b"\0" * (room.f_bavail * room.f_frsize))
    spool.append(group(1))
    spool.append(group(2))
    assert not spool.flush()
    assert spool.read() == []
    assert spool.take_unwritten() == [group(1), group(2)]
    assert spool.is_empty
    filler.unlink()
    spool.append(group(3))
    assert spool.flush()
    assert read_all(spool)[0] == [group(3)]
    spool.close()


def test_what_is_synced_is_closed(folder):
    spool = Spool(folder, ROOM, 1)
    for number in range(5):
        spool.append(group(number, 300_000))
        spool.flush()
    descriptors = spool.unsynced()
    assert len(descriptors) >= 2
    sync(descriptors)
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    spool.close()
