"""Kraken's forced trades: the taker's side, sizes in coins or USD, recent trades behind a subscription."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def trade(**changes):
    fields = {
        "feed": "trade",
        "product_id": "PF_XBTUSD",
        "uid": "3f1f6ff5-0001-4000-8000-0242ac120002",
        "side": "sell",
        "type": "liquidation",
        "seq": 7,
        "time": 1_790_000_000_123,
        "qty": 0.05,
        "price": 64000.5,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def snapshot(*trades):
    return {"feed": "trade_snapshot", "product_id": "PF_XBTUSD", "trades": list(trades)}


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(map_frame(Frame("kraken_futures", "trade", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_trade():
    one = event(trade())
    assert (one.exchange, one.symbol, one.instrument) == ("kraken_futures", "PF_XBTUSD", "BTC-USD-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USD", "linear")
    assert one.position == "long", "the forced taker sells"
    assert (one.price, one.price_kind, one.order_price) == (64000.5, "fill", None)
    assert (one.quantity, one.notional_micros) == (0.05, 3_200_025_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "full")
    assert (one.source.sequence, one.source.index) == (7, 0)


def test_the_recorded_message(shared_dir):
    one = event((shared_dir / "reference" / "samples" / "kraken_futures.jsonl").read_bytes())
    assert (one.instrument, one.margin, one.position) == ("XRP-USD-PERP", "inverse", "long")
    assert (one.price, one.notional_micros, one.event_time) == (0.1736, 12_000_000_000, 1_593_561_965_283)
    assert one.quantity == pytest.approx(12000 / 0.1736, rel=1e-15)


def test_one_name_has_two_margins():
    linear, inverse = event(trade()), event(trade(product_id="PI_XBTUSD", qty=3200, price=64000))
    assert linear.instrument == inverse.instrument == "BTC-USD-PERP"
    assert (linear.margin, inverse.margin) == ("linear", "inverse")
    assert (inverse.quantity, inverse.notional_micros) == (0.05, 3_200_000_000)
    assert linear.event_id != inverse.event_id


def test_the_trades_of_a_snapshot_are_the_same_events():
    ordinary = trade(type="fill", uid="b")
    before, live = event(snapshot(ordinary, trade())), event(trade())
    assert before.event_id == live.event_id
    assert (before.source.index, live.source.index) == (1, 0)


@pytest.mark.parametrize("change", [{"uid": "b"}, {"product_id": "PF_ETHUSD"}])
def test_the_id_is_the_trades(change):
    first, again, other = mapped(snapshot(trade(), trade(price=1, qty=5), trade(**change)))
    assert first.event_id == again.event_id != other.event_id


@pytest.mark.parametrize("kind", ["fill", "assignment", "termination", "block"])
def test_other_trades_are_none(kind):
    assert mapped(trade(type=kind, side="?")) == []


def test_metadata_beats_the_name():
    table = {
        ("kraken_futures", "FI_XBTUSD_270326"): Instrument(
            "kraken_futures", "FI_XBTUSD_270326", "BTC-USD-20270327", "BTC", "USD", "BTC", "inverse", "2027-03-27", 1.0
        )
    }
    dated = trade(product_id="FI_XBTUSD_270326", qty=3200, price=64000)
    assert event(dated).instrument == "BTC-USD-20270326"
    assert event(dated, table).instrument == "BTC-USD-20270327"


@pytest.mark.parametrize(
    "symbol",
    ["XBTUSD", "PF_USD", "PF_XBTEUR", "PV_XBTUSD", "PI_XBTUSD_270326", "FI_XBTUSD", "FI_XBTUSD_279926", "PF_XBT_USD"],
)
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(trade(product_id=symbol)) == "unknown_symbol"


values = st.one_of(
    st.sampled_from(["sell", "buy", "liquidation", "fill", "1", "0", "-1", "1e99", "1e-99", "PI_XBTUSD", "trade"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["side", "type"]), st.text(max_size=3), max_size=2),
)
changed = st.dictionaries(st.sampled_from(sorted(trade())), values, max_size=2).map(lambda change: trade(**change))


@given(changed | st.lists(changed | values, max_size=3).map(lambda trades: snapshot(*trades)))
def test_rubbish_is_refused_never_raised(document):
    assert all(isinstance(one, Liquidation | DeadLetter) for one in mapped(document))
