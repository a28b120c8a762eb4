"""HTX's liquidation orders: gzip, the closing order's direction, coins and contracts, the row's own time."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def instrument(symbol, name, margin, size):
    asset, quote, _ = name.split("-")
    settle = asset if margin == "inverse" else quote
    return {("htx", symbol): Instrument("htx", symbol, name, asset, quote, settle, margin, contract_size=size)}


TABLE = {
    **instrument("BTC-USDT", "BTC-USDT-PERP", "linear", 0.001),
    **instrument("BSV-USD", "BSV-USD-PERP", "inverse", 10.0),
    **instrument("BTC201225", "BTC-USD-20201225", "inverse", 100.0),
}


def row(**changes):
    fields = {
        "contract_code": "BTC-USDT",
        "symbol": "BTC",
        "direction": "sell",
        "offset": "close",
        "volume": 624,
        "price": 16701.4,
        "created_at": 1_790_000_000_123,
        "amount": 0.624,
        "trade_turnover": 10421.6736,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*rows, **changes):
    said = {"op": "notify", "topic": "public.BTC-USDT.liquidation_orders", "ts": 1_790_000_000_100, "data": list(rows)}
    return said | changes


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else gzip.compress(json.dumps(document).encode())
    frame = Frame("htx", "linear", "a/1", 7, RECEIVED_US, payload)
    return list(map_frame(frame, TABLE if instruments is None else instruments))


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
    assert (one.exchange, one.symbol, one.instrument) == ("htx", "BTC-USDT", "BTC-USDT-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USDT", "linear")
    assert one.position == "long", "the closing order sells"
    assert (one.price, one.price_kind, one.order_price) == (16701.4, "bankruptcy", None)
    assert (one.quantity, one.notional_micros) == (0.624, 10_421_673_600)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange"), "not the message's ts"
    assert (one.received_time, one.completeness) == (RECEIVED_US, "unknown")
    assert (one.source.sequence, one.source.index) == (7, 0)


def test_the_recorded_messages(shared_dir):
    lines = (shared_dir / "reference" / "samples" / "htx.jsonl").read_bytes().splitlines()
    for instruments in (TABLE, {}):
        acknowledged, linear, newer, dated, old = (mapped(line, instruments) for line in lines)
        assert acknowledged == []
        assert seen(linear) == ("BTC-USDT-PERP", "long", 16701.4, 0.624, 10_421_673_600)
        assert seen(newer) == ("ETH-USDT-PERP", "short", 2446.26, 5, 12_231_300_000)
        assert seen(dated) == ("BTC-USD-20201225", "short", 19674.96, pytest.approx(2600 / 19674.96), 2_600_000_000)
        if instruments:
            assert seen(old) == ("BSV-USD-PERP", "long", 153.28, pytest.approx(30 / 153.28), 30_000_000)
        else:
            assert [one.reason for one in old] == ["unknown_contract_size"]


def seen(found):
    (one,) = found
    assert isinstance(one, Liquidation), one
    return (one.instrument, one.position, one.price, one.quantity, one.notional_micros)


def test_the_exchanges_own_turnover_is_the_value():
    one = event(message(row(trade_turnover=10421.67)))
    assert (one.quantity, one.notional_micros) == (0.624, 10_421_670_000)
    assert reason(message(row(trade_turnover="1e30"))) == "bad_number"


@pytest.mark.parametrize("missing", [{"trade_turnover": ...}, {"trade_turnover": 0}, {"trade_turnover": None}])
def test_without_turnover_the_value_is_amount_times_price(missing):
    assert event(message(row(**missing))).notional_micros == 10_421_673_600


def test_old_messages_count_contracts():
    old = message(row(amount=..., trade_turnover=...))
    assert event(old).notional_micros == 10_421_673_600
    assert reason(old, {}) == "unknown_contract_size"


def test_an_unpacked_message_is_the_same():
    assert event(json.dumps(message(row())).encode()) == event(message(row()))


def test_a_damaged_message_is_refused_whole():
    packed = gzip.compress(json.dumps(message(row(), row())).encode())
    assert reason(packed[:-1]) == "bad_gzip"


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "buy"},
        {"created_at": 1_790_000_000_124},
        {"volume": 625},
        {"price": 16701.5},
        {"contract_code": "ETH-USDT"},
    ],
)
def test_the_id_is_made_of_all_that_identifies_a_row(change):
    first, other = mapped(message(row(), row(**change)))
    assert event(message(row(volume="624.0", amount=...))).event_id == first.event_id != other.event_id


def test_equal_rows_of_one_message_are_two_orders_and_the_message_seen_again_is_the_same_two():
    ids = [one.event_id for one in mapped(message(row(), row()))]
    assert len(set(ids)) == 2
    assert [one.event_id for one in mapped(message(row(volume=1), row(), row()))][1:] == ids


@pytest.mark.parametrize(
    "symbol", ["BTC", "BTC-EUR", "BTCUSDT", "BTC-USDT-", "BTC-USD-270326", "201225", "BTC209925", "BTC-USDT-270326-C"]
)
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message(row(contract_code=symbol))) == "unknown_symbol"


def test_what_is_settled_in_a_third_coin_is_refused():
    table = {("htx", "BTC-USDT"): Instrument("htx", "BTC-USDT", "X", "BTC", "USD", "X", "quanto", contract_size=1.0)}
    assert reason(message(row()), table) == "unsupported_margin"


values = st.one_of(
    st.sampled_from(["sell", "buy", "close", "1", "0", "-1", "1e99", "1e-99", "BTC-USDT", "BTC201225", "notify"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["direction", "offset"]), st.text(max_size=3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(row())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["op", "topic", "data"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message(*[row(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)


@given(st.binary(max_size=60))
def test_rubbish_behind_the_head_of_gzip_is_refused(payload):
    assert reason(b"\x1f\x8b" + payload) == "bad_gzip"
