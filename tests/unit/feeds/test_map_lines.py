"""Lines in, lines out: frames and bare messages become events and refusals; instruments are read and checked."""

from dataclasses import fields

import orjson
import pytest

from pipeline.feeds.frame_lines import frame_of_line, line_of_frame
from pipeline.feeds.map_lines import map_lines, read_instruments
from pipeline.records import Frame, Liquidation, RefusedError, Source

ORDER = (
    b'{"e":"forceOrder","E":1791391083124,"o":{"s":"ILVUSDT","S":"SELL","q":"116.5","p":"3.803","ap":"3.85642",'
    b'"X":"FILLED","l":"25.2","z":"116.5","T":1791391082119}}'
)
OKX = (
    b'{"arg":{"channel":"liquidation-orders"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP","details":['
    b'{"posSide":"net","side":"buy","sz":"2","bkPx":"50000","ts":"1791565600771"}]}]}'
)
INSTRUMENT = {
    "exchange": "okx",
    "symbol": "BTC-USDT-SWAP",
    "instrument": "BTC-USDT-PERP",
    "asset": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "margin": "linear",
    "contract_size": 0.01,
}


def run(exchange, *lines, instruments=()):
    table = read_instruments([orjson.dumps(instrument) for instrument in instruments])
    return [orjson.loads(text) for text in map_lines(exchange, lines, table)]


def test_an_event_has_the_records_field_names_and_units():
    (one,) = run("binance", ORDER)
    assert list(one) == [field.name for field in fields(Liquidation)]
    assert list(one["source"]) == [field.name for field in fields(Source)]
    assert len(bytes.fromhex(one["event_id"])) == 16
    assert (one["event_time"], one["received_time"]) == (1791391082119, 1791391083124000)
    assert (one["notional_micros"], one["price"], one["order_price"]) == (449272930, 3.85642, 3.803)
    assert one["source"] == {"channel": "messages", "connection": "map", "sequence": 0, "index": 0}


def test_refusals_name_the_reason_and_the_line():
    first, second = run("binance", ORDER, b"", b'{"result":null,"id":1}', ORDER.replace(b"SELL", b"HOLD"))
    assert first["symbol"] == "ILVUSDT"
    assert second["error"] == "unknown_word"
    assert "HOLD" in second["message"]
    assert second["line"] == 4


def test_what_is_no_json_is_refused():
    (one,) = run("binance", b"hello")
    assert one["error"] == "bad_json"
    assert run("okx", b"pong\n") == []


def test_a_frame_keeps_its_own_times_and_source():
    frame = Frame("binance", "!forceOrder@arr", "collector-1/4", 17, 1791391083500123, ORDER)
    (one,) = run("binance", line_of_frame(frame))
    assert one["received_time"] == 1791391083500123
    assert one["source"] == {"channel": "!forceOrder@arr", "connection": "collector-1/4", "sequence": 17, "index": 0}
    (bare,) = run("binance", ORDER)
    assert bare["event_id"] == one["event_id"]


def test_a_frame_of_another_exchange_is_refused():
    frame = Frame("bybit", "linear", "c", 0, 1791391083500123, b"{}")
    (one,) = run("binance", line_of_frame(frame))
    assert one["error"] == "other_exchange"


def test_a_broken_frame_is_refused():
    broken = orjson.loads(line_of_frame(Frame("binance", "x", "c", 0, 1791391083500123, ORDER))) | {"sequence": "1"}
    (one,) = run("binance", orjson.dumps(broken))
    assert one["error"] == "bad_number"


def test_without_a_push_time_the_event_was_received_when_it_happened():
    (one,) = run("okx", OKX, instruments=[INSTRUMENT])
    assert (one["event_time"], one["received_time"]) == (1791565600771, 1791565600771000)
    (wrapped,) = run("binance", b'{"stream":"x","data":' + ORDER + b"}")
    assert wrapped["received_time"] == 1791391083124000
    (listed,) = run("binance", b"[" + ORDER.replace(b'"E":1791391083124,', b"") + b"]")
    assert listed["received_time"] == 1791391082119000


def test_an_order_that_is_younger_than_what_pushed_it_is_mapped():
    """HTX's own example: what its `ts` means is not documented."""
    line = (
        b'{"op":"notify","topic":"public.BTC-USDT.liquidation_orders","ts":1580815422403,"data":[{"contract_code":'
        b'"BTC-USDT","symbol":"BTC","direction":"sell","offset":"close","volume":624,"price":16701.4,"created_at":'
        b'1606380004694,"amount":0.624,"trade_turnover":10421.6736}]}'
    )
    [event] = map(orjson.loads, map_lines("htx", [line], {}))
    assert event["received_time"] == 1000 * event["event_time"] == 1_606_380_004_694_000


def test_metadata_makes_the_difference():
    (one,) = run("okx", OKX)
    assert one["error"] == "unknown_contract_size"
    (one,) = run("okx", OKX, instruments=[INSTRUMENT])
    assert (one["position"], one["quantity"], one["notional_micros"]) == ("short", 0.02, 1_000_000_000)


def test_an_unknown_exchange_is_refused_before_any_line_is_read():
    def lines():
        raise AssertionError
        yield b""

    with pytest.raises(RefusedError, match="known are"):
        map_lines("mtgox", lines(), {})


def test_instruments_are_found_by_exchange_and_symbol():
    table = read_instruments([b"\n", orjson.dumps(INSTRUMENT), orjson.dumps(INSTRUMENT), b"  "])
    assert list(table) == [("okx", "BTC-USDT-SWAP")]
    one = table["okx", "BTC-USDT-SWAP"]
    assert (one.contract_size, one.asset_multiplier, one.expiry) == (0.01, 1.0, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contract_size": 0}, "contract_size is 0"),
        ({"contract_size": -1}, "contract_size"),
        ({"contract_size": "many"}, "contract_size"),
        ({"asset_multiplier": 0}, "asset_multiplier"),
        ({"margin": "cross"}, "margin"),
        ({"symbol": ""}, "must not be empty"),
        ({"expiry": "soon"}, "expiry"),
        ({"tick_size": 0.1}, "tick_size"),
        ({"asset": None}, "asset"),
    ],
)
def test_an_impossible_instrument_is_refused_by_its_line(change, said):
    with pytest.raises(RefusedError, match=rf"line 2: .*{said}") as refusal:
        read_instruments([orjson.dumps(INSTRUMENT), orjson.dumps(INSTRUMENT | {"symbol": "OTHER"} | change)])
    assert refusal.value.reason == "bad_instruments"


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b"{}", b'{"exchange":"okx"}'])
def test_a_line_that_is_no_instrument_is_refused(line):
    with pytest.raises(RefusedError, match=r"line 1: ."):
        read_instruments([line])


def test_two_descriptions_of_one_contract_are_refused():
    lines = [orjson.dumps(INSTRUMENT), orjson.dumps(INSTRUMENT | {"contract_size": 0.1})]
    with pytest.raises(RefusedError, match="line 2: BTC-USDT-SWAP of okx is described twice"):
        read_instruments(lines)


@pytest.mark.parametrize("payload", [ORDER, b"\x00\xff", b"", "牛来".encode(), b'with "quotes"\nand lines'])
def test_a_frame_survives_its_line(payload):
    frame = Frame("okx", "liquidation-orders", "c/1", 2**62, 1791391083500123, payload)
    line = line_of_frame(frame)
    assert line.count(b"\n") == 1
    assert frame_of_line(line) == frame
