"""Candles and readings of Binance, Bybit and OKX: units, sides of open interest, what is kept, what is refused."""

import orjson
import pytest

from pipeline.feeds import Mapping
from pipeline.records import Candle, DeadLetter, Frame, Instrument, MarketMetric

RECEIVED_US = 1_790_000_030_000_000
MINUTE = 1_789_999_980_000
TABLE = {
    (one.exchange, one.symbol): one
    for one in (
        Instrument("binance", "BTCUSD_PERP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0),
        Instrument("okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", contract_size=0.01),
        Instrument("okx", "BTC-USD-SWAP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0),
    )
}


class Connection:
    """Maps messages of one connection, one after another."""

    def __init__(self, exchange, channel="market", connection="a/1-0"):
        self._mapping = Mapping(TABLE)
        self._where = (exchange, channel, connection)
        self._sequence = -1

    def hear(self, document, received_us=RECEIVED_US):
        self._sequence += 1
        payload = document if isinstance(document, bytes) else orjson.dumps(document)
        return list(self._mapping.map(Frame(*self._where, self._sequence, received_us, payload)))


def hear(exchange, document, channel="market", connection="a/1-0"):
    return Connection(exchange, channel, connection).hear(document)


def told(found):
    assert all(isinstance(one, MarketMetric) for one in found), found
    return {(one.symbol, one.metric): one.value for one in found}


def reasons(found):
    assert all(isinstance(one, DeadLetter) for one in found), found
    return [one.reason for one in found]


def kline(**changes):
    k = {"t": MINUTE, "T": MINUTE + 59_999, "s": "BTCUSDT", "i": "1m", "o": "60000", "c": "60010", "h": "60020"}
    k |= {"l": "59990", "v": "9.5", "n": 194, "x": True, "q": "570000.123456", "V": "3.5", "Q": "210000.5"}
    k |= changes
    return {"e": "kline", "E": MINUTE + 60_000, "s": k["s"], "k": {key: v for key, v in k.items() if v is not ...}}


def bybit_kline(symbol="BTCUSDT", **changes):
    row = {"start": MINUTE, "end": MINUTE + 59_999, "interval": "1", "open": "60000", "close": "60010"}
    row |= {"high": "60020", "low": "59990", "volume": "9.5", "turnover": "570000.25", "confirm": True}
    return {"topic": f"kline.1.{symbol}", "type": "snapshot", "ts": MINUTE + 60_000, "data": [row | changes]}


def okx_candle(*changes, symbol="BTC-USDT-SWAP", channel="candle1m"):
    row = [str(MINUTE), "60000", "60020", "59990", "60010", "950", "9.5", "570000.25", "1"]
    for place, value in changes:
        row[place] = value
    return {"arg": {"channel": channel, "instId": symbol}, "data": [row]}


def test_every_field_of_a_candle():
    (one,) = hear("binance", {"stream": "btcusdt@kline_1m", "data": kline()})
    assert one == Candle(
        "binance",
        "BTCUSDT",
        "BTC-USDT-PERP",
        "BTC",
        MINUTE,
        60000.0,
        60020.0,
        59990.0,
        60010.0,
        9.5,
        570_000_123_456,
        210_000_500_000,
        194,
        True,
        RECEIVED_US,
    )


def test_on_coin_m_the_volume_counts_contracts():
    (one,) = hear("binance", kline(s="BTCUSD_PERP", v="156", q="0.26", V="73", Q="0.12"))
    assert (one.volume, one.volume_micros, one.taker_buy_micros) == (0.26, 15_600_000_000, 7_300_000_000)


def test_a_listing_of_a_thousand_is_turned_into_coins():
    prices = {"o": "0.006", "c": "0.007", "h": "0.008", "l": "0.005"}
    (one,) = hear("binance", kline(s="1000PEPEUSDT", v="500", q="3.5", V="100", Q="0.7", **prices))
    assert (one.asset, one.volume, one.high, one.volume_micros) == ("PEPE", 500_000, 0.000008, 3_500_000)


@pytest.mark.parametrize(
    ("symbol", "volume", "micros"), [("BTCUSDT", 9.5, 570_000_250_000), ("BTCUSD", 570000.25, 9_500_000)]
)
def test_bybits_volume_and_turnover_change_places_on_inverse_contracts(symbol, volume, micros):
    (one,) = hear("bybit", bybit_kline(symbol))
    assert (one.volume, one.volume_micros, one.taker_buy_micros, one.trades) == (volume, micros, None, None)
    assert (one.open, one.high, one.low, one.close, one.closed, one.start) == (60000, 60020, 59990, 60010, True, MINUTE)


def test_okx_gives_coins_and_usd():
    (one,) = hear("okx", okx_candle())
    assert (one.volume, one.volume_micros, one.closed, one.start) == (9.5, 570_000_250_000, True, MINUTE)
    assert (one.open, one.high, one.low, one.close) == (60000, 60020, 59990, 60010)


@pytest.mark.parametrize(
    ("exchange", "of"),
    [
        ("binance", lambda closed: kline(x=closed)),
        ("bybit", lambda closed: bybit_kline(confirm=closed)),
        ("okx", lambda closed: okx_candle((8, "1" if closed else "0"))),
    ],
)
def test_of_open_candles_one_in_fifteen_seconds_is_kept_and_every_closed_one(exchange, of):
    connection = Connection(exchange)
    start_us, second = 1_790_000_025_000_000, 1_000_000
    kept = [
        (number, one.closed)
        for number in range(31)
        for one in connection.hear(of(number == 20), start_us + number * second)
    ]
    assert kept == [(0, False), (15, False), (20, True), (30, False)]


def test_a_closed_candle_does_not_hide_the_first_open_one_of_the_next_minute():
    connection = Connection("binance")
    found = [connection.hear(document) for document in (kline(), kline(x=False), kline(x=False), kline())]
    assert [[one.closed for one in mapped] for mapped in found] == [[True], [False], [], [True]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"t": MINUTE + 1}, "bad_time"),
        ({"t": MINUTE + 60_000_000}, "time_in_future"),
        ({"h": "60005"}, "contradictory_prices"),
        ({"l": "60005"}, "contradictory_prices"),
        ({"o": "0"}, "bad_number"),
        ({"v": "-1"}, "bad_number"),
        ({"v": ...}, "missing_field"),
        ({"Q": "570001"}, "bad_number"),
        ({"x": ...}, "missing_field"),
        ({"x": "true"}, "unknown_word"),
        ({"n": -1}, "bad_number"),
        ({"s": "NOTHING"}, "unknown_symbol"),
        ({"s": "ETHUSD_PERP"}, "unknown_contract_size"),
    ],
)
def test_no_minute_is_like_that(change, reason):
    assert reasons(hear("binance", kline(**change))) == [reason]


