"""dYdX's trade tape: which trades are forced, whose side it is, history, batches, time as text."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation, identity

RECEIVED_US = 1_790_000_002_000_000


def trade(**changes):
    fields = {
        "id": "0a1b2c3d0000000200000005",
        "side": "SELL",
        "size": "3.9",
        "price": "22.87",
        "type": "LIQUIDATED",
        "createdAt": "2026-09-21T14:13:20.628Z",
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*trades, kind="channel_data", market="LINK-USD", **changes):
    return {"type": kind, "channel": "v4_trades", "id": market, "contents": {"trades": list(trades)}} | changes


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return list(map_frame(Frame("dydx", "trades", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document):
    (one,) = mapped(document)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_trade():
    one = event(message(trade()))
    assert (one.exchange, one.symbol, one.instrument) == ("dydx", "LINK-USD", "LINK-USD-PERP")
    assert (one.asset, one.quote, one.margin) == ("LINK", "USD", "linear")
    assert one.position == "long", "the liquidated taker sold"
    assert (one.price, one.price_kind, one.order_price) == (22.87, "fill", None)
    assert (one.quantity, one.notional_micros) == (3.9, 89_193_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_628, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "full")
    assert (one.source.connection, one.source.sequence, one.source.index) == ("a/1", 7, 0)


def test_the_recorded_message(shared_dir):
    line = (shared_dir / "reference" / "samples" / "dydx_v4.jsonl").read_bytes()
    one = event(line)
    assert (one.instrument, one.position, one.price, one.quantity) == ("BTC-USD-PERP", "long", 22.87, 3.9)
    assert (one.notional_micros, one.event_time, one.source.index) == (89_193_000, 1_722_756_890_628, 1)


def test_the_id_is_that_of_the_trade_whatever_message_brings_it():
    live = event(message(trade()))
    history = event(message(trade(), kind="subscribed"))
    batched = event(message(kind="channel_batch_data", contents=[{"trades": []}, {"trades": [trade()]}]))
    assert live.event_id == history.event_id == batched.event_id
    assert live.event_id == identity("dydx", "LINK-USD", "0a1b2c3d0000000200000005")
    assert event(message(trade(id="0a1b2c3d0000000200000006"))).event_id != live.event_id


def test_a_place_counts_all_trades_of_a_message():
    ordinary = trade(type="LIMIT")
    contents = [{"trades": [ordinary, trade()]}, {"trades": [ordinary, trade(side="BUY", id="b")]}]
    first, second = mapped(message(kind="channel_batch_data", contents=contents))
    assert (first.source.index, second.source.index) == (1, 3)
    assert (first.position, second.position) == ("long", "short")


def test_metadata_goes_before_the_name():
    table = {("dydx", "LINK-USD"): Instrument("dydx", "LINK-USD", "X-USD-PERP", "X", "USD", "USDC", "linear")}
    assert event(message(trade()), table).instrument == "X-USD-PERP"


@pytest.mark.parametrize("market", ["LINKUSD", "LINK-EUR", "-USD", "LI NK-USD", "LINK-USD-", "X" * 80 + "-USD"])
def test_a_market_of_no_documented_form_is_refused(market):
    assert reason(message(trade(), market=market)) == "unknown_symbol"


values = st.one_of(
    st.sampled_from(["LIQUIDATED", "SELL", "1", "0", "-1", "1e99", "2026-09-21T14:13:20Z", "2026-02-30T00:00:00Z"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["trades", "id"]), st.integers(0, 3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(trade())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["type", "channel", "id", "contents"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(json.dumps(message(*[trade(**change) for change in changes], **around)).encode())
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)
    assert len(found) <= max(1, len(changes))
