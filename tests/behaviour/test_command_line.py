"""The command line with bad input: one line on standard error that says what to do, and nothing half written."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate

_HOLDER = """
import sys
from pipeline.warehouse.client import connect
held = connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def one_line(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("liquidations: ")]
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_help_teaches():
    done = run("--help")
    assert done.returncode == 0
    for command in ("demo", "replay", "map", "sql", "worker", "sink", "topics", "migrate", "simulate", "status"):
        assert command in done.stdout
    assert "--instruments" in run("replay", "--help").stdout


def test_no_recording(tmp_path):
    path = tmp_path / "letter.txt.csv"
    path.write_text("dear reader,\nno recording\n")
    one_line(run("replay", path, "--data", tmp_path / "data"), "is no recording", "known formats")
    assert not (tmp_path / "data").exists()
    one_line(run("replay", tmp_path / "nothing.csv", "--data", tmp_path / "data"), "no such file")


def test_an_unknown_exchange():
    one_line(run("map", "nowhere", input=""), "nowhere", "binance")


def test_a_broker_that_does_not_answer():
    environment = {"LIQUIDATIONS_BOOTSTRAP_SERVERS": "127.0.0.1:9", "PATH": "/usr/bin"}
    one_line(run("topics", env=environment), "127.0.0.1:9", "no Kafka broker answers")
    one_line(run("status", env=environment), "127.0.0.1:9")


def test_a_clickhouse_that_does_not_answer():
    one_line(run("sql", "SELECT 1", "--clickhouse", "http://127.0.0.1:9"), "127.0.0.1:9")


def test_a_server_that_is_no_broker():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_line(
            run("topics", env={"LIQUIDATIONS_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "PATH": "/usr/bin"}), str(port)
        )


def test_wrong_settings(tmp_path):
    one_line(run("topics", env={"LIQUIDATIONS_PARTITIONS": "many", "PATH": "/usr/bin"}), "partitions")
    config = tmp_path / "settings.toml"
    config.write_text("bootstrap = 'x'\n")
    one_line(run("--config", config, "topics"), "bootstrap")
    one_line(run("--config", tmp_path / "none.toml", "topics"), "none.toml")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    client = connect(f"chdb://{folder}/clickhouse")
    migrate(client)
    client.close()
    return folder


def test_no_data_yet(tmp_path):
    one_line(run("sql", "SELECT 1", "--data", tmp_path / "none"), "liquidations demo")
    assert not (tmp_path / "none").exists()


def test_queries(data):
    assert run("sql", "SELECT count() FROM bars_1m", "--data", data, "--format", "TSV").stdout == "0\n"
    answer = run("sql", "SELECT 1 AS one", "--data", data, "--format", "JSONEachRow").stdout
    assert json.loads(answer) == {"one": 1}
    one_line(run("sql", "SELEC 1", "--data", data), "Syntax error")
    one_line(run("sql", "SELECT nothing FROM bars_1m", "--data", data), "nothing")
    one_line(run("sql", "DROP VIEW bars_1m", "--data", data))
    assert run("sql", "SELECT count() FROM bars_1m", "--data", data, "--format", "TSV").stdout == "0\n"


def test_a_data_folder_in_use_by_another_process(data):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLDER,
            f"chdb://{data}/clickhouse",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        one_line(run("sql", "SELECT 1", "--data", data), "in use")
    finally:
        holder.communicate(timeout=30)


def test_control_c_stops_a_demo_cleanly(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "demo", "--data", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    for line in demo.stdout:
        if "market at" in line or time.monotonic() > deadline:
            break
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130, errors
    assert errors.strip().endswith("liquidations: stopped")
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout.split()
    assert not left
