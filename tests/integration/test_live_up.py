"""`liquidations up --simulated`: one command runs everything, answers SQL, survives deaths of its parts and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import wait_until
from live_rig import event_of

from pipeline.embedded.exchange_server import read_ledger
from pipeline.warehouse.client import connect

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def children_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """Return the parts that run now, by the word that tells them apart."""
    found = {}
    for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        for word in ("worker", "ingest", "simulate", "broker"):
            if word.encode() in command:
                found[word] = int(number)
    return found


@pytest.fixture
def up(tmp_path):
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        log = (tmp_path / f"up-{len(started)}.log").open("w")
        command = [sys.executable, "-m", "pipeline", "up", "--data", str(tmp_path / "data"), "--simulated", *words]
        started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True))
        started[-1].log = Path(log.name)
        log.close()
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def events_in(data: Path) -> int:
    done = run("sql", "--data", data, "SELECT count() FROM events", "--format", "TSV")
    return int(done.stdout) if done.returncode == 0 else 0


def test_up_collects_answers_survives_and_stops(up, tmp_path):
    data = tmp_path / "data"
    process = up("--speed", "60", "--no-market-data")
    wait_until(lambda: events_in(data) > 100, 120.0, poll_s=0.5)
    refused = run("sql", "--data", data, "DROP TABLE events")
    assert refused.returncode == 1
    assert "only reads" in refused.stderr
    wrong = run("sql", "--data", data, "SELECT nothing FROM events")
    assert wrong.returncode == 1
    assert "wrong query" in wrong.stderr
    before = children_of(process)
    killed = ("ingest", "worker")
    for part in killed:
        os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: all(children_of(process).get(part, before[part]) != before[part] for part in killed), 30.0)
    stored = events_in(data)
    wait_until(lambda: events_in(data) > stored + 200, 120.0, poll_s=0.5)
    wait_until(lambda: "channels covered" in process.log.read_text(), 30.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0, process.log.read_text()
    assert "stopped; the data lie in" in process.log.read_text()
    compare(data)


def compare(data: Path) -> None:
    entries = read_ledger(data / "logs" / "ledger.jsonl")
    sockets: dict[int, Counter] = {}
    for entry in entries:
        if entry["what"] == "sent":
            rows = [event_of(row) for row in entry["rows"] if row["kind"] == "event"]
            sockets.setdefault(entry["socket"], Counter()).update(rows)
    sent: Counter = Counter()
    for counts in sockets.values():
        sent |= counts
    client = connect(f"chdb://{data}/clickhouse")
    rows = client.query(
        "SELECT exchange, symbol, position, if(event_time_kind = 'received', 0, toUnixTimestamp64Milli(event_time)),"
        " notional_micros FROM liquidations.events"
    ).result_rows
    bars = client.query(
        "SELECT sum(long_count + short_count), sum(toInt128(round((long_usd + short_usd) * 1e6)))"
        " FROM liquidations.bars_1m"
    ).first_row
    sums = client.query("SELECT count(), sum(toInt128(notional_micros)) FROM liquidations.events").first_row
    client.close()
    stored = Counter(tuple(row) for row in rows)
    assert not stored - sent
    # What was on its way to ingest when it was killed and when it stopped.
    assert sum((sent - stored).values()) < 60
    assert tuple(bars) == tuple(sums)


def test_up_ends_with_one_line_when_the_broker_ends(up, tmp_path):
    process = up("--speed", "60", "--exchange", "binance", "--no-market-data")
    wait_until(lambda: events_in(tmp_path / "data") > 0, 120.0, poll_s=0.5)
    os.kill(children_of(process)["broker"], signal.SIGKILL)
    assert process.wait(120) == 1
    lines = [line for line in process.log.read_text().splitlines() if line.startswith("liquidations: ")]
    assert len(lines) == 1
    assert "broker ended" in lines[0]


def test_up_gives_up_on_a_part_that_dies_again_and_again(up):
    process = up("--speed", "10", "--exchange", "binance", "--no-market-data")
    dead: set[int] = set()
    while process.poll() is None:
        found = children_of(process).get("ingest")
        if found is not None and found not in dead:
            dead.add(found)
            os.kill(found, signal.SIGKILL)
        time.sleep(0.1)
    assert process.returncode == 1
    assert "ingest ended 6 times" in process.log.read_text()
    assert len(dead) == 6
