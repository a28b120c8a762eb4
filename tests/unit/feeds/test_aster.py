"""Aster's forced orders: Binance's shape, contracts and ids of its own."""

import orjson
import pytest

from pipeline.feeds import map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_000


def message(**changes):
    order = {
        "s": "BTCUSDT",
        "S": "SELL",
        "q": "0.014",
        "p": "9900",
        "ap": "9910",
        "X": "FILLED",
        "l": "0.004",
        "z": "0.014",
        "T": 1_790_000_000_893,
    }
    order.update(changes)
    return {"e": "forceOrder", "E": 1_790_000_001_000, "o": {k: v for k, v in order.items() if v is not ...}}


def mapped(document, instruments=None, exchange="aster"):
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return list(map_frame(Frame(exchange, "forceOrder", "a/1", 7, RECEIVED_US, payload), instruments or {}))


def event(document, instruments=None, exchange="aster"):
    (one,) = mapped(document, instruments, exchange)
    assert isinstance(one, Liquidation), one
    return one


def test_every_field_of_an_order():
    one = event(message())
    assert (one.exchange, one.symbol, one.instrument) == ("aster", "BTCUSDT", "BTC-USDT-PERP")
    assert (one.asset, one.quote, one.margin, one.position) == ("BTC", "USDT", "linear", "long")
    assert (one.price, one.price_kind, one.order_price) == (9910, "average_fill", 9900)
    assert (one.quantity, one.notional_micros) == (0.014, 138_740_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_893, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US, "sampled")


def test_the_recorded_message(shared_dir):
    one = event((shared_dir / "reference" / "samples" / "aster.jsonl").read_bytes())
    assert (one.instrument, one.position, one.price, one.quantity) == ("BTC-USDT-PERP", "long", 9910, 0.014)
    assert (one.notional_micros, one.event_time) == (138_740_000, 1_568_014_460_893)


def test_the_same_order_on_binance_is_another_event():
    assert event(message()).event_id != event(message(), exchange="binance").event_id


def test_contracts_of_its_own():
    other = {("binance", "BTCUSD1"): Instrument("binance", "BTCUSD1", "BTC-USD1-PERP", "BTC", "USD1", "USD1", "linear")}
    own = {("aster", "BTCUSD1"): Instrument("aster", "BTCUSD1", "BTC-USD1-PERP", "BTC", "USD1", "USD1", "linear")}
    (refused,) = mapped(message(s="BTCUSD1"), other)
    assert isinstance(refused, DeadLetter)
    assert refused.reason == "unknown_symbol"
    assert event(message(s="BTCUSD1"), own).instrument == "BTC-USD1-PERP"


def test_a_row_of_the_recording_has_the_recorders_time_and_so_another_id():
    row = b"1,2026-09-21T14:13:20.893+00:00,BTCUSDT,SELL,9910,0.014,138.74,x"
    (archived,) = map_frame(Frame("aster", "archive:aster_csv", "file", 0, RECEIVED_US, row), {})
    live = event(message())
    assert (archived.exchange, archived.symbol, archived.notional_micros) == ("aster", "BTCUSDT", live.notional_micros)
    assert (archived.event_time, archived.event_time_kind) == (live.event_time, "received")
    assert archived.event_id != live.event_id


@pytest.mark.parametrize("change", [{"S": "BUY"}, {"T": 1_790_000_000_894}, {"z": "1"}, {"ap": "9911"}])
def test_the_id_is_made_of_side_time_quantity_and_price(change):
    assert event(message(**change)).event_id != event(message()).event_id
    assert event(message(E=1, l="1", z="0.0140")).event_id == event(message()).event_id
