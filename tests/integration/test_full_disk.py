"""A disk that is full: said in one line, nothing committed, and all rows there once there is room again."""

from __future__ import annotations

import os
import subprocess

import pytest
from conftest import wait_until
from fault_rig import Rig, market_log

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_pauses_the_sink_and_loses_nothing(tansu, small_disk, topic_prefix):
    rig = Rig(tansu, small_disk / "rig", topic_prefix, partitions=2)
    filler = small_disk / "filler"
    try:
        rig.migrate()
        log = market_log(seed=3, seconds=150, events_per_second=200)
        rig.publish(log).join(60)
        room = os.statvfs(small_disk)
        filler.write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 300_000))
        sink = rig.start("sink")
        wait_until(lambda: "sink_paused" in sink.rig_log.read_text(), timeout_s=60, poll_s=0.3)
        paused = next(line for line in sink.rig_log.read_text().splitlines() if "sink_paused" in line)
        assert "not enough space" in paused
        assert sink.poll() is None
        filler.unlink()
        rig.wait_for_sink()
        sink.terminate()
        assert sink.wait(30) == 0
        assert rig.stored_rows()[2] == len({record.event_id for record in log if hasattr(record, "event_id")})
    finally:
        rig.stop()
