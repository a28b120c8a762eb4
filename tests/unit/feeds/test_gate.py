"""Gate's liquidation orders: the unproved sign, contracts of a known size only, the change of 2026-08-20."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def linear(symbol, name, size):
    asset, quote, _ = name.split("-")
    return {("gate", symbol): Instrument("gate", symbol, name, asset, quote, quote, "linear", contract_size=size)}


TABLE = {**linear("BTC_USDT", "BTC-USDT-PERP", 0.0001), **linear("HEI_USDT", "HEI-USDT-PERP", 10.0)}


def row(**changes):
    fields = {"contract": "BTC_USDT", "price": "64000.5", "size": -500, "time": 1_790_000_000_123}
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(result, /, **changes):
    said = {"time": 1_790_000_000, "channel": "futures.public_liquidates", "event": "update", "result": result}
    return said | changes


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    frame = Frame("gate", "usdt", "a/1", 7, RECEIVED_US, payload)
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
    one = event(message([row()]))
    assert (one.exchange, one.symbol, one.instrument) == ("gate", "BTC_USDT", "BTC-USDT-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USDT", "linear")
    assert (one.position, one.position_proved) == ("long", False)
    assert (one.price, one.price_kind, one.order_price) == (64000.5, "order", None)
    assert (one.quantity, one.notional_micros) == (0.05, 3_200_025_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "full")
    assert (one.source.sequence, one.source.index) == (7, 0)


def test_the_recorded_messages(shared_dir):
    listed, single = (shared_dir / "reference" / "samples" / "gate.jsonl").read_bytes().splitlines()
    first, second = mapped(listed)
    assert seen(first) == ("BTC-USDT-PERP", "long", 215.1, 0.01245, 2_677_995, 1_541_486_601_123, "sampled")
    assert seen(second) == ("BTC-USDT-PERP", "long", 215.2, 0.00105, 225_960, 1_541_486_601_456, "sampled")
    (one,) = mapped(single)
    assert seen(one) == ("HEI-USDT-PERP", "long", 0.13827, 230, 31_802_100, 1_786_327_033_531, "sampled")


def test_without_metadata_the_recorded_messages_lack_their_contracts_sizes(shared_dir):
    for line in (shared_dir / "reference" / "samples" / "gate.jsonl").read_bytes().splitlines():
        assert {one.reason for one in mapped(line, {})} == {"unknown_contract_size"}


def seen(one):
    assert isinstance(one, Liquidation), one
    assert one.position_proved is False
    return (
        *(one.instrument, one.position, one.price, one.quantity, one.notional_micros),
        *(one.event_time, one.completeness),
    )


@pytest.mark.parametrize(("size", "position"), [(-1, "long"), (1, "short"), ("-0.5", "long"), ("0.5", "short")])
def test_the_sign_tells_the_position_as_far_as_is_known(size, position):
    one = event(message([row(size=size)]))
    assert (one.position, one.position_proved) == (position, False)
    assert one.quantity > 0


@pytest.mark.parametrize(
    ("time", "read", "completeness"),
    [
        (1_787_183_999_999, 1_787_183_999_999, "sampled"),
        (1_787_184_000_000, 1_787_184_000_000, "full"),
        (1_787_184_000, 1_787_184_000_000, "full"),
        (1_787_183_999, 1_787_183_999_000, "sampled"),
    ],
)
def test_the_time_is_in_either_unit_and_tells_what_the_channel_showed(time, read, completeness):
    one = event(message([row(time=time)]))
    assert (one.event_time, one.completeness) == (read, completeness)


@pytest.mark.parametrize("time", [0, -1, 17_871_840, 1_787_184_000_000_000, 1.5, True, "1787184000.5"])
def test_any_other_time_is_refused(time):
    assert reason(message([row(time=time)])) == "bad_time"


def test_one_row_stands_for_a_list_of_one():
    assert event(message(row())) == event(message([row()]))


@pytest.mark.parametrize(
    "change",
    [{"size": 500}, {"size": -501}, {"time": 1_790_000_000_124}, {"price": "64001"}, {"contract": "HEI_USDT"}],
)
def test_the_id_is_made_of_all_that_a_row_says(change):
    first, other = mapped(message([row(), row(**change)]))
    again = event(message([row(size="-500.0", price=64000.5)]))
    assert again.event_id == first.event_id != other.event_id


def test_equal_rows_of_one_list_are_two_orders():
    first, second = mapped(message([row(), row()]))
    assert first.event_id != second.event_id
    other_list = [one.event_id for one in mapped(message([row(contract="HEI_USDT"), row(), row()]))]
    assert other_list[1:] == [first.event_id, second.event_id]


def test_the_inverse_contract_needs_no_metadata_and_the_quanto_ones_are_refused():
    one = event(message([row(contract="BTC_USD", size=-3200, price="64000")]), {})
    assert (one.instrument, one.margin, one.quantity, one.notional_micros) == (
        "BTC-USD-PERP",
        "inverse",
        0.05,
        3_200_000_000,
    )
    assert reason(message([row(contract="ETH_USD")]), {}) == "unsupported_margin"


@pytest.mark.parametrize("symbol", ["BTC", "_USDT", "BTC_", "BTC_EUR", "BTC_USDT_20200814", "BTC-USDT"])
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message([row(contract=symbol)])) == "unknown_symbol"


values = st.one_of(
    st.sampled_from(["1", "0", "-1", "1e99", "-1e-99", "BTC_USDT", "BTC_USD", "update", 1_790_000_000]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["size", "contract"]), st.text(max_size=3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(row())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["channel", "event", "result"]), values, max_size=1),
)
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message([row(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)