def test_a_quiet_minute_has_no_volume_and_is_a_candle():
    (one,) = hear("binance", kline(v="0", q="0", V="0", Q="0", n=0, o="1", c="1", h="1", l="1"))
    assert (one.volume, one.volume_micros, one.taker_buy_micros, one.trades) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("exchange", "document"),
    [
        ("binance", kline(i="5m")),
        ("binance", {"e": "aggTrade", "s": "BTCUSDT"}),
        ("bybit", {"topic": "kline.5.BTCUSDT", "data": [{}]}),
        ("okx", okx_candle(channel="candle1D")),
        ("okx", {"arg": {"channel": "trades"}, "data": []}),
    ],
)
def test_other_candles_and_streams_are_not_read(exchange, document):
    assert hear(exchange, document) == []


def mark_price(time, **changes):
    fields = {
        "e": "markPriceUpdate",
        "E": time,
        "s": "BTCUSDT",
        "p": "60000.5",
        "i": "60001",
        "r": "-0.0001",
        "ap": "1",
    }
    return fields | changes


def test_binances_prices_are_told_once_a_minute():
    connection = Connection("binance")
    assert told(connection.hear(mark_price(MINUTE + 3000))) == {
        ("BTCUSDT", "mark_price"): 60000.5,
        ("BTCUSDT", "index_price"): 60001,
        ("BTCUSDT", "funding_rate"): -0.0001,
    }
    assert connection.hear(mark_price(MINUTE + 59_999)) == []
    assert connection.hear(mark_price(MINUTE - 1)) == [], "a time that goes back is not news"
    (other, *_) = connection.hear(mark_price(MINUTE + 4000, s="ETHUSDT"))
    assert (other.symbol, other.time, other.received_time) == ("ETHUSDT", MINUTE + 4000, RECEIVED_US)
    assert len(connection.hear(mark_price(MINUTE + 60_000))) == 3


def test_a_dated_contract_has_no_funding():
    found = told(hear("binance", mark_price(MINUTE, s="BTCUSD_201225", r="")))
    assert set(found) == {("BTCUSD_201225", "mark_price"), ("BTCUSD_201225", "index_price")}


def premium(symbol="BTCUSDT", **changes):
    row = {"symbol": symbol, "markPrice": "60000", "indexPrice": "60001", "lastFundingRate": "0.0001", "time": MINUTE}
    return row | changes


