"""OKX's liquidation orders: both words for the position, several details, contracts of a known size only."""

import orjson
import pytest

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_791_565_601_500_000


def instrument(symbol, asset, quote, margin, size, name=None):
    settle = asset if margin == "inverse" else quote
    made = Instrument("okx", symbol, name or f"{asset}-{quote}-PERP", asset, quote, settle, margin, contract_size=size)
    return {("okx", symbol): made}


TABLE = {
    **instrument("BTC-USDT-SWAP", "BTC", "USDT", "linear", 0.01),
    **instrument("BTC-USD-SWAP", "BTC", "USD", "inverse", 100.0),
    **instrument("XRP-USD-230929", "XRP", "USD", "inverse", 10.0, "XRP-USD-20230929"),
}


def detail(**changes):
    fields = {"bkLoss": "0", "bkPx": "82655.7", "ccy": "", "posSide": "long", "side": "sell", "sz": "8.55"}
    fields["ts"] = "1791565600771"
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def entry(*details, symbol="BTC-USDT-SWAP", kind="SWAP"):
    return {"details": list(details), "instFamily": "BTC-USDT", "instId": symbol, "instType": kind, "uly": "BTC-USDT"}


def message(*entries):
    return {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": list(entries)}


def mapped(document, instruments=TABLE):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return list(map_frame(Frame("okx", "liquidation-orders", "a/1", 0, RECEIVED_US, payload), instruments))


def event(document, instruments=TABLE):
    (one,) = mapped(document, instruments)
    assert isinstance(one, Liquidation), one
    return one


def reason(document, instruments=TABLE):
    (one,) = mapped(document, instruments)
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_row():
    one = event(message(entry(detail())))
    assert (one.symbol, one.instrument, one.asset) == ("BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC")
    assert (one.position, one.margin) == ("long", "linear")
    assert (one.price, one.price_kind, one.order_price) == (82655.7, "bankruptcy", None)
    assert one.quantity == 0.0855
    assert one.notional_micros == 7_067_062_350
    assert (one.event_time, one.event_time_kind) == (1791565600771, "exchange")
    assert (one.completeness, one.received_time) == ("sampled", RECEIVED_US)


@pytest.mark.parametrize(
    ("words", "position"),
    [
        (("long", "sell"), "long"),
        (("short", "buy"), "short"),
        (("net", "sell"), "long"),
        (("net", "buy"), "short"),
    ],
)
def test_the_position(words, position):
    assert event(message(entry(detail(posSide=words[0], side=words[1])))).position == position


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("long", "buy"), "contradictory_position"),
        (("short", "sell"), "contradictory_position"),
        (("LONG", "sell"), "unknown_word"),
        (("long", "Sell"), "unknown_word"),
        (("both", "sell"), "unknown_word"),
        ((None, "sell"), "missing_field"),
        (("net", ""), "missing_field"),
        ((7, "sell"), "unknown_word"),
        ((["net"], "sell"), "unknown_word"),
    ],
)
def test_words_outside_the_rule_are_refused(words, expected):
    assert reason(message(entry(detail(posSide=words[0], side=words[1])))) == expected


def test_every_detail_of_every_entry():
    document = message(
        entry(detail(), detail(sz="1", posSide="short", side="buy")),
        entry(detail(sz="2", bkPx="50000"), symbol="BTC-USD-SWAP"),
    )
    first, second, third = mapped(document)
    assert [one.source.index for one in (first, second, third)] == [0, 1, 2]
    assert (first.position, second.position) == ("long", "short")
    assert (third.symbol, third.margin) == ("BTC-USD-SWAP", "inverse")


def test_a_bad_detail_does_not_take_its_neighbours_along():
    document = message(entry(detail(), detail(sz="x"), 5), {"instType": "SWAP"}, 7, entry(detail(sz="3")))
    mapped_rows = mapped(document)
    assert [getattr(one, "reason", "") for one in mapped_rows] == [
        "",
        "bad_number",
        "unexpected_message",
        "missing_field",
        "unexpected_message",
        "",
    ]
    assert mapped_rows[-1].quantity == 0.03
    assert mapped_rows[-1].source.index == 5


def test_inverse_contracts_count_dollars():
    one = event(message(entry(detail(sz="3", bkPx="50000"), symbol="BTC-USD-SWAP")))
    assert (one.notional_micros, one.quantity, one.instrument) == (300_000_000, 0.006, "BTC-USD-PERP")
    one = event(message(entry(detail(sz="5", bkPx="0.5"), symbol="XRP-USD-230929", kind="FUTURES")))
    assert (one.notional_micros, one.quantity, one.instrument) == (50_000_000, 100, "XRP-USD-20230929")


@pytest.mark.parametrize("symbol", ["BTC-USDT-SWAP", "BTC-USD-SWAP", "BTC-USDC-SWAP", "XRP-USD-230929"])
def test_contracts_without_a_known_size_are_refused(symbol):
    assert reason(message(entry(detail(), symbol=symbol)), {}) == "unknown_contract_size"


def test_metadata_without_the_size_is_no_metadata():
    table = instrument("BTC-USDT-SWAP", "BTC", "USDT", "linear", None)
    assert reason(message(entry(detail())), table) == "unknown_contract_size"


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTC-EUR-SWAP", "BTCUSDT", "-USDT-SWAP", "XRP-USD-231329", "A-B-C-D"])
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(message(entry(detail(), symbol=symbol)), {}) == "unknown_symbol"


@pytest.mark.parametrize("kind", ["MARGIN", "OPTION", "SPOT"])
def test_other_instrument_types_are_refused(kind):
    assert reason(message(entry(detail(), kind=kind))) == "unsupported_instrument_type"


@pytest.mark.parametrize("field", ["posSide", "side", "sz", "bkPx", "ts"])
def test_a_missing_field_is_refused(field):
    assert reason(message(entry(detail(**{field: ...})))) == "missing_field"


@pytest.mark.parametrize(
    "document",
    [
        b"pong",
        {"event": "subscribe", "arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "connId": "a4d3"},
        {"event": "error", "code": "60012", "msg": "Invalid request"},
        {"event": "notice", "code": "64008"},
        {"arg": {"channel": "trades"}, "data": [{}]},
        {"code": "0", "msg": "", "data": [{"ts": "1791269771665"}]},
        message(),
        message(entry()),
    ],
)
def test_what_is_no_liquidation_maps_to_nothing(document):
    assert mapped(document) == []


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"pongpong", "bad_json"),
        (b"{}", "missing_field"),
        (b"[1]", "unexpected_message"),
        (b'{"arg":3}', "unexpected_message"),
        (b'{"arg":{"channel":"liquidation-orders"}}', "missing_field"),
        (b'{"arg":{"channel":"liquidation-orders"},"data":{}}', "unexpected_message"),
    ],
)
def test_a_message_of_no_known_form_is_refused(payload, expected):
    assert reason(payload) == expected


def test_a_row_seen_again_has_the_same_id():
    first = event(message(entry(detail())))
    replayed = mapped(message(entry(detail(sz="1")), entry(detail(sz="8.550", ts=1791565600771))))[1]
    assert replayed.event_id == first.event_id
    changed = ({"ts": "1791565600772"}, {"sz": "8.56"}, {"bkPx": "82655.8"}, {"posSide": "net"})
    ids = {event(message(entry(detail(**change)))).event_id for change in changed}
    assert len(ids | {first.event_id}) == 5
