"""A live market is recorded, and the recording replayed into another database has the same rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import wait_until
from live_rig import live_rig

from pipeline.codec import Codec
from pipeline.embedded.exchange_server import Fault, Play
from pipeline.embedded.parts import environment_of
from pipeline.ingest.record import run_record
from pipeline.ingest.verify import verify_recordings
from pipeline.windows.parameters import MINUTE_MS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

BUSY = Play(seed=11, speed=60.0, hours=2.0, traps_per_hour=600.0)


def stop(ingest) -> None:
    ingest.send_signal(signal.SIGTERM)
    assert ingest.wait(30) == 0, ingest.rig_log.read_text()[-2000:]


def test_a_replay_of_a_live_recording_has_the_rows_that_were_made_live(broker, tmp_path, topic_prefix):
    recordings, data = tmp_path / "recordings", tmp_path / "live"
    with live_rig(broker, tmp_path / "live", topic_prefix, BUSY) as live:
        recorder_stop = threading.Event()
        recorder = threading.Thread(target=run_record, args=(live.rig.settings, Codec(), recordings, recorder_stop))
        recorder.start()
        try:
            ingest = live.start_ingest()
            live.wait_for_topics()
            # Coverage is said of minutes that are over by the lateness: one must be, wherever in a minute this began.
            minute_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
            closed_at = minute_ms + MINUTE_MS + live.rig.settings.lateness_ms + 3_000
            time.sleep(4)
            live.exchanges.call(lambda: live.exchanges.server.switch_on(Fault("drop", "*", 0, 2.0)))
            time.sleep(6)
            live.kill(ingest)
            ingest = live.start_ingest()
            live.wait_for_topics()
            time.sleep(8)
            wait_until(lambda: time.time() * 1000 > closed_at, 90)
            stop(ingest)
        finally:
            recorder_stop.set()
            recorder.join(60)
        run_record(live.rig.settings, Codec(), recordings, threading.Event(), until_now=True)
        live.rig.wait_for_worker()
        live.rig.wait_for_sink()
        live.rig.stop()
        assert all(not found.wrong for found in verify_recordings(recordings))
        environment = environment_of(live.rig.settings)
        replayed = liquidations(environment, "replay", "--json", "--data", data, "--database", "replayed", recordings)
        assert json.loads(replayed.stdout)["events"] > 100
        compared = liquidations(environment, "compare", "--data", data, "liquidations", "replayed")
        assert compared.returncode == 0, compared.stdout[-6000:]
        as_json = liquidations(environment, "compare", "--json", "--data", data, "liquidations", "replayed")
        equal = {table["table"]: table["equal"] for table in json.loads(as_json.stdout)["tables"]}
        for table in ("events", "bars", "coverage", "heartbeats", "subscriptions", "dead_letters", "seen_events"):
            assert equal[table] > 0, equal


def liquidations(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