def test_one_answer_for_all_contracts_passes_over_what_is_not_served():
    rows = [premium(), premium("ETHBTC"), premium("1000PEPEUSDT", markPrice="0.006", indexPrice="0")]
    assert told(hear("binance", rows, "rest:premiumIndex", "a/fapi/v1/premiumIndex")) == {
        ("BTCUSDT", "mark_price"): 60000,
        ("BTCUSDT", "index_price"): 60001,
        ("BTCUSDT", "funding_rate"): 0.0001,
        ("1000PEPEUSDT", "mark_price"): 0.000006,
        ("1000PEPEUSDT", "funding_rate"): 0.0001,
    }


def test_answers_are_kept_whole_however_soon_they_come_again():
    connection = Connection("binance", "rest:premiumIndex")
    assert len(connection.hear([premium()])) == len(connection.hear([premium()])) == 3


def test_a_bad_row_of_an_answer_takes_no_other_along():
    first, bad, last = hear(
        "binance",
        [
            {"symbol": "BTCUSDT", "openInterest": "1", "time": MINUTE},
            {"symbol": "BTCUSDT", "openInterest": "x"},
            {"symbol": "ETHUSDT", "openInterest": "2", "time": MINUTE},
        ],
    )
    assert (first.value, bad.reason, bad.index, last.value) == (1, "missing_field", 1, 2)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"symbol": "BTCUSDT", "openInterest": "95.5", "time": MINUTE}, {("BTCUSDT", "open_interest_base"): 95.5}),
        (
            {"symbol": "1000PEPEUSDT", "openInterest": "95.5", "time": MINUTE},
            {("1000PEPEUSDT", "open_interest_base"): 95_500},
        ),
        (
            {"symbol": "BTCUSD_PERP", "pair": "BTCUSD", "openInterest": "150", "time": MINUTE},
            {("BTCUSD_PERP", "open_interest_usd"): 15_000},
        ),
    ],
)
def test_binances_open_interest(row, expected):
    assert told(hear("binance", row, "rest:openInterest")) == expected


def test_binances_history_of_open_interest_and_accounts():
    rows = [
        {"symbol": "BTCUSDT", "sumOpenInterest": "95.5", "sumOpenInterestValue": "5730000", "timestamp": MINUTE},
        {"symbol": "BTCUSDT", "longShortRatio": "4", "longAccount": "0.8", "shortAccount": "0.2", "timestamp": MINUTE},
    ]
    assert told(hear("binance", rows)) == {
        ("BTCUSDT", "open_interest_base"): 95.5,
        ("BTCUSDT", "open_interest_usd"): 5_730_000,
        ("BTCUSDT", "long_account_share"): 0.8,
        ("BTCUSDT", "short_account_share"): 0.2,
    }


def test_a_share_is_at_most_the_whole():
    row = {"symbol": "BTCUSDT", "longAccount": "1.2", "shortAccount": "0.2", "timestamp": MINUTE}
    assert reasons(hear("binance", [row])) == ["bad_number"]


