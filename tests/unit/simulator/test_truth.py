"""What the simulator knows of its messages is what the mapping reads in them."""

from __future__ import annotations

import base64
from decimal import Decimal
from fractions import Fraction

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.simulator import Truth, instruments, ledger, simulate_with_truth
from pipeline.embedded.simulator.contracts import contracts
from pipeline.embedded.simulator.messages import decimal_text, short_text
from pipeline.feeds import map_frame
from pipeline.feeds.frame_lines import line_of_frame
from pipeline.records import DeadLetter, Frame, Liquidation

REASONS = {
    "cut_json": "bad_json",
    "unknown_word": "unknown_word",
    "unknown_contract_size": "unknown_contract_size",
    "negative_size": "bad_number",
    "not_a_number": "bad_number",
    "bad_row": "bad_number",
}


def check(pairs):
    known = {(found.exchange, found.symbol): found for found in instruments()}
    seen = set()
    for frame, rows in pairs:
        mapped = list(map_frame(frame, known))
        assert len(mapped) == len(rows)
        for found, row in zip(mapped, rows, strict=True):
            if isinstance(found, DeadLetter):
                assert (row.kind, REASONS[row.trap]) == ("refused", found.reason)
                continue
            assert isinstance(found, Liquidation)
            kind = "duplicate" if found.event_id in seen else "event"
            seen.add(found.event_id)
            assert (kind, found.exchange, found.symbol, found.asset) == (row.kind, row.exchange, row.symbol, row.asset)
            assert (found.position, found.event_time) == (row.position, row.event_time)
            assert found.notional_micros == row.notional_micros
    return seen


def test_six_hours_map_to_the_ledger_row_by_row(six_hours):
    seen = check(six_hours)
    assert len(seen) == ledger(row for _, rows in six_hours for row in rows).events


@pytest.mark.parametrize("seed", range(100, 104))
def test_other_seeds_map_to_their_ledger(seed):
    assert check(simulate_with_truth(seed, 0.5))


def row(kind="event", time=60_000, micros=1_500_000, **changes):
    return Truth(kind, "okx", "BTC-USDT-SWAP", "BTC", "long", time, micros)._replace(**changes)


def test_the_ledger_sums_what_bars_must_show():
    found = ledger(
        [
            row(),
            row(time=119_999, micros=1),
            row(time=120_000),
            row(position="short"),
            row(timing="late"),
            row(timing="too_late"),
            row(kind="duplicate"),
            row(kind="refused", trap="cut_json"),
        ]
    )
    assert (found.events, found.duplicates, found.late, found.too_late) == (6, 1, 1, 1)
    assert found.refused == {"cut_json": 1}
    first = found.minutes["okx", "BTC-USDT-SWAP", 60_000, "long"]
    assert (first.count, first.usd) == (3, Decimal("3.000001"))
    assert found.minutes["okx", "BTC-USDT-SWAP", 120_000, "long"].count == 1
    assert found.minutes["okx", "BTC-USDT-SWAP", 60_000, "short"].count == 1
    assert sum(sums.count for sums in found.minutes.values()) == 5


@given(st.sampled_from(contracts()), st.integers(1, 10**7), st.integers(1, 10**7))
def test_value_is_exact_half_to_even(contract, price_steps, quantity_steps):
    price = Fraction(decimal_text(price_steps, contract.price_decimals))
    quantity = Fraction(short_text(quantity_steps, contract.quantity_decimals))
    usd = quantity * contract.contract_size * (1 if contract.inverse else price)
    assert contract.notional_micros(price_steps, quantity_steps) == round(usd * 1_000_000)


def test_a_line_of_a_recording():
    frame = Frame("okx", "SWAP", "okx-1", 3, 1_789_538_400_000_123, '{"s":"牛"}\n'.encode())
    line = line_of_frame(frame)
    assert line.count(b"\n") == 1
    assert orjson.loads(line) == {
        "exchange": "okx",
        "channel": "SWAP",
        "connection": "okx-1",
        "sequence": 3,
        "received_time": 1_789_538_400_000_123,
        "payload": '{"s":"牛"}\n',
    }


def test_bytes_that_are_no_text_go_as_base64():
    frame = Frame("htx", "swap", "htx-1", 0, 1, b"\x1f\x8b\xff")
    document = orjson.loads(line_of_frame(frame))
    assert "payload" not in document
    assert base64.b64decode(document["payload_base64"]) == b"\x1f\x8b\xff"
