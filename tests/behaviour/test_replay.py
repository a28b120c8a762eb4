"""`liquidations replay` as a user calls it: recorded data in, the same rows out every time."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import pytest
import zstandard
from confluent_kafka.admin import AdminClient

from pipeline.feeds import map_frame
from pipeline.ingest.recordings import EndOfRecording, read_recordings
from pipeline.records import DeadLetter, Instrument
from pipeline.warehouse.client import connect

pytestmark = pytest.mark.timeout(400)

FOLDERS = ("binance_forceorder_csv", "binance_btcusdt_2024-12", "multi_venue_small")
OKX = "okx_hyperliquid_2025_2026/liquidations.parquet"
SIZES = {"BTC": 0.01, "ETH": 0.1, "DOGE": 1000.0}
CONTRACTS = [
    Instrument("okx", f"{asset}-USDT-SWAP", f"{asset}-USDT-PERP", asset, "USDT", "USDT", "linear", None, size)
    for asset, size in SIZES.items()
]
VIEWS = (
    "SELECT * FROM events ORDER BY event_id",
    "SELECT * FROM bars_1m ORDER BY exchange, symbol, start",
    "SELECT * FROM bars_5m ORDER BY exchange, symbol, start",
    "SELECT * FROM bars_1h ORDER BY exchange, symbol, start",
    "SELECT * FROM bars_1d ORDER BY exchange, symbol, start",
    "SELECT * FROM coverage ORDER BY exchange, channel, start",
    "SELECT * FROM dead_letters ORDER BY dead_letter_id",
    "SELECT * FROM tallies ORDER BY exchange, asset, start",
    "SELECT * FROM market ORDER BY start",
)


def liquidations(*words: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == check, done.stderr
    return done


def rows(data: Path) -> dict[str, list[tuple]]:
    client = connect(f"chdb://{data}/clickhouse")
    try:
        client.command("USE liquidations")
        return {query: list(client.query(query).result_rows) for query in VIEWS}
    finally:
        client.close()


@pytest.fixture(scope="module")
def contracts(tmp_path_factory):
    path = tmp_path_factory.mktemp("contracts") / "contracts.jsonl"
    path.write_text("".join(json.dumps(asdict(contract)) + "\n" for contract in CONTRACTS))
    return path


@pytest.fixture(scope="module")
def recorded(shared_dir):
    return [*(shared_dir / "data" / folder for folder in FOLDERS), shared_dir / "data" / OKX]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory, recorded, contracts):
    data = tmp_path_factory.mktemp("first")
    totals = json.loads(liquidations("replay", "--json", "--data", data, "--instruments", contracts, *recorded).stdout)
    return data, totals


def test_every_frame_is_accounted_for(replayed, recorded):
    _, totals = replayed
    frames = [item for item in read_recordings(recorded) if not isinstance(item, EndOfRecording)]
    assert totals["frames"] == len(frames) == totals["events"] + totals["duplicates"] + totals["dead_letters"]
    assert totals["dead_letters"] == 1 + 1350  # one broken line; positions of Hyperliquid that nobody knows
    assert totals["duplicates"] == 1673
    assert totals["without_events"] == 0


def test_the_rows_hold_what_the_files_hold(replayed, recorded):
    """Count and sums by asset, position and day against the mapping alone, without broker, worker and sink."""
    data, totals = replayed
    contracts = {(contract.exchange, contract.symbol): contract for contract in CONTRACTS}
    distinct = {}
    for item in read_recordings(recorded):
        if not isinstance(item, EndOfRecording):
            for event in map_frame(item, contracts):
                if not isinstance(event, DeadLetter):
                    distinct[event.event_id] = event
    expected = defaultdict(lambda: [0, 0])
    for event in distinct.values():
        total = expected[event.asset, event.position, event.event_time // 86_400_000]
        total[0] += 1
        total[1] += event.notional_micros
    client = connect(f"chdb://{data}/clickhouse")
    found = client.query(
        "SELECT asset, position, intDiv(toUnixTimestamp64Milli(event_time), 86400000), count(), sum(notional_micros)"
        " FROM liquidations.events GROUP BY ALL"
    ).result_rows
    in_bars = client.query(
        "SELECT sum(long_count + short_count), sum(toInt64(round((long_usd + short_usd) * 1e6)))"
        " FROM liquidations.bars_1m"
    ).first_row
    client.close()
    assert {row[:3]: list(row[3:]) for row in found} == dict(expected)
    assert totals["events"] == len(distinct)
    assert in_bars[0] + totals["too_late"] == len(distinct)


def test_another_replay_into_another_place_gives_the_same_rows(replayed, recorded, contracts, tmp_path):
    data, totals = replayed
    again = liquidations(
        "replay", "--json", "--data", tmp_path / "second", "--instruments", contracts, *reversed(recorded)
    )
    assert json.loads(again.stdout) == totals
    first, second = rows(data), rows(tmp_path / "second")
    for query in VIEWS:
        assert first[query] == second[query], query
        assert first[query], query


def test_a_second_replay_into_the_same_place_changes_nothing(replayed, recorded, contracts):
    data, totals = replayed
    before = rows(data)
    again = liquidations("replay", "--json", "--data", data, "--instruments", contracts, *recorded)
    assert json.loads(again.stdout) == totals
    assert rows(data) == before


def test_own_recordings_from_the_simulator_plain_and_packed(tmp_path):
    text = liquidations("simulate", "--seed", 3, "--hours", 0.2).stdout.encode()
    contracts = tmp_path / "contracts.jsonl"
    contracts.write_text(liquidations("simulate", "--list-instruments").stdout)
    totals = []
    for name, packed in {
        "a.jsonl": text,
        "b.jsonl.gz": gzip.compress(text),
        "c.jsonl.zst": zstandard.compress(text),
    }.items():
        (tmp_path / name).write_bytes(packed)
        done = liquidations(
            "replay", "--json", "--data", tmp_path / name[0], "--instruments", contracts, tmp_path / name
        )
        totals.append(json.loads(done.stdout))
    assert totals[0] == totals[1] == totals[2]
    assert totals[0]["frames"] == text.count(b"\n")
    assert totals[0]["events"] > 500


def test_a_replay_on_servers_leaves_no_topics_behind(kafka, tmp_path, recorded):
    admin = AdminClient({"bootstrap.servers": kafka})
    before = set(admin.list_topics(timeout=10).topics)
    done = liquidations(
        "replay", "--json", "--bootstrap-servers", kafka, "--data", tmp_path / "data", recorded[0] / "2024-08-17.csv.gz"
    )
    assert json.loads(done.stdout)["events"] == 456
    left = {name for name in set(admin.list_topics(timeout=10).topics) - before if not name.startswith("__")}
    assert left == set()