def ticker(kind, ts, symbol="BTCUSDT", **fields):
    return {"topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol, **fields}, "cs": 1, "ts": ts}


WHOLE = {
    "markPrice": "60000",
    "indexPrice": "60001",
    "fundingRate": "-0.005",
    "openInterest": "200",
    "openInterestValue": "12000000",
    "singleOpenInterest": "100",
}


def test_bybits_changes_leave_what_they_do_not_name():
    connection = Connection("bybit")
    assert told(connection.hear(ticker("snapshot", MINUTE, **WHOLE))) == {
        ("BTCUSDT", "mark_price"): 60000,
        ("BTCUSDT", "index_price"): 60001,
        ("BTCUSDT", "funding_rate"): -0.005,
        ("BTCUSDT", "open_interest_base"): 100,
        ("BTCUSDT", "open_interest_usd"): 6_000_000,
    }
    assert connection.hear(ticker("delta", MINUTE + 100, markPrice="60500")) == []
    later = connection.hear(ticker("delta", MINUTE + 60_000, indexPrice="60502"))
    assert told(later)["BTCUSDT", "mark_price"] == 60500, "the change of the minute before is kept"
    assert told(later)["BTCUSDT", "index_price"] == 60502
    assert told(later)["BTCUSDT", "funding_rate"] == -0.005
    assert {one.time for one in later} == {MINUTE + 60_000}


def test_a_snapshot_starts_afresh_and_another_connection_knows_nothing():
    connection = Connection("bybit")
    connection.hear(ticker("snapshot", MINUTE, **WHOLE))
    after = connection.hear(ticker("snapshot", MINUTE + 60_000, markPrice="1"))
    assert told(after) == {("BTCUSDT", "mark_price"): 1}
    assert told(hear("bybit", ticker("delta", MINUTE, markPrice="2"))) == {("BTCUSDT", "mark_price"): 2}


def test_a_field_that_comes_later_in_the_minute_is_told_then():
    connection = Connection("bybit")
    connection.hear(ticker("delta", MINUTE, markPrice="2"))
    assert told(connection.hear(ticker("delta", MINUTE + 100, fundingRate="0.1"))) == {("BTCUSDT", "funding_rate"): 0.1}


def test_without_one_side_half_of_both_is_taken():
    fields = {name: value for name, value in WHOLE.items() if name != "singleOpenInterest"}
    assert told(hear("bybit", ticker("snapshot", MINUTE, **fields)))["BTCUSDT", "open_interest_base"] == 100


def test_on_inverse_contracts_open_interest_counts_dollars():
    fields = {"singleOpenInterest": "6000000", "openInterestValue": "200"}
    assert told(hear("bybit", ticker("snapshot", MINUTE, "BTCUSD", **fields))) == {
        ("BTCUSD", "open_interest_usd"): 6_000_000,
        ("BTCUSD", "open_interest_base"): 100,
    }


def bybit_answer(*rows, **changes):
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": "linear", "list": list(rows)},
        "time": MINUTE,
    } | changes


def test_bybits_answers():
    rows = [{"symbol": "BTCUSDT", **WHOLE}, {"symbol": "NOTHING", **WHOLE}]
    found = told(hear("bybit", bybit_answer(*rows), "rest:tickers"))
    assert found["BTCUSDT", "open_interest_usd"] == 6_000_000
    assert len(found) == 5
    ratio = {"symbol": "BTCUSDT", "buyRatio": "0.6", "sellRatio": "0.4", "timestamp": str(MINUTE)}
    assert told(hear("bybit", bybit_answer(ratio), "rest:account-ratio")) == {
        ("BTCUSDT", "long_account_share"): 0.6,
        ("BTCUSDT", "short_account_share"): 0.4,
    }


def okx_reading(channel, **row):
    return {"arg": {"channel": channel, "instId": row["instId"]}, "data": [row]}


def okx_answer(*rows):
    return {"code": "0", "msg": "", "data": list(rows)}


def test_okx_readings_are_alike_on_channels_and_in_answers():
    rows = [
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "oi": "5000", "oiCcy": "50", "oiUsd": "3000000"},
        {"instType": "SWAP", "instId": "BTC-USD-SWAP", "oi": "5000", "oiCcy": "8.3"},
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "60000.1"},
        {"instId": "BTC-USDT", "idxPx": "60001"},
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "fundingRate": "-0.0001", "fundingTime": "1"},
    ]
    rows = [row | {"ts": str(MINUTE)} for row in rows]
    expected = {
        ("BTC-USDT-SWAP", "open_interest_base"): 50,
        ("BTC-USDT-SWAP", "open_interest_usd"): 3_000_000,
        ("BTC-USD-SWAP", "open_interest_base"): 8.3,
        ("BTC-USD-SWAP", "open_interest_usd"): 500_000,
        ("BTC-USDT-SWAP", "mark_price"): 60000.1,
        ("BTC-USDT-SWAP", "index_price"): 60001,
        ("BTC-USDT-SWAP", "funding_rate"): -0.0001,
    }
    assert told(hear("okx", okx_answer(*rows))) == expected
    connection = Connection("okx")
    channels = ["open-interest", "open-interest", "mark-price", "index-tickers", "funding-rate"]
    messages = [okx_reading(channel, **row) for channel, row in zip(channels, rows, strict=True)]
    assert told([one for message in messages for one in connection.hear(message)]) == expected
    assert [one for message in messages for one in connection.hear(message)] == [], "once a minute"


def test_an_index_without_a_swap_and_a_contract_that_is_not_served_are_passed_over_in_answers():
    rows = [{"instId": "XYZ-USDT", "idxPx": "1", "ts": str(MINUTE)}, {"instId": "X", "markPx": "1", "ts": str(MINUTE)}]
    assert hear("okx", okx_answer(*rows)) == []
    assert reasons(hear("okx", okx_reading("mark-price", **rows[1]))) == ["unknown_symbol"]


