"""What the simulated market is like, and that it is a function of its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from hashlib import sha256
from itertools import pairwise
from statistics import median

import orjson
import pytest

from pipeline.embedded.simulator import START_MS, instruments, ledger, simulate, simulate_with_truth
from pipeline.embedded.simulator.market import crash_of
from pipeline.feeds.frame_lines import line_of_frame

# Of the recording of seed 7 over half an hour. It changes only when the simulated market is changed on purpose.
HALF_AN_HOUR_SHA256 = "23c364a25d6882ea7dce1ebb6ef03d7d5e67742f5c822a180c3be721d96a696b"


def digest(seed: int, hours: float = 0.5) -> str:
    found = sha256()
    for frame in simulate(seed, hours):
        found.update(line_of_frame(frame))
    return found.hexdigest()


def per_minute(pairs, position=None):
    counts = Counter(
        (row.event_time - START_MS) // 60_000
        for _, rows in pairs
        for row in rows
        if row.kind == "event" and position in (None, row.position)
    )
    return [counts[minute] for minute in range(360)]


def test_the_same_seed_gives_the_same_bytes_on_every_machine():
    assert digest(7) == HALF_AN_HOUR_SHA256


def test_the_bytes_do_not_depend_on_the_process():
    code = (
        "from hashlib import sha256\n"
        "from pipeline.embedded.simulator import simulate\n"
        "from pipeline.feeds.frame_lines import line_of_frame\n"
        "lines = b''.join(line_of_frame(frame) for frame in simulate(7, 0.5))\n"
        "print(sha256(lines).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == HALF_AN_HOUR_SHA256


def test_another_seed_gives_another_market():
    assert len({digest(seed, 0.1) for seed in range(5)}) == 5


def test_the_start_moves_every_time_and_nothing_else():
    day_ms = 86_400_000
    moved = list(simulate_with_truth(3, 0.2, START_MS + day_ms))
    for (frame, rows), (later, later_rows) in zip(simulate_with_truth(3, 0.2), moved, strict=True):
        assert later.received_time - frame.received_time == day_ms * 1000
        assert [row._replace(event_time=row.event_time + day_ms) for row in rows] == list(later_rows)


def test_too_short_a_run_is_refused():
    with pytest.raises(ValueError, match="too short"):
        simulate(1, 0.01)


def test_frames_come_in_order_of_receipt_and_are_counted_per_connection(six_hours):
    frames = [frame for frame, _ in six_hours]
    assert all(first.received_time <= second.received_time for first, second in pairwise(frames))
    sequences = defaultdict(list)
    channels = defaultdict(set)
    for frame in frames:
        sequences[frame.exchange, frame.connection].append(frame.sequence)
        channels[frame.exchange, frame.connection].add(frame.channel)
    assert all(found == list(range(len(found))) for found in sequences.values())
    assert all(len(found) == 1 for found in channels.values())
    assert all(connection.startswith(f"{exchange}-") for exchange, connection in sequences)


def test_size_of_the_market(six_hours):
    events = [row for _, rows in six_hours for row in rows if row.kind == "event"]
    assert 60_000 <= len(events) <= 120_000
    assert len({row.asset for row in events}) >= 30
    assert {frame.exchange + " " + frame.channel for frame, _ in six_hours} == {
        "binance forceOrder",
        "bybit linear",
        "bybit inverse",
        "okx SWAP",
    }
    by_asset = Counter(row.asset for row in events)
    assert {asset for asset, _ in by_asset.most_common(2)} == {"BTC", "ETH"}


def test_sizes_have_a_heavy_tail(six_hours):
    sizes = sorted(row.notional_micros for _, rows in six_hours for row in rows if row.kind == "event")
    assert sum(sizes[-len(sizes) // 100 :]) > 0.2 * sum(sizes)
    assert sizes[-1] > 500 * median(sizes)


@pytest.mark.parametrize("seed", [1, 7])
def test_the_crash_has_ten_times_the_usual_rate_and_hits_longs_first(seed, six_hours):
    pairs = six_hours if seed == 7 else list(simulate_with_truth(seed))
    crash = crash_of(6 * 3600)
    start, bottom, end = crash.start // 60, crash.bottom // 60, crash.end // 60
    assert 20 <= end - start <= 30
    everything, longs, shorts = per_minute(pairs), per_minute(pairs, "long"), per_minute(pairs, "short")
    usual = sum(everything[:start]) / start
    assert sum(everything[start:end]) / (end - start) >= 10 * usual
    assert max(range(360), key=everything.__getitem__) in range(start, end)
    fall, rebound = slice(start, bottom), slice(bottom, end)
    assert sum(longs[fall]) > 10 * sum(shorts[fall])
    assert sum(shorts[rebound]) > 2 * sum(longs[rebound])
    assert sum(shorts[rebound]) < sum(longs[fall])


def test_a_short_run_has_its_crash_too():
    pairs = list(simulate_with_truth(2, 0.5))
    crash = crash_of(1800)
    events = [(row.event_time - START_MS) // 1000 for _, rows in pairs for row in rows if row.kind == "event"]
    inside = sum(crash.start <= second < crash.end for second in events)
    before = sum(second < crash.start for second in events)
    assert inside / (crash.end - crash.start) > 5 * before / crash.start


def test_prices_of_one_asset_agree_across_exchanges(six_hours):
    last = {}
    apart = []
    for frame, rows in six_hours:
        if not rows or rows[0].kind != "event" or rows[0].asset != "BTC":
            continue
        document = orjson.loads(frame.payload)
        if frame.exchange == "binance":
            price = float(document["data"]["o"]["ap"])
        elif frame.exchange == "bybit":
            price = float(document["data"][0]["p"])
        else:
            price = float(document["data"][0]["details"][0]["bkPx"])
        last[frame.exchange] = price
        apart.append(max(last.values()) / min(last.values()) - 1)
    assert median(apart) < 0.02


def test_every_trap_is_there(six_hours):
    found = ledger(row for _, rows in six_hours for row in rows)
    traps = {"cut_json", "unknown_word", "unknown_contract_size", "negative_size", "not_a_number", "bad_row"}
    assert set(found.refused) == traps
    assert found.duplicates > 100
    assert found.late > 50
    assert found.too_late > 5
    refused_by = {row.exchange for _, rows in six_hours for row in rows if row.kind == "refused"}
    assert refused_by == {"binance", "bybit", "okx"}
    mixed = [rows for _, rows in six_hours if {"event", "refused"} <= {row.kind for row in rows}]
    assert mixed


def test_late_rows_are_as_late_as_the_ledger_says(six_hours):
    for frame, rows in six_hours:
        for row in rows:
            if row.kind != "event":
                continue
            end_ms = row.event_time - row.event_time % 60_000 + 60_000
            past_end_s = frame.received_time / 1e6 - end_ms / 1000
            if row.timing == "on_time":
                assert frame.received_time / 1000 - row.event_time < 4_000
            elif row.timing == "late":
                assert 10 < past_end_s < 590
            else:
                assert past_end_s > 650


def test_duplicates_are_the_same_payload_on_a_new_connection(six_hours):
    first_seen = {}
    for frame, rows in six_hours:
        if rows and all(row.kind == "duplicate" for row in rows):
            original, original_rows = first_seen[frame.exchange, frame.channel, frame.payload]
            assert original.connection != frame.connection
            assert original.received_time < frame.received_time
            assert [row._replace(kind="duplicate") for row in original_rows] == list(rows)
        else:
            assert all(row.kind != "duplicate" for row in rows)
            first_seen[frame.exchange, frame.channel, frame.payload] = frame, rows


def test_there_is_one_instrument_for_every_symbol(six_hours):
    known = {(found.exchange, found.symbol): found for found in instruments()}
    assert len(known) == len(instruments())
    events = [row for _, rows in six_hours for row in rows if row.kind == "event"]
    assert {(row.exchange, row.symbol) for row in events} <= set(known)
    assert all(known[row.exchange, row.symbol].asset == row.asset for row in events)
    assert known["binance", "BTCUSD_PERP"].contract_size == 100
    assert known["bybit", "BTCUSD"].margin == "inverse"
    assert known["okx", "BTC-USDT-SWAP"].contract_size == 0.01
    assert known["bybit", "SHIB1000USDT"].asset_multiplier == 1000
