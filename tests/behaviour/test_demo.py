"""The demo as a newcomer runs it, against what the exchanges on loopback know they sent."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.embedded.demo import DemoError, keep_one_market, next_steps, program
from pipeline.embedded.exchange_server import read_ledger
from pipeline.embedded.pipeline import clickhouse_folder
from pipeline.embedded.simulator import Truth, ledger, simulate_with_truth
from pipeline.warehouse.client import connect
from pipeline.warehouse.query import run_query

ROOT = Path(__file__).resolve().parents[2]
SEED, HOURS = 11, 0.5

ROWS = (
    "SELECT * FROM events ORDER BY event_id",
    "SELECT * FROM bars_1m ORDER BY exchange, symbol, start",
    "SELECT * FROM bars_1h ORDER BY exchange, symbol, start",
    "SELECT * FROM coverage ORDER BY exchange, channel, start",
    "SELECT * FROM tallies ORDER BY exchange, asset, start",
    "SELECT * FROM dead_letters ORDER BY dead_letter_id",
)


def liquidations(*words, check=True):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LIQUIDATIONS_", "COLUMNS"))}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        check=check,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
    )


def answers(data, *queries):
    """Return what each query gives, as JSON lines."""
    client = connect(clickhouse_folder(data))
    try:
        return [run_query(client, query, "JSONEachRow").decode() for query in queries]
    finally:
        client.close()


def select(data, query):
    [lines] = answers(data, query)
    return [json.loads(line) for line in lines.splitlines()]


def rows(data):
    found = answers(data, *ROWS)
    assert all(found)
    return found


def demo(data, seed=SEED, check=True):
    return liquidations("demo", "--data", data, "--seed", seed, "--hours", HOURS, check=check)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    data = tmp_path_factory.mktemp("demo") / "my data"
    done = demo(data)
    return data, done.stdout


def messages(entries, what):
    """Return what messages held, in order."""
    return [tuple(Truth(**row) for row in entry["rows"]) for entry in entries if entry["what"] == what]


@pytest.fixture(scope="module")
def entries(ran):
    return read_ledger(ran[0] / "logs" / "ledger.jsonl")


@pytest.fixture(scope="module")
def truth(entries):
    """What was sent to ingest; a message that was sent again holds duplicates."""
    rows, seen = [], set()
    for message in messages(entries, "sent"):
        again = message in seen
        seen.add(message)
        rows += [row._replace(kind="duplicate") if again and row.kind == "event" else row for row in message]
    return rows


def test_every_bar_is_what_the_simulator_knows(ran, truth):
    data, _ = ran
    known = ledger(truth)
    found = {}
    for bar in select(
        data,
        "SELECT exchange, symbol, toUnixTimestamp64Milli(start) AS start_ms, long_count, short_count, "
        "toString(round(long_usd * 1e6)) AS longs, toString(round(short_usd * 1e6)) AS shorts, closed FROM bars_1m",
    ):
        key = (bar["exchange"], bar["symbol"], int(bar["start_ms"]))
        for position in ("long", "short"):
            if int(bar[f"{position}_count"]):
                found[*key, position] = (int(bar[f"{position}_count"]), Decimal(bar[f"{position}s"]) / 1_000_000)
        assert bar["closed"]
    assert found == {key: (sums.count, sums.usd) for key, sums in known.minutes.items()}


def test_every_count_is_what_the_simulator_knows(ran, truth):
    data, _ = ran
    known = ledger(truth)
    [counted] = select(
        data,
        "SELECT sum(events) AS events, sum(duplicates) AS duplicates, sum(late) AS late, sum(too_late) AS too_late "
        "FROM tallies",
    )
    assert {name: int(number) for name, number in counted.items()} == {
        "events": known.events,
        "duplicates": known.duplicates,
        "late": known.late,
        "too_late": known.too_late,
    }
    [stored] = select(data, "SELECT count() AS events, sum(notional_micros) AS micros FROM events")
    assert int(stored["events"]) == known.events
    assert int(stored["micros"]) == sum(row.notional_micros for row in truth if row.kind == "event")
    [refused] = select(data, "SELECT count() AS number FROM dead_letters")
    assert int(refused["number"]) == sum(known.refused.values())
    assert known.late > 0
    assert known.duplicates > 0


def test_the_market_came_by_sockets_that_were_cut(ran, entries, truth):
    data, _ = ran
    whys = [entry["why"] for entry in entries if entry["what"] == "closed"]
    # One connection of Binance, two of Bybit, one of OKX, each cut once in the crash.
    assert whys.count("dropped") >= 4
    assert len(whys) == whys.count("dropped") + 4
    simulated = ledger(row for _, found in simulate_with_truth(SEED, HOURS) for row in found)
    known = ledger(truth)
    assert known.events + known.duplicates > simulated.events
    # What nobody listened to came again on the next connection, but for what is not repeated.
    unheard = {row for message in messages(entries, "unheard") for row in message}
    lost = [row for row in unheard - set(truth) if row.kind == "event"]
    assert known.events + len(lost) == simulated.events
    assert all(row.timing != "on_time" for row in lost)
    lines = (data / "logs" / "ingest.log").read_text().splitlines()
    assert sum("connection_lost" in line for line in lines) == whys.count("dropped")


def test_no_heartbeat_vouches_for_the_time_of_a_cut(ran, entries):
    data, _ = ran
    alive = {
        (row["exchange"], row["channel"], int(row["start_ms"])): int(row["alive_ms"])
        for row in select(
            data,
            "SELECT exchange, channel, toUnixTimestamp64Milli(start) AS start_ms, alive_ms FROM coverage",
        )
    }
    channels = {"/market/ws": "forceOrder", "/v5/public/linear": "linear", "/v5/public/inverse": "inverse"}
    opened = {entry["socket"]: entry["path"] for entry in entries if entry["what"] == "opened"}
    cut = [entry for entry in entries if entry["what"] == "closed" and entry["why"] == "dropped"]
    assert cut
    for entry in cut:
        channel = channels.get(opened[entry["socket"]], "liquidation-orders")
        minute_ms = entry["time_us"] // 60_000_000 * 60_000
        assert alive[entry["exchange"], channel, minute_ms] < 60_000
    assert sum(milliseconds == 60_000 for milliseconds in alive.values()) > 4 * (60 * HOURS - len(cut))


def test_output_tells_what_happened_and_fits_a_narrow_terminal(ran, truth):
    output = ran[1]
    lines = output.splitlines()
    for title in (
        "Largest one-minute bars",
        "Largest single liquidations",
        "Liquidated positions by exchange",
        "What came twice, late or broken",
        "Refused, in dead_letters",
        "Coverage",
    ):
        assert any(line.startswith(title) for line in lines)
    assert f"{ledger(truth).events:,}" in output
    findings = lines[: lines.index("Try next:")]
    assert max(len(line) for line in findings) <= 100
    assert "\x1b" not in output
    assert any("market at 06:" in line for line in lines)


def test_it_ends_with_the_report(ran):
    data, output = ran
    assert output.splitlines()[-1] == f"All panels in one page, for a browser: {data / 'report.html'}"
    page = (data / "report.html").read_text()
    assert "liquidations-market-5" in page
    assert len(page) < 3_000_000


def test_the_printed_commands_work_as_printed(ran):
    data, output = ran
    commands = [line.strip() for line in output.splitlines() if " sql " in line]
    assert len(commands) >= 3
    for command in commands:
        done = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.strip()
    assert f"rm -r {shlex.quote(str(data))}" in output


def test_the_same_demo_again_gives_the_same_rows(ran, tmp_path):
    data, _ = ran
    before = rows(data)
    demo(data)
    assert rows(data) == before
    fresh = tmp_path / "fresh"
    demo(fresh)
    assert rows(fresh) == before


def test_a_folder_takes_one_market(ran):
    data, _ = ran
    before = rows(data)
    refused = demo(data, seed=SEED + 1, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "another market" in refused.stderr
    assert "rm -r" in refused.stderr
    assert rows(data) == before


def test_a_note_that_cannot_be_read_is_another_market(tmp_path):
    keep_one_market(tmp_path, 1, 6.0)
    keep_one_market(tmp_path, 1, 6)
    with pytest.raises(DemoError, match="another market"):
        keep_one_market(tmp_path, 1, 5.0)
    (tmp_path / "demo.json").write_text("{")
    with pytest.raises(DemoError, match="another market"):
        keep_one_market(tmp_path, 1, 6.0)


def test_a_data_folder_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DemoError, match="cannot use"):
        keep_one_market(tmp_path / "data", 1, 6.0)


def test_the_usual_data_folder_needs_no_option():
    assert not any("--data" in line for line in next_steps(Path("data"), "liquidations"))
    assert all("--data 'my data'" in line for line in next_steps(Path("my data"), "liquidations") if " sql " in line)


def test_the_program_is_named_as_it_can_be_called(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert program() == "liquidations"
    monkeypatch.setenv("PATH", str(tmp_path))
    called = shlex.split(program())
    assert Path(called[0]).exists()