def test_okx_names_the_contract_of_a_ratio_in_the_address_only():
    path = "a/api/v5/rubik/stat/contracts/long-short-account-ratio-contract"
    answer = okx_answer([str(MINUTE), "3"])
    channel = "rest:long-short-account-ratio-contract"
    assert told(hear("okx", answer, channel, f"{path}?instId=BTC-USDT-SWAP&period=5m&limit=2")) == {
        ("BTC-USDT-SWAP", "long_account_share"): 0.75,
        ("BTC-USDT-SWAP", "short_account_share"): 0.25,
    }
    assert reasons(hear("okx", answer, channel, path)) == ["unknown_symbol"]


@pytest.mark.parametrize(
    ("exchange", "channel", "document"),
    [
        ("binance", "rest:openInterest", {"code": -1121, "msg": "Invalid symbol."}),
        ("bybit", "rest:tickers", {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}}),
        ("okx", "rest:mark-price", {"code": "51001", "msg": "Instrument ID does not exist", "data": []}),
    ],
)
def test_a_refused_request_is_a_dead_letter(exchange, channel, document):
    assert reasons(hear(exchange, document, channel)) == ["request_refused"]


@pytest.mark.parametrize(
    ("exchange", "channel"),
    [
        ("binance", "rest:exchangeInfo"),
        ("binance", "rest:time"),
        ("bybit", "rest:instruments-info"),
        ("okx", "rest:instruments"),
        ("bitget", "rest:time"),
    ],
)
def test_answers_that_the_collector_reads_itself_hold_no_events(exchange, channel):
    assert hear(exchange, b"<html>", channel) == []
    assert reasons(hear(exchange, b"<html>", "rest:other")) == ["bad_json"]


@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
def test_recorded_market_messages(shared_dir, exchange):
    table = {
        **TABLE,
        ("binance", "BTCUSD_200626"): Instrument(
            "binance", "BTCUSD_200626", "BTC-USD-20200626", "BTC", "USD", "BTC", "inverse", "2020-06-26", 100.0
        ),
    }
    lines = (shared_dir / "reference" / "samples" / f"{exchange}_market.jsonl").read_bytes().splitlines()
    mapping = Mapping(table)
    found = []
    for number, line in enumerate(lines):
        mapped = list(mapping.map(Frame(exchange, "sample", "sample", number, 1_800_000_000_000_000, line)))
        found.append([value(one) for one in mapped])
    assert found == RECORDED[exchange]


def value(one):
    if isinstance(one, Candle):
        return (one.symbol, one.start, one.close, one.volume, one.volume_micros, one.taker_buy_micros, one.closed)
    return (one.symbol, one.metric, one.value, one.time)


# By line of the sample, worked out by hand.
RECORDED = {
    "binance": [
        [],
        [("BTCUSDT", 1786173300000, 64969.4, 9.09, 590_577_968_800, 224_795_094_400, True)],
        [
            ("BTCUSDT", "mark_price", 64991.37858696, 1786171884000),
            ("BTCUSDT", "index_price", 65016.05673913, 1786171884000),
            ("BTCUSDT", "funding_rate", 0.00003936, 1786171884000),
        ],
        [("BTCUSDT", "open_interest_base", 95253.475, 1791269771665)],
        [("BTCUSD_200626", 1591261500000, 9639.8, 1.61836886, 15_600_000_000, 7_300_000_000, False)],
        [
            ("BTCUSD_201225", "mark_price", 10934.62615417, 1596095725000),
            ("BTCUSD_201225", "index_price", 10933.62615417, 1596095725000),
        ],
        [("BTCUSD_200626", "open_interest_usd", 1_500_400, 1591261042378)],
        [
            ("BTCUSDT", "long_account_share", 0.6622, 1591261042378),
            ("BTCUSDT", "short_account_share", 0.3378, 1591261042378),
        ],
    ],
    "bybit": [
        [],
        [
            ("BTCUSDT", "mark_price", 66666.6, 1760325052630),
            ("BTCUSDT", "index_price", 115418.19, 1760325052630),
            ("BTCUSDT", "funding_rate", -0.005, 1760325052630),
            ("BTCUSDT", "open_interest_base", 246186.86, 1760325052630),
            ("BTCUSDT", "open_interest_usd", 16412440920.875, 1760325052630),
        ],
    ],
    "okx": [
        [],
        [("LTC-USD-SWAP", "open_interest_base", 555.55, 1597026383085)],
        [("LTC-USD-190628", "mark_price", 0.1, 1597026383085)],
        [("BTC-USD-SWAP", "funding_rate", 0.0001875391284828, 1700724675402)],
    ],
}
