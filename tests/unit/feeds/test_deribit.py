"""Deribit's forced trades: whose side the direction is, both parties, amounts without contract sizes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def trade(**changes):
    fields = {
        "trade_seq": 7,
        "trade_id": "9000001",
        "timestamp": 1_790_000_000_123,
        "price": 64000.5,
        "liquidation": "T",
        "instrument_name": "BTC-PERPETUAL",
        "index_price": 64002.1,
        "direction": "sell",
        "amount": 3200,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*rows, **changes):
    params = {"channel": "trades.future.any.100ms", "data": list(rows)} | changes
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(map_frame(Frame("deribit", "trades", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_row():
    one = event(message(trade()))
    assert (one.exchange, one.symbol, one.instrument) == ("deribit", "BTC-PERPETUAL", "BTC-USD-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USD", "inverse")
    assert one.position == "long", "the taker was liquidated and sold"
    assert (one.price, one.price_kind, one.order_price) == (64000.5, "fill", None)
    assert (one.quantity, one.notional_micros) == (3200 / 64000.5, 3_200_000_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "full")
    assert (one.source.sequence, one.source.index) == (7, 0)


def test_the_recorded_message(shared_dir):
    one = event((shared_dir / "reference" / "samples" / "deribit.jsonl").read_bytes())
    assert (one.instrument, one.position, one.price) == ("BTC-USD-PERP", "long", 4469.5)
    assert (one.notional_micros, one.event_time) == (1_120_000_000, 1_584_058_044_032)
    assert one.quantity == pytest.approx(1120 / 4469.5, rel=1e-15)


@pytest.mark.parametrize(
    ("liquidated", "direction", "position"),
    [("T", "sell", "long"), ("T", "buy", "short"), ("M", "sell", "short"), ("M", "buy", "long")],
)
def test_the_letter_decides_whose_side_the_direction_is(liquidated, direction, position):
    assert event(message(trade(liquidation=liquidated, direction=direction))).position == position


@pytest.mark.parametrize("direction", ["buy", "sell"])
def test_both_parties_are_two_events(direction):
    before, first, second, after = mapped(
        message(trade(trade_id="1"), trade(liquidation="MT", direction=direction), trade(trade_id="2"))
    )
    assert {first.position, second.position} == {"long", "short"}
    assert [one.source.index for one in (before, first, second, after)] == [0, 1, 2, 3]
    assert len({one.event_id for one in (before, first, second, after)}) == 4
    assert first.notional_micros == second.notional_micros == 3_200_000_000


def test_a_party_has_the_id_that_it_has_alone():
    alone = event(message(trade(liquidation="T")))
    maker, taker = mapped(message(trade(liquidation="MT")))
    assert alone.event_id == taker.event_id != maker.event_id


@pytest.mark.parametrize("change", [{"trade_id": "9000002"}, {"instrument_name": "ETH-PERPETUAL"}])
def test_the_id_is_the_trades(change):
    first, again, other = mapped(message(trade(), trade(price=1, amount=5), trade(**change)))
    assert first.event_id == again.event_id != other.event_id


def test_metadata_beats_the_name_and_its_contract_size_is_not_used():
    table = {
        ("deribit", "BTC-PERPETUAL"): Instrument(
            "deribit", "BTC-PERPETUAL", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear", contract_size=10.0
        )
    }
    one = event(message(trade(amount=0.5, price=64000)), table)
    assert (one.instrument, one.quantity, one.notional_micros) == ("BTC-USDC-PERP", 0.5, 32_000_000_000)


@pytest.mark.parametrize(
    "symbol", ["BTC", "-PERPETUAL", "BTC-", "BTC-30FEB26", "BTC-2XMAR25", "BTC_EURR-PERPETUAL", "BTC-28MAR25-60000-C"]
)
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message(trade(instrument_name=symbol))) == "unknown_symbol"


values = st.one_of(
    st.sampled_from(["T", "M", "MT", "buy", "sell", "1", "0", "-1", "1e99", "1e-99", "trades.x", "BTC-PERPETUAL"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["liquidation", "direction"]), st.text(max_size=3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(trade())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["channel", "data"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message(*[trade(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)
