"""Pacifica's trade tape: which trades are forced, what the taker did, the two prices, names with small letters."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation, identity

RECEIVED_US = 1_790_000_002_000_000


def trade(**changes):
    fields = {
        "h": 80_062_522,
        "s": "BTC",
        "a": "0.00036",
        "p": "89477",
        "d": "close_short",
        "tc": "market_liquidation",
        "t": 1_790_000_000_123,
        "li": 1_559_885_104,
        "it": 0,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*trades, **changes):
    return {"channel": "trades", "data": list(trades)} | changes


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(map_frame(Frame("pacifica", "trades", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_trade():
    one = event(message(trade()))
    assert (one.exchange, one.symbol, one.instrument) == ("pacifica", "BTC", "BTC-USDC-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USDC", "linear")
    assert one.position == "short", "the liquidated taker closed a short"
    assert (one.price, one.price_kind, one.order_price) == (89477, "fill", None)
    assert (one.quantity, one.notional_micros) == (0.00036, 32_211_720), "0.00036 x 89477 = 32.21172 USD"
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness, one.position_proved) == (RECEIVED_US, "full", True)
    assert (one.source.channel, one.source.connection) == ("trades", "a/1")
    assert (one.source.sequence, one.source.index) == (7, 0)
    assert one.event_id == identity("pacifica", "BTC", 80_062_522)


@pytest.mark.parametrize(("side", "position"), [("close_long", "long"), ("close_short", "short")])
@pytest.mark.parametrize(("cause", "price_kind"), [("market_liquidation", "fill"), ("backstop_liquidation", "unknown")])
def test_both_positions_and_both_ways_of_closing_them(side, position, cause, price_kind):
    one = event(message(trade(d=side, tc=cause)))
    assert (one.position, one.price_kind) == (position, price_kind)


@pytest.mark.parametrize("cause", ["market_liquidation", "backstop_liquidation"])
@pytest.mark.parametrize("side", ["open_long", "open_short"])
def test_no_liquidation_opens_a_position(cause, side):
    assert reason(message(trade(d=side, tc=cause))) == "contradictory_position"


@pytest.mark.parametrize("side", ["close_long", "close_short", "open_long", "open_short"])
@pytest.mark.parametrize("cause", ["normal", "settlement"])
def test_other_trades_are_none_and_are_not_read_further(cause, side):
    assert mapped(message(trade(d=side, tc=cause), {"tc": cause})) == []


@pytest.mark.parametrize("word", ["adl_liquidation", "insolvency_liquidation", "Normal", "NORMAL", 7, []])
def test_a_cause_that_is_not_documented_is_refused(word):
    assert reason(message(trade(tc=word))) == "unknown_word"


@pytest.mark.parametrize("word", ["bid", "ask", "close", "CLOSE_LONG", "long", 1, True, ["close_long"], {}])
def test_a_side_that_is_not_documented_is_refused(word):
    assert reason(message(trade(d=word))) == "unknown_word"


def test_a_bad_row_takes_none_of_its_neighbours_along():
    first, bad, last = mapped(message(trade(tc="normal"), trade(), trade(p="x"), trade(h=2, d="close_long")))
    assert (first.source.index, bad.index, last.source.index) == (1, 2, 3)
    assert (first.position, bad.reason, last.position) == ("short", "bad_number", "long")


@pytest.mark.parametrize("name", ["h", "s", "a", "p", "d", "tc", "t"])
@pytest.mark.parametrize("value", [..., None])
def test_every_field_must_be_there(name, value):
    assert reason(message(trade(**{name: value}))) == "missing_field"


@pytest.mark.parametrize("name", ["li", "it"])
def test_fields_that_are_not_used_may_be_missing(name):
    assert event(message(trade(**{name: ...})))


@pytest.mark.parametrize("name", ["a", "p"])
@pytest.mark.parametrize("value", ["0", 0, "-1", -1, "x", "NaN", "Infinity", True, [], {}, "1,5", "1e999"])
def test_a_size_or_price_that_is_none_is_refused(name, value):
    assert reason(message(trade(**{name: value}))) == "bad_number"


def test_text_and_json_numbers_are_the_same_event():
    text, number = mapped(message(trade(), trade(a=0.00036, p=89477)))
    assert (text.price, text.quantity, text.notional_micros) == (number.price, number.quantity, number.notional_micros)
    assert text.event_id == number.event_id


@pytest.mark.parametrize("value", ["x", "", -1, True, 1.5, 1_790_000_000, 1_790_000_000_123_000, []])
def test_a_time_that_is_not_in_milliseconds_is_refused(value):
    assert reason(message(trade(t=value))) in ("bad_time", "missing_field")


def test_the_future_is_refused():
    assert reason(message(trade(t=1_790_000_000_123 + 24 * 3_600_000))) == "time_in_future"


@pytest.mark.parametrize("value", ["80062522", -1, True, 1.5, []])
def test_an_id_that_is_no_whole_number_is_refused(value):
    assert reason(message(trade(h=value))) == "bad_number"


def test_the_id_is_that_of_the_trade_whatever_else_the_row_says():
    first, again, other_id, other_market = mapped(
        message(trade(), trade(li=1, it=1, t=1_790_000_000_124), trade(h=80_062_524), trade(s="ETH"))
    )
    assert first.event_id == again.event_id
    assert len({first.event_id, other_id.event_id, other_market.event_id}) == 3


@pytest.mark.parametrize(
    ("symbol", "asset", "multiplier"),
    [("kPEPE", "PEPE", 1000), ("kBONK", "BONK", 1000), ("KPEPE", "KPEPE", 1), ("2Z", "2Z", 1), ("牛来", "牛来", 1)],
)
def test_names_without_metadata(symbol, asset, multiplier):
    one = event(message(trade(s=symbol, a="5000", p="0.012")))
    assert (one.symbol, one.asset, one.instrument) == (symbol, asset, f"{asset}-USDC-PERP")
    assert (one.quantity, one.notional_micros) == (5000 * multiplier, 60_000_000)
    assert one.price == pytest.approx(0.012 / multiplier, rel=1e-15)


@pytest.mark.parametrize("symbol", ["btc", "Btc", "kFLOKI", "BTC-USDC", "BT C", "1kPEPE", "X" * 65])
def test_a_name_of_no_documented_form_is_refused(symbol):
    assert reason(message(trade(s=symbol))) == "unknown_symbol"


def test_metadata_goes_before_the_name():
    table = {("pacifica", "BTC"): Instrument("pacifica", "BTC", "X-USDC-PERP", "X", "USDC", "USDC", "linear")}
    assert event(message(trade()), table).instrument == "X-USDC-PERP"


def test_the_old_layout_with_both_sides_of_a_trade_is_refused():
    old = {"a": "0.16", "d": "close_long", "e": "fulfill_maker", "p": "157.43", "s": "SOL", "t": 1_749_052_438_829}
    assert reason(message(old | {"tc": "market_liquidation", "u": "C1obSQwr"})) == "missing_field"


@pytest.mark.parametrize(
    "document",
    [
        {"channel": "subscribe", "data": {"source": "trades", "symbol": "BTC"}},
        {"channel": "unsubscribe", "data": {"source": "trades", "symbol": "BTC"}},
        {"channel": "pong"},
        {"channel": "bbo", "data": {"s": "BTC"}},
        {"error": "Symbol not found"},
        {"code": 400, "err": "Invalid subscription parameters.", "t": 1_790_585_634_106},
        message(),
    ],
)
def test_what_maps_to_nothing(document):
    assert mapped(document) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"pong", "bad_json"),
        ([], "unexpected_message"),
        ({"data": []}, "missing_field"),
        ({"channel": 7}, "unknown_word"),
        ({"channel": "trades"}, "missing_field"),
        (message(data={}), "unexpected_message"),
        (message("BTC"), "unexpected_message"),
        ({"channel": "trades", "error": "no"}, "missing_field"),
    ],
)
def test_a_message_of_no_known_form_is_refused(document, expected):
    assert reason(document) == expected


values = st.one_of(
    st.sampled_from(["close_long", "open_short", "market_liquidation", "normal", "BTC", "kPEPE", "1", "0", "1e99"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["tc", "d"]), st.text(max_size=3), max_size=2),
)


@given(
    changes=st.lists(st.dictionaries(st.sampled_from(sorted(trade())), values, max_size=2), max_size=3),
    around=st.dictionaries(st.sampled_from(["channel", "data", "error"]), values, max_size=1),
)
@example(changes=[{"s": "ß"}], around={})
def test_rubbish_is_refused_never_raised(changes, around):
    found = mapped(message(*[trade(**change) for change in changes], **around))
    assert all(isinstance(one, Liquidation | DeadLetter) for one in found)
    assert len(found) <= max(1, len(changes))
