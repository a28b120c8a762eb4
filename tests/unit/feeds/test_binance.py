"""Binance's forced orders: side, size, price, market and what is no event."""

import orjson
import pytest

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_791_391_083_500_000
COIN_M = {
    ("binance", "BTCUSD_PERP"): Instrument(
        "binance", "BTCUSD_PERP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0
    )
}


def order(**changes):
    fields = {
        "s": "ILVUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "116.5",
        "p": "3.80300",
        "ap": "3.85642",
        "X": "FILLED",
        "l": "25.2",
        "z": "116.5",
        "T": 1791391082119,
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(**changes):
    return {"e": "forceOrder", "E": 1791391083124, "o": order(**changes)}


def mapped(document, instruments=None, sequence=7):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    frame = Frame("binance", "!forceOrder@arr", "a/1", sequence, RECEIVED_US, payload)
    return list(map_frame(frame, instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    assert one.message
    return one.reason


def test_every_field_of_an_order():
    one = event(message())
    assert (one.exchange, one.symbol, one.instrument) == ("binance", "ILVUSDT", "ILV-USDT-PERP")
    assert (one.asset, one.quote, one.margin) == ("ILV", "USDT", "linear")
    assert one.position == "long"
    assert (one.price, one.price_kind, one.order_price) == (3.85642, "average_fill", 3.803)
    assert one.quantity == 116.5, "the filled quantity z, not the last fill l"
    assert one.notional_micros == 449_272_930
    assert (one.event_time, one.event_time_kind) == (1791391082119, "exchange")
    assert one.received_time == RECEIVED_US
    assert one.completeness == "sampled"
    assert (one.source.channel, one.source.connection) == ("!forceOrder@arr", "a/1")
    assert (one.source.sequence, one.source.index) == (7, 0)
    assert len(one.event_id) == 16


def test_buy_closes_a_short():
    assert event(message(S="BUY")).position == "short"


@pytest.mark.parametrize("word", ["sell", "Buy", "LONG", "", None, 1, ["SELL"]])
def test_a_word_outside_the_rule_is_refused(word):
    assert reason(message(S=word)) in {"unknown_word", "missing_field"}


@pytest.mark.parametrize("absent", [..., None, "", "0", "0.000", 0])
def test_without_an_average_the_order_price_is_used_and_said(absent):
    one = event(message(ap=absent))
    assert (one.price, one.price_kind, one.order_price) == (3.803, "order", None)
    assert one.notional_micros == 443_049_500


def test_an_average_without_an_order_price():
    one = event(message(p=...))
    assert (one.price, one.price_kind, one.order_price) == (3.85642, "average_fill", None)


def test_without_any_price_it_is_refused():
    assert reason(message(ap="0", p="0")) == "missing_field"


@pytest.mark.parametrize("absent", [..., None, ""])
def test_without_a_filled_quantity_the_original_one_is_used(absent):
    assert event(message(z=absent, q="3")).quantity == 3


@pytest.mark.parametrize(
    "number", ["abc", "NaN", "Infinity", "-1", "1_0", " 1", "1e999", "٣", "9" * 70, True, [], {}, "0x1", "0"]
)
def test_a_quantity_that_is_no_positive_number_is_refused(number):
    assert reason(message(z=number)) == "bad_number"


@pytest.mark.parametrize("number", ["abc", "NaN", "-3.8", True])
def test_an_average_price_that_is_no_number_is_refused_not_replaced(number):
    assert reason(message(ap=number)) == "bad_number"


def test_numbers_may_be_json_numbers():
    one = event(message(z=116.5, ap=3.85642, p=3.803, q=116.5))
    assert one == event(message())


@pytest.mark.parametrize("time", ["soon", 1791391082, 1791391082119000, 17.5, None, True, -1])
def test_a_time_that_is_not_in_milliseconds_is_refused(time):
    assert reason(message(T=time)) in {"bad_time", "missing_field"}


@pytest.mark.parametrize("status", ["NEW", "CANCELED", "EXPIRED", "NEW_INSURANCE"])
def test_an_order_that_closed_nothing_is_no_event(status):
    assert mapped(message(X=status)) == []


@pytest.mark.parametrize("status", [1, True, [], {}])
def test_a_status_that_is_no_word_is_refused(status):
    assert reason(message(X=status)) == "unknown_word"


def test_a_part_fill_and_an_order_without_status_are_events():
    assert event(message(X="PARTIALLY_FILLED")) == event(message(X=...)) == event(message())


def test_wrapped_bare_and_listed_are_the_same_order():
    bare = event(message())
    assert event({"stream": "!forceOrder@arr", "data": message()}) == bare
    assert event([message()]) == bare
    assert event({"stream": "!forceOrder@arr", "data": [message()]}) == bare


def test_one_bad_row_of_a_list_does_not_take_its_neighbours_along():
    rows = [message(), message(S="HOLD"), 5, message(s="XRPUSDT")]
    first, second, third, fourth = mapped(rows)
    assert (first.symbol, fourth.symbol) == ("ILVUSDT", "XRPUSDT")
    assert (second.reason, second.index) == ("unknown_word", 1)
    assert (third.reason, third.index) == ("unexpected_message", 2)
    assert fourth.source.index == 3
    assert second.payload == orjson.dumps(rows)
    assert second.dead_letter_id != third.dead_letter_id


@pytest.mark.parametrize(
    "document",
    [
        {"result": None, "id": 1},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
        {"e": "aggTrade", "s": "BTCUSDT"},
        {"stream": "btcusdt@kline_5m", "data": {"e": "kline", "s": "BTCUSDT", "k": {"i": "5m"}}},
        {"serverTime": 1791269771665},
        {"timezone": "UTC", "symbols": []},
        [],
    ],
)
def test_what_is_no_forced_order_maps_to_nothing(document):
    assert mapped(document) == []


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'\xff\xfe{"e":1}', "bad_json"),
        (b"17", "unexpected_message"),
        (b"null", "missing_field"),
        (b'"forceOrder"', "unexpected_message"),
        (b"{}", "unexpected_message"),
        (b'{"stream":"x"}', "missing_field"),
        (b'{"e":"forceOrder"}', "missing_field"),
        (b'{"e":"forceOrder","o":[]}', "unexpected_message"),
    ],
)
def test_a_message_of_no_known_form_is_refused(payload, expected):
    assert reason(payload) == expected


