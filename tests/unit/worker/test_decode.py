"""Batches come out as they went in, and damaged records never change their neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from event_logs import BASE_MS, candle, heartbeat, liquidation, logs
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import read_block
from pipeline.codec import Codec, frame_body
from pipeline.records import Candle, Coverage, Liquidation
from pipeline.windows.fold import candle_row, liquidation_row
from pipeline.worker.decode import Decoder

CODEC = Codec()
DECODER = Decoder(CODEC, "events")


@dataclass
class Fetched:
    offset: int
    timestamp: int
    value: bytes | None


def fetched(values):
    return [Fetched(10 + number, BASE_MS, value) for number, value in enumerate(values)]


@given(logs())
def test_a_batch_keeps_the_log_and_its_order(log):
    decoded = DECODER.decode(0, fetched([CODEC.encode(record) for record in log]))
    assert decoded.batch.liquidations == [liquidation_row(record) for record in log if isinstance(record, Liquidation)]
    before = 0
    expected = []
    for record in log:
        if isinstance(record, Liquidation):
            before += 1
        elif not isinstance(record, Candle):
            expected.append((before, record))
        elif record.closed:
            expected.append((before, candle_row(record)))
    assert list(decoded.batch.statements) == expected
    assert decoded.batch.last_offset == 9 + len(log)
    assert not decoded.dead_letters


GOOD = [CODEC.encode(replace(liquidation(number), symbol=f"{'S' * (number % 7 + 1)}USDT")) for number in range(60)]
HEARTBEAT = CODEC.encode(heartbeat(BASE_MS))


@pytest.mark.parametrize("place", [0, 30, 59])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD[7][:-1], "truncated_record"),
        (GOOD[7][:20], "truncated_record"),
        (GOOD[7] + b"\0", "overlong_record"),
        (b"", "truncated_record"),
        (None, "truncated_record"),
        (b"\0\0\0\x00\x63" + GOOD[7][5:], "unknown_schema"),
        (GOOD[7][:5] + HEARTBEAT[5:], "truncated_record"),
        (CODEC.encode(Coverage("binance", "forceOrder", 0, 1, 1, 1)), "wrong_record_type"),
    ],
)
def test_one_damaged_record_is_told_and_the_rest_stays(bad, reason, place):
    values = [*GOOD[:place], bad, *GOOD[place:], HEARTBEAT]
    decoded = DECODER.decode(3, fetched(values))
    assert decoded.batch.liquidations == [liquidation_row(CODEC.decode(value)) for value in GOOD]
    assert [before for before, _ in decoded.batch.statements] == [60]
    (letter,) = decoded.dead_letters
    assert (letter.reason, letter.stage, letter.channel, letter.connection) == (reason, "worker", "events", "3")
    assert letter.sequence == 10 + place
    assert letter.payload == (bad or b"")


def in_version(record, version):
    name = type(record).__name__.lower()
    schema = CODEC.schemas[f"{name}.v{min(version, CODEC.newest_version(name))}"]
    return frame_body(CODEC.ids[schema.key], CODEC.body_of(record, schema))


@pytest.mark.parametrize("key", ["liquidation.v1", "liquidation.v2", "heartbeat.v1", "heartbeat.v2", "candle.v1"])
def test_every_version_is_read_as_one_block(key):
    """A block that cannot be read falls back on record by record: the same rows, at a tenth of the rate."""
    record = {"liquidation": liquidation(), "heartbeat": heartbeat(BASE_MS), "candle": candle()}[key.partition(".")[0]]
    bodies = [CODEC.body_of(record, CODEC.schemas[key])] * 3
    block = read_block(CODEC.schemas[key], bodies)
    assert block is not None
    assert block.height == 3


@given(logs(), st.lists(st.integers(1, 2), min_size=60, max_size=60))
def test_a_log_in_old_and_new_versions_reads_as_in_one(log, versions):
    values = [in_version(record, version) for record, version in zip(log, versions, strict=False)]
    decoded = DECODER.decode(0, fetched(values))
    assert decoded == DECODER.decode(0, fetched([CODEC.encode(record) for record in log]))
    assert not decoded.dead_letters


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 80), st.integers(0, 255)), min_size=1, max_size=4))
def test_random_damage_keeps_every_record_that_it_did_not_touch(damages):
    values = list(GOOD)
    for number, at, byte in damages:
        value = bytearray(values[number])
        value[min(at, len(value) - 1)] = byte
        values[number] = bytes(value)
    decoded = DECODER.decode(0, fetched(values))
    kept = set(decoded.batch.liquidations)
    touched = {number for number, _, _ in damages}
    assert all(liquidation_row(CODEC.decode(GOOD[number])) in kept for number in range(60) if number not in touched)
    assert len(decoded.batch.liquidations) + len(decoded.dead_letters) + len(decoded.batch.statements) <= 60
