"""Bybit's liquidated positions: the word's meaning, frames of several rows, both topics, inverse contracts."""

import orjson
import pytest

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_791_565_601_500_000


def row(**changes):
    fields = {"T": 1791565600992, "s": "BTCUSDT", "S": "Buy", "v": "0.006", "p": "82396.90"}
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def message(*rows):
    return {"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": 1791565601482, "data": list(rows)}


def old(**changes):
    data = {"updatedTime": 1703485237953, "symbol": "BTCUSDT", "side": "Sell", "size": "0.003", "price": "43511.70"}
    data.update(changes)
    data = {key: value for key, value in data.items() if value is not ...}
    return {"topic": "liquidation.BTCUSDT", "type": "snapshot", "ts": 1703485237953, "data": data}


def mapped(document, instruments=None):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return list(map_frame(Frame("bybit", "linear", "a/1", 0, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document):
    (one,) = mapped(document)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_row():
    one = event(message(row()))
    assert (one.exchange, one.symbol, one.instrument, one.asset) == ("bybit", "BTCUSDT", "BTC-USDT-PERP", "BTC")
    assert one.position == "long", "Buy is the side of the position"
    assert (one.price, one.price_kind, one.order_price) == (82396.9, "bankruptcy", None)
    assert (one.quantity, one.notional_micros) == (0.006, 494_381_400)
    assert (one.event_time, one.event_time_kind) == (1791565600992, "exchange")
    assert (one.completeness, one.received_time) == ("full", RECEIVED_US)


def test_sell_is_a_liquidated_short():
    assert event(message(row(S="Sell"))).position == "short"


@pytest.mark.parametrize("word", ["buy", "SELL", "Long", "", None, 2])
def test_a_word_outside_the_rule_is_refused(word):
    assert reason(message(row(S=word))) in {"unknown_word", "missing_field"}


def test_every_row_of_a_frame():
    rows = mapped(message(row(), row(T=1791565601058, v="0.038", p="82394.30"), row(S="Sell")))
    assert [one.source.index for one in rows] == [0, 1, 2]
    assert [one.position for one in rows] == ["long", "long", "short"]
    assert len({one.event_id for one in rows}) == 3


def test_equal_rows_of_one_frame_are_two_positions_and_the_frame_seen_again_is_the_same_two():
    first, second, third = mapped(message(row(), row(), row(v="0.0060")))
    assert len({first.event_id, second.event_id, third.event_id}) == 3
    other_batch = mapped(message(row(s="ETHUSDT"), row(), row(v="1"), row(), row()))
    assert {first.event_id, second.event_id, third.event_id} <= {one.event_id for one in other_batch}


def test_a_bad_row_does_not_take_its_neighbours_along():
    first, bad, last = mapped(message(row(), row(p="-1"), row(v="7")))
    assert (bad.reason, bad.index) == ("bad_number", 1)
    assert (first.quantity, last.quantity, last.source.index) == (0.006, 7, 2)


@pytest.mark.parametrize("field", ["T", "s", "S", "v", "p"])
def test_a_missing_field_is_refused(field):
    assert reason(message(row(**{field: ...}))) == "missing_field"


def test_the_old_topic_shows_a_sample():
    one = event(old())
    assert (one.position, one.completeness, one.price_kind) == ("short", "sampled", "bankruptcy")
    assert (one.quantity, one.notional_micros, one.event_time) == (0.003, 130_535_100, 1703485237953)


def test_the_first_form_of_the_old_topic():
    assert event(old(size=..., updatedTime=..., qty="0.003", time=1703485237953)) == event(old())


def test_both_topics_name_the_same_event():
    new = row(T=1703485237953, S="Sell", v="0.003", p="43511.7")
    assert event(message(new)).event_id == event(old()).event_id


def test_inverse_contracts_count_dollars():
    one = event(message(row(s="BTCUSD", v="500", p="50000")))
    assert (one.instrument, one.margin, one.quote) == ("BTC-USD-PERP", "inverse", "USD")
    assert (one.notional_micros, one.quantity) == (500_000_000, 0.01)


@pytest.mark.parametrize(
    ("symbol", "instrument", "margin"),
    [
        ("BTCPERP", "BTC-USDC-PERP", "linear"),
        ("BTCUSDT-21FEB25", "BTC-USDT-20250221", "linear"),
        ("BTC-26DEC25", "BTC-USDC-20251226", "linear"),
        ("BTCUSDH25", "BTC-USD-2025-03", "inverse"),
        ("BTCUSDZ25", "BTC-USD-2025-12", "inverse"),
        ("PERPUSDT", "PERP-USDT-PERP", "linear"),
        ("1000PEPEUSDT", "PEPE-USDT-PERP", "linear"),
        ("10000SATSUSDT", "SATS-USDT-PERP", "linear"),
        ("SHIB1000PERP", "SHIB-USDC-PERP", "linear"),
    ],
)
def test_documented_names(symbol, instrument, margin):
    one = event(message(row(s=symbol)))
    assert (one.instrument, one.margin) == (instrument, margin)


def test_the_factor_may_stand_behind_the_name():
    one = event(message(row(s="SHIB1000USDT", v="5", p="0.012")))
    assert (one.asset, one.quantity, one.price, one.notional_micros) == ("SHIB", 5000, 0.000012, 60_000)


@pytest.mark.parametrize("symbol", ["PERP", "USDT", "BTC-31FEB25", "BTC-2XFEB25", "BTCEUR", "BTCUSDA25", "-", "BTC-"])
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message(row(s=symbol))) == "unknown_symbol"


def test_metadata_gives_the_expiry_that_a_name_does_not():
    table = {
        ("bybit", "BTCUSDH25"): Instrument(
            "bybit", "BTCUSDH25", "BTC-USD-20250328", "BTC", "USD", "BTC", "inverse", "2025-03-28"
        )
    }
    one = event(message(row(s="BTCUSDH25", v="10", p="100000")), table)
    assert (one.instrument, one.notional_micros, one.quantity) == ("BTC-USD-20250328", 10_000_000, 0.0001)


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "ret_msg": "", "conn_id": "3cd8", "req_id": "1", "op": "subscribe"},
        {"success": True, "ret_msg": "pong", "op": "ping"},
        {"op": "pong", "args": ["1"]},
        {"topic": "publicTrade.BTCUSDT", "data": [{}]},
        {"topic": "kline.5.BTCUSDT", "data": [{}]},
        {"retCode": 0, "result": {"timeSecond": "1"}, "time": 1791269771665},
        {"topic": "allLiquidation.BTCUSDT", "data": []},
    ],
)
def test_what_is_no_liquidation_maps_to_nothing(document):
    assert mapped(document) == []


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"pong", "bad_json"),
        (b"[]", "unexpected_message"),
        (b"{}", "unexpected_message"),
        (b'{"topic":7}', "unknown_word"),
        (b'{"topic":"allLiquidation.X"}', "missing_field"),
        (b'{"topic":"allLiquidation.X","data":{}}', "unexpected_message"),
        (b'{"topic":"allLiquidation.X","data":[3]}', "unexpected_message"),
        (b'{"topic":"liquidation.X"}', "missing_field"),
    ],
)
def test_a_message_of_no_known_form_is_refused(payload, expected):
    assert reason(payload) == expected
