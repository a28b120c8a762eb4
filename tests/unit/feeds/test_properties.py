"""What holds for every message: outside data never raises, and the same event has the same id wherever it is seen."""

import json
import math

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.feeds import all_archives, all_feeds, map_frame
from pipeline.records import Candle, DeadLetter, Frame, Instrument, Liquidation, MarketMetric, check_liquidation

RECEIVED_US = 1_791_565_601_500_000
CHANNELS = ["live", *sorted(f"archive:{name}" for name in all_archives())]

TABLE = {
    ("okx", "BTC-USDT-SWAP"): Instrument(
        "okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", contract_size=0.01
    ),
    ("binance", "BTCUSD_PERP"): Instrument(
        "binance", "BTCUSD_PERP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0
    ),
}

# Values of all kinds where a field's value stands, with the real ones among them, so that rows get far.
WORDS = ["SELL", "BUY", "Buy", "Sell", "buy", "sell", "long", "short", "net", "SWAP", "FILLED", "forceOrder"]
SYMBOLS = ["BTCUSDT", "1000PEPEUSDT", "BTCUSD_PERP", "BTCUSD", "BTCUSDH25", "BTC-USDT-SWAP", "BTC-26DEC25", "牛来USDT"]
NUMBERS = ["0", "-1", "1", "0.5", "1e5", "1e99", "1e-99", "1e999", "NaN", "9" * 50, "0." + "0" * 40 + "1", ".", "1_0"]
TIMES = ["1791565600771", 1791565600771, 1791565600, -1, 2**70]
values = st.one_of(
    st.sampled_from(WORDS + SYMBOLS + NUMBERS + TIMES),
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from("sST"), st.integers(0, 3), max_size=2),
)


@st.composite
def nearly(draw, row):
    """A real row, or one with a few fields replaced or left out."""
    changed = draw(st.lists(st.sampled_from(sorted(row)), max_size=2, unique=True))
    left_out = draw(st.sets(st.sampled_from(sorted(row)), max_size=1)) if draw(st.booleans()) else set()
    made = row | {name: draw(values) for name in changed}
    return {name: value for name, value in made.items() if name not in left_out}


ORDER = {"s": "BTCUSDT", "S": "SELL", "q": "2", "p": "3.8", "ap": "3.9", "X": "FILLED", "z": "2", "st": 1}
ORDER["T"] = 1791391082119
BYBIT_ROW = {"T": 1791565600992, "s": "BTCUSDT", "S": "Buy", "v": "0.006", "p": "82396.90"}
OLD_ROW = {"updatedTime": 1703485237953, "symbol": "BTCUSDT", "side": "Sell", "size": "0.003", "price": "43511.7"}
DETAIL = {"posSide": "net", "side": "sell", "sz": "8.55", "bkPx": "82655.7", "ts": "1791565600771"}

binance_one = st.fixed_dictionaries(
    {"e": st.just("forceOrder"), "o": nearly(ORDER) | values}, optional={"st": values, "E": values}
)
binance_messages = st.one_of(
    binance_one,
    st.lists(binance_one | values, max_size=3),
    st.fixed_dictionaries({"stream": values, "data": binance_one | values}),
)
bybit_messages = st.one_of(
    st.fixed_dictionaries(
        {"topic": st.just("allLiquidation.X"), "data": st.lists(nearly(BYBIT_ROW) | values, max_size=3) | values}
    ),
    st.fixed_dictionaries({"topic": st.just("liquidation.X"), "data": nearly(OLD_ROW) | values}),
    st.fixed_dictionaries({"topic": values}),
)
okx_entries = st.fixed_dictionaries(
    {"instId": st.just("BTC-USDT-SWAP") | values, "instType": st.just("SWAP") | values},
    optional={"details": st.lists(nearly(DETAIL) | values, max_size=3) | values},
)
okx_messages = st.fixed_dictionaries(
    {"arg": st.just({"channel": "liquidation-orders"}) | values},
    optional={"data": st.lists(okx_entries | values, max_size=2) | values},
)


def check(frame, mapped):
    for one in mapped:
        if isinstance(one, DeadLetter):
            assert one.reason.replace("_", "").isalpha()
            assert one.reason.islower()
            assert one.message
            assert one.payload == frame.payload
            assert (one.exchange, one.channel, one.sequence) == (frame.exchange, frame.channel, frame.sequence)
        elif isinstance(one, Candle | MarketMetric):
            numbers = (one.low, one.high, one.volume) if isinstance(one, Candle) else (one.value,)
            assert all(map(math.isfinite, numbers))
            assert one.received_time == frame.received_time
        else:
            assert isinstance(one, Liquidation)
            assert check_liquidation(one) is one
            assert math.isfinite(one.price)
            assert math.isfinite(one.quantity)
            assert len(one.event_id) == 16
            assert one.received_time == frame.received_time
    placed = [one for one in mapped if not isinstance(one, Candle | MarketMetric)]
    assert len({(one.index if isinstance(one, DeadLetter) else one.source.index) for one in placed}) == len(placed)