@pytest.mark.parametrize("field", ["s", "S", "T"])
def test_a_missing_field_is_named(field):
    (letter,) = mapped(message(**{field: ...}))
    assert (letter.reason, letter.stage, letter.exchange) == ("missing_field", "mapping", "binance")
    assert field in letter.message


def test_names_in_any_script():
    one = event(message(s="牛来USDT"))
    assert (one.symbol, one.asset, one.instrument) == ("牛来USDT", "牛来", "牛来-USDT-PERP")


def test_a_multiplied_listing_is_counted_in_the_coin_itself():
    one = event(message(s="1000PEPEUSDT", z="43942", ap="0.0109313", p="0.0107751"))
    assert (one.asset, one.instrument) == ("PEPE", "PEPE-USDT-PERP")
    assert one.quantity == 43_942_000
    assert one.price == pytest.approx(0.0000109313, rel=1e-15)
    assert one.order_price == pytest.approx(0.0000107751, rel=1e-15)
    assert one.notional_micros == 480_343_185, "43942 x 0.0109313 = 480.3431846, whatever the unit"


@pytest.mark.parametrize(("symbol", "asset"), [("1INCHUSDT", "1INCH"), ("0GUSDT", "0G"), ("4USDT", "4")])
def test_a_digit_in_front_is_not_always_a_factor(symbol, asset):
    assert event(message(s=symbol)).asset == asset


