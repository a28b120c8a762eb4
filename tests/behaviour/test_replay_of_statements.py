"""A recording of live collection replayed: who listened to what is what the collector said, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.feeds.frame_lines import line_of_frame
from pipeline.feeds.statements import (
    INSTRUMENTS,
    STATEMENTS,
    instruments_connection,
    instruments_payloads,
    statements_connection,
    statements_payload,
)
from pipeline.records import Frame, Heartbeat, Instrument, Subscription
from pipeline.warehouse.client import connect

pytestmark = pytest.mark.timeout(300)

MINUTE = 60_000
BASE_MS = 1_767_225_600_000
SWAP = Instrument("okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", None, 0.01)
LIQUIDATION = {
    "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
    "data": [
        {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "uly": "BTC-USDT",
            "instFamily": "BTC-USDT",
            "details": [
                {
                    "side": "sell",
                    "posSide": "long",
                    "bkPx": "80000",
                    "sz": "3",
                    "bkLoss": "0",
                    "ccy": "",
                    "ts": str(BASE_MS + MINUTE + 30_000),
                }
            ],
        }
    ],
}


def said(
    at_ms: int, state: str, subscriptions: list[Subscription] | None = None, offset_ms: int | None = None
) -> Frame:
    beat = Heartbeat("okx", "SWAP", "tokyo", BASE_MS + at_ms, state, 0, None, offset_ms)
    payload = statements_payload([beat], subscriptions or [])
    received = (BASE_MS + at_ms) * 1_000 + 1
    return Frame("okx", STATEMENTS, statements_connection("tokyo"), received, received, payload)


def recording() -> list[Frame]:
    """A collector that can hear from 10 s on, hears one liquidation at 90 s, is cut off at 150 s and ends at 300 s."""
    (contracts,) = instruments_payloads([SWAP])
    first = BASE_MS * 1_000
    frames = [Frame("okx", INSTRUMENTS, instruments_connection("tokyo"), first, first, contracts)]
    up = Subscription("okx", "SWAP", SWAP.symbol, "BTC", "tokyo", BASE_MS + 10_000, "up")
    frames.append(said(10_000, "down", [up], offset_ms=40))
    frames += [said(at_ms, "up") for at_ms in range(11_000, 150_001, 1_000)]
    frames += [said(at_ms, "down") for at_ms in range(151_000, 300_001, 1_000)]
    received = (BASE_MS + MINUTE + 30_100) * 1_000
    message = json.dumps(LIQUIDATION).encode()
    frames.append(Frame("okx", "SWAP", f"tokyo/SWAP/{BASE_MS}-0", 7, received, message))
    return sorted(frames, key=lambda frame: frame.received_time)


def replayed(frames: list[Frame], tmp_path: Path) -> dict[str, int]:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(b"".join(line_of_frame(frame) for frame in frames))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "replay", "--json", "--data", str(tmp_path / "data"), str(path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_totals_have_the_minute_that_the_recording_ends_in(tmp_path):
    end_us = (BASE_MS + MINUTE + 31_000) * 1_000
    totals = replayed([frame for frame in recording() if frame.received_time <= end_us], tmp_path)
    assert (totals["events"], totals["duplicates"], totals["bars"]) == (1, 0, 1)


def test_rows_say_what_the_collector_said(tmp_path):
    data = tmp_path / "data"
    totals = replayed(recording(), tmp_path)
    assert (totals["events"], totals["dead_letters"]) == (1, 0)

    client = connect(f"chdb://{data}/clickhouse")
    client.command("USE liquidations")
    everything = "SELECT * EXCEPT (start) FROM {} ORDER BY start"
    found = {
        view: client.query(everything.format(view)).result_rows for view in ("coverage", "heartbeats", "bars_filled")
    }
    events = client.query("SELECT quantity, source.connection FROM liquidations.events").result_rows
    subscriptions = client.query("SELECT symbol, collector, state FROM liquidations.subscriptions").result_rows
    collectors = client.query("SELECT collectors, events, only_one_share FROM liquidations.collectors_1m").result_rows
    closed = client.query("SELECT closed, coverage FROM liquidations.bars_1m").result_rows
    client.close()

    assert events == [(0.03, f"tokyo/SWAP/{BASE_MS}-0")]
    assert subscriptions == [(SWAP.symbol, "tokyo", "up")]
    assert collectors == [(["tokyo"], 1, None)]
    assert closed == [(True, 1.0)]
    # The minutes that the collector's clock has closed, and no others: the recording ends at 300 s.
    assert [row[2] for row in found["coverage"]] == [50_000, 60_000, 30_000, 0]
    assert [(row[2], row[4], row[-1]) for row in found["heartbeats"]][:2] == [
        ("tokyo", True, 40),
        ("tokyo", True, None),
    ]
    assert {row[2] for row in found["heartbeats"]} == {"tokyo"}
    assert [row[5] for row in found["bars_filled"]] == [None, 1, None, None]