def run(exchange, channel, payload):
    frame = Frame(exchange, channel, "c", 3, RECEIVED_US, payload)
    mapped = list(map_frame(frame, TABLE))
    check(frame, mapped)
    return mapped


@given(
    exchange=st.sampled_from(sorted(all_feeds())) | st.text(max_size=5),
    channel=st.sampled_from(CHANNELS) | st.text(max_size=12),
    payload=st.binary(max_size=200),
)
@example(exchange="binance", channel="live", payload=b"[" * 100_000)
@example(exchange="binance", channel="live", payload=b'{"e":"forceOrder","o":{"s":"' + b"A" * 99_999 + b'"}}')
@example(exchange="binance", channel="archive:binance_forceorder_csv", payload=b",".join([b"1e99"] * 12))
def test_arbitrary_bytes_never_raise(exchange, channel, payload):
    run(exchange, channel, payload)


@given(text=st.text(max_size=120), channel=st.sampled_from(CHANNELS))
def test_arbitrary_text_never_raises(text, channel):
    for exchange in all_feeds():
        run(exchange, channel, text.encode(errors="replace"))


@given(
    columns=st.lists(
        st.sampled_from([*WORDS, *SYMBOLS, *NUMBERS, "binance", "okx", "bybit", "1791565600771"]), max_size=12
    )
)
def test_arbitrary_rows_of_archives_are_one_event_or_one_refusal(columns):
    for name in all_archives():
        assert len(run("binance", f"archive:{name}", ",".join(columns).encode())) == 1


@given(document=binance_messages)
def test_any_message_of_binance(document):
    run("binance", "live", json.dumps(document).encode())


@given(document=bybit_messages)
def test_any_message_of_bybit(document):
    run("bybit", "live", json.dumps(document).encode())


@given(document=okx_messages)
def test_any_message_of_okx(document):
    run("okx", "live", json.dumps(document).encode())


KLINE = {"s": "BTCUSDT", "i": "1m", "t": 1791565560000, "x": True, "n": 3}
KLINE |= {"o": "2", "h": "3", "l": "1", "c": "2", "v": "9", "q": "18", "V": "4", "Q": "8"}
MARK = {"e": "markPriceUpdate", "E": 1791565601000, "s": "BTCUSDT", "p": "2", "i": "2", "r": "-0.1"}
PREMIUM = {"symbol": "BTCUSDT", "markPrice": "2", "indexPrice": "2", "lastFundingRate": "", "time": 1791565601000}
INTEREST = {"symbol": "BTCUSD_PERP", "openInterest": "2", "time": 1791565601000}
HISTORY = {"symbol": "BTCUSDT", "sumOpenInterest": "2", "sumOpenInterestValue": "4", "timestamp": 1791565601000}
ACCOUNTS = {"symbol": "BTCUSDT", "longAccount": "0.6", "shortAccount": "0.4", "timestamp": 1791565601000}
BYBIT_KLINE = {"start": 1791565560000, "open": "2", "high": "3", "low": "1", "close": "2"}
BYBIT_KLINE |= {"volume": "9", "turnover": "18", "confirm": False}
TICKER = {"symbol": "BTCUSD", "markPrice": "2", "indexPrice": "2", "fundingRate": "0", "openInterest": "4"}
TICKER |= {"openInterestValue": "8", "singleOpenInterest": "2"}
RATIO = {"symbol": "BTCUSDT", "buyRatio": "0.6", "sellRatio": "0.4", "timestamp": "1791565601000"}
OKX_READING = {"instId": "BTC-USDT-SWAP", "ts": "1791565601000", "markPx": "2", "oi": "1", "oiCcy": "1", "oiUsd": "2"}
OKX_READING |= {"fundingRate": "0", "idxPx": "2"}