def test_a_dated_contract_is_another_instrument():
    one = event(message(s="BTCUSDT_251226"))
    assert (one.instrument, one.margin) == ("BTC-USDT-20251226", "linear")


@pytest.mark.parametrize(
    "symbol", ["ETHBTC", "USDT", "btcusdt", "BTCUSDT_259926", "BTC USDT", "BTCUSDT_PERP", "X" * 80]
)
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message(s=symbol)) == "unknown_symbol"


def test_contracts_without_a_known_size_are_refused():
    assert reason(message(s="BTCUSD_PERP")) == "unknown_contract_size"
    assert reason(message(s="BTCUSD_200925", st=2)) == "unknown_contract_size"
    assert reason(message(s="BNBUSD_PERP")) == "unknown_contract_size", "not AR-like BN quoted in BUSD"


@pytest.mark.parametrize("market", [{}, {"st": 2}, {"st": "2"}])
def test_inverse_contracts_with_a_known_size(market):
    one = event(message(s="BTCUSD_PERP", z="3", ap="60000", p="59500", **market), COIN_M)
    assert (one.margin, one.instrument, one.quote) == ("inverse", "BTC-USD-PERP", "USD")
    assert one.notional_micros == 300_000_000
    assert one.quantity == 0.005
    assert (one.price, one.order_price) == (60000, 59500)


def test_the_market_may_stand_beside_the_order():
    beside = message(s="BTCUSD_PERP", z="3", ap="60000") | {"st": 2, "ps": "BTCUSD"}
    assert event(beside, COIN_M) == event(message(s="BTCUSD_PERP", z="3", ap="60000", st=2), COIN_M)


def test_coin_margined_by_word_but_linear_by_name_is_refused():
    assert reason(message(st=2)) == "unknown_market"
    assert reason(message(st=3)) == "unknown_market"
    assert reason(message() | {"st": 2}) == "unknown_market", "beside the order"
    assert event(message(st=1)) == event(message() | {"st": 1}) == event(message())


def test_metadata_goes_before_the_name():
    table = {
        ("binance", "ILVUSDT"): Instrument(
            "binance", "ILVUSDT", "LV-USDT-PERP", "LV", "USDT", "USDT", "linear", asset_multiplier=10.0
        )
    }
    one = event(message(), table)
    assert (one.asset, one.instrument, one.quantity) == ("LV", "LV-USDT-PERP", 1165)
    assert one.notional_micros == 449_272_930


def test_quanto_contracts_are_refused():
    table = {("binance", "X"): Instrument("binance", "X", "X-USD-PERP", "X", "USD", "BTC", "quanto", contract_size=1.0)}
    assert reason(message(s="X"), table) == "unsupported_margin"


def test_the_value_is_exact_and_rounded_half_to_even():
    assert event(message(z="0.5", ap="0.000001")).notional_micros == 0
    assert event(message(z="1.5", ap="0.000001")).notional_micros == 2
    assert event(message(z="2.5", ap="0.000001")).notional_micros == 2
    # 40 digits: a product cut to 28 of them would round the other way.
    assert event(message(z="1.00000000000000000000000000000000001", ap="0.0000005")).notional_micros == 1


def test_more_money_than_fits_is_refused():
    assert reason(message(z="9223372036855", ap="1")) == "bad_number"
    assert event(message(z="9223372036854", ap="1")).notional_micros == 9_223_372_036_854_000_000


def test_an_order_seen_again_has_the_same_id_and_another_order_has_not():
    one = event(message())
    again = mapped({"stream": "ilvusdt@forceOrder", "data": message(z="116.50", ap="3.856420")}, sequence=900)[0]
    assert again.event_id == one.event_id
    others = [
        event(message(**change))
        for change in ({"T": 1791391082120}, {"z": "116.4"}, {"ap": "3.85643"}, {"S": "BUY"}, {"s": "ILUSDT"})
    ]
    ids = {one.event_id, *(other.event_id for other in others)}
    assert len(ids) == 6
