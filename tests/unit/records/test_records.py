"""Records refuse nonsense from outside."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from event_logs import liquidation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import RefusedError, check_liquidation, identity, micros, number_text

GOOD = liquidation()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": float("nan")}, "bad_number"),
        ({"price": 0.0}, "bad_number"),
        ({"price": float("inf")}, "bad_number"),
        ({"quantity": -1.0}, "bad_number"),
        ({"order_price": -1.0}, "bad_number"),
        ({"notional_micros": -1}, "bad_number"),
        ({"notional_micros": 2**63}, "bad_number"),
        ({"position": "buy"}, "bad_word"),
        ({"completeness": "most"}, "bad_word"),
        ({"symbol": ""}, "empty_name"),
        ({"event_time": 1_700_000_040}, "bad_time"),
        ({"received_time": GOOD.received_time * 1000}, "bad_time"),
        ({"event_time": GOOD.event_time + 600_001}, "time_in_future"),
    ],
)
def test_nonsense_is_refused(change, reason):
    with pytest.raises(RefusedError) as refusal:
        check_liquidation(replace(GOOD, **change))
    assert refusal.value.reason == reason


def test_sense_is_kept():
    assert check_liquidation(GOOD) is GOOD


def test_a_record_cannot_be_changed():
    with pytest.raises(AttributeError):
        GOOD.price = 3.0


@given(st.lists(st.text(max_size=6), max_size=4), st.lists(st.text(max_size=6), max_size=4))
def test_two_identities_are_equal_only_for_equal_parts(some, others):
    assert (identity(*some) == identity(*others)) == (some == others)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9), max_value=10**9))
def test_a_number_has_one_spelling(number):
    text = number_text(number)
    assert Decimal(text) == number
    assert text == number_text(number.normalize())
    assert "E" not in text


def test_money_is_rounded_half_to_even():
    assert [micros(Decimal(text)) for text in ("0.0000005", "0.0000015", "1.23")] == [0, 2, 1_230_000]