binance_market = st.one_of(
    st.fixed_dictionaries({"e": st.just("kline"), "k": nearly(KLINE) | values}),
    nearly(MARK),
    st.lists(nearly(PREMIUM) | nearly(INTEREST) | nearly(HISTORY) | nearly(ACCOUNTS) | values, max_size=3),
)
bybit_market = st.one_of(
    st.fixed_dictionaries({"topic": st.just("kline.1.BTCUSD"), "data": st.lists(nearly(BYBIT_KLINE), max_size=2)}),
    st.fixed_dictionaries(
        {"topic": st.just("tickers.BTCUSD"), "data": nearly(TICKER) | values, "ts": values},
        optional={"type": st.sampled_from(["snapshot", "delta"]) | values},
    ),
    st.fixed_dictionaries(
        {"retCode": st.just(0) | values, "time": st.just(1791565601000) | values},
        optional={"result": st.fixed_dictionaries({"list": st.lists(nearly(TICKER) | nearly(RATIO) | values)})},
    ),
)
okx_rows = st.lists(
    nearly(OKX_READING) | st.lists(st.sampled_from([*NUMBERS, *TIMES, "1791565560000"]), max_size=9) | values,
    max_size=3,
)
okx_market = st.one_of(
    st.fixed_dictionaries(
        {
            "arg": st.fixed_dictionaries(
                {
                    "channel": st.sampled_from(["candle1m", "mark-price", "index-tickers", "open-interest"]),
                    "instId": st.just("BTC-USDT-SWAP") | values,
                }
            ),
            "data": okx_rows,
        }
    ),
    st.fixed_dictionaries({"code": st.just("0") | values, "data": okx_rows}),
)


@given(document=binance_market)
def test_any_market_message_of_binance(document):
    run("binance", "rest:premiumIndex", json.dumps(document).encode())


@given(document=bybit_market)
def test_any_market_message_of_bybit(document):
    run("bybit", "kline_linear", json.dumps(document).encode())


@given(document=okx_market)
def test_any_market_message_of_okx(document):
    run("okx", "candle1m", json.dumps(document).encode())


sizes = st.decimals(min_value="0.001", max_value="100000", places=3)
# Up to ten minutes ahead of the frames of these tests: an event may not come from further in the future.
times = st.integers(1_600_000_000_000, 1_791_566_201_500)


@st.composite
def spelled(draw, number):
    """One of the ways in which a number may be written."""
    text = format(number, "f")
    return draw(st.sampled_from([text, text + "0", "0" + text, text.rstrip("0").rstrip(".") or "0"]))


@given(data=st.data(), quantity=sizes, price=sizes, time=times, word=st.sampled_from(["SELL", "BUY"]))
def test_an_order_has_one_id_however_it_is_spelled_or_carried(data, quantity, price, time, word):
    def order():
        z, ap = data.draw(spelled(quantity)), data.draw(spelled(price))
        return {"e": "forceOrder", "o": {"s": "ABCUSDT", "S": word, "z": z, "ap": ap, "T": time}}

    (bare,) = run("binance", "live", orjson.dumps(order()))
    (wrapped,) = run("binance", "other", orjson.dumps({"stream": "!forceOrder@arr", "data": [order()]}))
    z, ap = data.draw(spelled(quantity)), data.draw(spelled(price))
    row = f"ABC,{word},LIMIT,IOC,1,1,{ap},FILLED,1,{z},{time},0"
    (archived,) = run("binance", "archive:binance_forceorder_csv", row.encode())
    tardis = f"binance-futures,ABCUSDT,{time}000,{time}999,,{word.lower()},{ap},{z}"
    (dataset,) = run("binance", "archive:tardis_liquidations_csv", tardis.encode())
    assert bare.event_id == wrapped.event_id == archived.event_id == dataset.event_id
    assert bare.notional_micros == archived.notional_micros == dataset.notional_micros
    assert bare.position == archived.position == dataset.position == {"SELL": "long", "BUY": "short"}[word]


@given(counts=st.lists(st.integers(1, 3), min_size=1, max_size=4), data=st.data())
def test_bybits_equal_rows_keep_their_ids_in_any_batch(counts, data):
    distinct = [
        {"T": 1791565600992, "s": "BTCUSDT", "S": "Buy", "v": str(number + 1), "p": "82396.9"}
        for number in range(len(counts))
    ]
    batch = [row for row, count in zip(distinct, counts, strict=True) for _ in range(count)]
    other = data.draw(st.permutations(batch))
    ids = [
        sorted(one.event_id for one in run("bybit", "live", orjson.dumps({"topic": "allLiquidation.X", "data": rows})))
        for rows in (batch, other)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(batch)


@pytest.mark.parametrize("fault", [KeyError, TypeError, ZeroDivisionError, ValueError])
def test_a_fault_of_our_own_is_raised_not_refused(monkeypatch, fault):
    def broken(*_args):
        raise fault("ours")

    monkeypatch.setattr("pipeline.feeds.bybit.size_of", broken)
    row = {"T": 1791565600992, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "82396.9"}
    with pytest.raises(fault, match="ours"):
        run("bybit", "live", orjson.dumps({"topic": "allLiquidation.X", "data": [row]}))
