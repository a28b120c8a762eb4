"""A scenario as files: its frames can be read back, and the ledger lies beside them."""

from __future__ import annotations

from io import BytesIO

import orjson
import pytest

from pipeline.embedded.scenario_recording import contract_lines, write_recording
from pipeline.embedded.simulator.leverage import SCENARIOS, frames, ledger_lines, listings
from pipeline.errors import OperationError
from pipeline.feeds.frame_lines import line_of_frame


def test_frames_and_ledger_are_those_of_the_scenario(restless, monkeypatch, tmp_path):
    monkeypatch.setitem(SCENARIOS, "stress", restless.scenario)
    recording = BytesIO()
    write_recording("stress", 7, recording, tmp_path / "ledger.jsonl")
    lines = recording.getvalue().splitlines(keepends=True)
    exchanges = [line for line in lines if orjson.loads(line)["channel"] != "collector"]
    assert exchanges == [line_of_frame(one) for one in frames(restless.items) if one.channel != "collector"]
    assert len(lines) > len(exchanges)
    assert (tmp_path / "ledger.jsonl").read_bytes() == b"".join(ledger_lines(restless.ledger))


def test_a_ledger_that_cannot_be_written(restless, monkeypatch, tmp_path):
    monkeypatch.setitem(SCENARIOS, "stress", restless.scenario)
    with pytest.raises(OperationError, match="cannot write the ledger"):
        write_recording("stress", 7, BytesIO(), tmp_path / "nowhere" / "ledger.jsonl")


def test_contracts_are_as_replay_reads_them():
    rows = [orjson.loads(line) for line in contract_lines()]
    assert len({(row["exchange"], row["symbol"]) for row in rows}) == len(listings()) == len(rows)
    assert {row["exchange"] for row in rows} == {"binance", "bybit", "okx", "bitget", "gate", "htx"}
