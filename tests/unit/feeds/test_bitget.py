"""Bitget's liquidated positions: money instead of sizes, the position's side, three kinds of futures."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def row(**changes):
    fields = {"symbol": "APEUSDT", "side": "buy", "price": "0.1649", "amount": "13.70319", "ts": "1790000000123"}
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*rows, market="usdt-futures", **changes):
    arg = {"instType": market, "topic": "liquidation"}
    return {"data": list(rows), "arg": arg, "action": "update", "ts": 1_790_000_000_900} | changes


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(map_frame(Frame("bitget", "liquidation", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_row():
    one = event(message(row()))
    assert (one.exchange, one.symbol, one.instrument) == ("bitget", "APEUSDT", "APE-USDT-PERP")
    assert (one.asset, one.quote, one.margin) == ("APE", "USDT", "linear")
    assert one.position == "long", "buy is the side of the position"
    assert (one.price, one.price_kind, one.order_price) == (0.1649, "unknown", None)
    assert (one.quantity, one.notional_micros) == (83.1, 13_703_190), "amount is money"
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "largest_per_second")
    assert (one.source.sequence, one.source.index) == (7, 0)


def test_the_recorded_messages(shared_dir):
    acknowledged, data = (shared_dir / "reference" / "samples" / "bitget.jsonl").read_bytes().splitlines()
    assert mapped(acknowledged) == []
    one = event(data)
    assert (one.instrument, one.position, one.price) == ("BTC-USDT-PERP", "long", 89000)
    assert (one.notional_micros, one.event_time) == (37_722_858, 1_736_371_332_162)
    assert one.quantity == pytest.approx(37.722858 / 89000, rel=1e-15)


def test_coin_futures_need_no_contract_size():
    one = event(message(row(symbol="BTCUSD", price="64000", amount="320"), market="coin-futures"))
    assert (one.instrument, one.margin, one.notional_micros, one.quantity) == (
        "BTC-USD-PERP",
        "inverse",
        320_000_000,
        0.005,
    )


def test_a_dated_contract_needs_metadata():
    dated = message(row(symbol="BTCUSDZ27", price="64000", amount="320"), market="coin-futures")
    table = {
        ("bitget", "BTCUSDZ27"): Instrument(
            "bitget", "BTCUSDZ27", "BTC-USD-20271231", "BTC", "USD", "BTC", "inverse", "2027-12-31"
        )
    }
    assert reason(dated) == "unknown_symbol"
    assert event(dated, table).instrument == "BTC-USD-20271231"


def test_what_is_settled_in_a_third_coin_is_refused():
    table = {("bitget", "APEUSDT"): Instrument("bitget", "APEUSDT", "APE-USD-PERP", "APE", "USD", "BTC", "quanto")}
    assert reason(message(row()), table) == "unsupported_margin"


def test_a_multiplied_listing_keeps_its_value():
    one = event(message(row(symbol="1000BONKUSDT", price="0.02", amount="50")))
    assert (one.asset, one.quantity, one.price, one.notional_micros) == ("BONK", 2_500_000, 0.00002, 50_000_000)


@pytest.mark.parametrize(
    "change", [{"side": "sell"}, {"ts": "1790000000124"}, {"amount": "13.7"}, {"price": "0.165"}, {"symbol": "BTCUSDT"}]
)
def test_the_id_is_made_of_all_that_a_row_says(change):
    first, again, other = mapped(message(row(), row(amount="13.703190", price=0.1649), row(**change)))
    assert first.event_id == again.event_id != other.event_id


def test_more_money_than_there_is():
    assert reason(message(row(amount="1e30"))) == "bad_number"


values = st.one_of(
    st.sampled_from(["buy", "sell", "1", "0", "-1", "1e99", "1e-99", "1790000000123", "liquidation", "usdt-futures"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["topic", "instType"]), st.text(max_size=3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(row())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["arg", "data"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message(*[row(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)


def test_an_error_of_the_server_gives_nothing():
    assert mapped(orjson.dumps({"event": "error", "code": 30001, "msg": "no"})) == []
