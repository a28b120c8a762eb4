"""Lighter's trades: market numbers, who was the taker, which list, which type."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation, identity

RECEIVED_US = 1_790_000_002_000_000
TABLE = {
    ("lighter", "1"): Instrument("lighter", "1", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear"),
    ("lighter", "7"): Instrument(
        "lighter", "7", "PEPE-USDC-PERP", "PEPE", "USDC", "USDC", "linear", asset_multiplier=1000.0
    ),
}


def trade(**changes):
    fields = {
        "trade_id": 18_237,
        "type": "liquidation",
        "market_id": 1,
        "size": "0.02",
        "price": "75602.8",
        "usd_amount": "1512.056",
        "is_maker_ask": False,
        "timestamp": 1_790_000_000_653,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*forced, **changes):
    return {"type": "update/trade", "channel": "trade:1", "trades": [], "liquidation_trades": list(forced)} | changes


def mapped(document, instruments=TABLE):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return list(map_frame(Frame("lighter", "trade", "a/1", 7, RECEIVED_US, payload), instruments))


def event(document):
    (one,) = mapped(document)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=TABLE):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_trade():
    one = event(message(trade()))
    assert (one.exchange, one.symbol, one.instrument) == ("lighter", "1", "BTC-USDC-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USDC", "linear")
    assert one.position == "long", "the maker bought, so the liquidated taker sold"
    assert (one.price, one.price_kind, one.order_price) == (75602.8, "fill", None)
    assert (one.quantity, one.notional_micros) == (0.02, 1_512_056_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_653, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "full")
    assert (one.source.sequence, one.source.index) == (7, 0)
    assert one.event_id == identity("lighter", "1", 18_237)


def test_the_recorded_message(shared_dir):
    one = event((shared_dir / "reference" / "samples" / "lighter.jsonl").read_bytes())
    assert (one.instrument, one.position, one.price, one.quantity) == ("BTC-USDC-PERP", "short", 75602.8, 0.01664)
    assert (one.notional_micros, one.event_time) == (1_258_030_592, 1_776_687_656_653)


def test_without_metadata_a_number_has_no_name():
    assert reason(message(trade()), {}) == "unknown_symbol"


def test_history_has_the_same_ids():
    assert event(message(trade(), type="subscribed/trade")).event_id == event(message(trade())).event_id


def test_a_multiplied_listing_keeps_its_value():
    one = event(message(trade(market_id=7, size="2000", price="0.012", usd_amount="24")))
    assert (one.asset, one.quantity, one.price, one.notional_micros) == ("PEPE", 2_000_000, 0.000012, 24_000_000)


def test_the_takers_position_must_agree():
    assert event(message(trade(taker_position_size_before="0.02"))).position == "long"
    assert reason(message(trade(taker_position_size_before="-0.02"))) == "contradictory_position"
    assert event(message(trade(is_maker_ask=True, taker_position_size_before="-0.02"))).position == "short"


@pytest.mark.parametrize("amount", ["1e30", "9" * 40])
def test_more_money_than_there_is(amount):
    assert reason(message(trade(usd_amount=amount))) == "bad_number"


values = st.one_of(
    st.sampled_from(["liquidation", "deleverage", "1", "0", "-1", "1e99", 1_790_000_000_653, 1, 7]),
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
)
FIELDS = [*sorted(trade()), "taker_position_size_before"]


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(FIELDS), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["type", "trades", "liquidation_trades"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message(*[trade(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)
