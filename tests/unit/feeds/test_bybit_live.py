"""What is said to Bybit and understood of its answers; its contracts, page by page; its requests; its clock."""

import orjson
import pytest

from pipeline.feeds.bybit import FEED
from pipeline.feeds.live import Heard, Request, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
CHANNELS = {channel.name: channel for channel in LIVE.channels}
LINEAR = CHANNELS["linear"]
REQUEST = LIVE.metadata.requests[0]
BTC = Instrument("bybit", "BTCUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear")
USDC = Instrument("bybit", "BTCPERP", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear")
DATED = Instrument("bybit", "BTCUSDT-25DEC26", "BTC-USDT-20261225", "BTC", "USDT", "USDT", "linear", "2026-12-25")
COIN = Instrument("bybit", "BTCUSD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse")


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def test_a_topic_for_each_contract_on_its_markets_path():
    assert LINEAR.topics([BTC, COIN]) == [Topic("allLiquidation.BTCUSDT", "BTCUSDT")]
    assert CHANNELS["inverse"].topics([BTC, COIN]) == [Topic("allLiquidation.BTCUSD", "BTCUSD")]
    assert CHANNELS["kline_linear"].topics([BTC, COIN]) == [Topic("kline.1.BTCUSDT", "BTCUSDT")]
    assert CHANNELS["kline_inverse"].topics([BTC, COIN]) == [Topic("kline.1.BTCUSD", "BTCUSD")]
    assert [channel.url for channel in LIVE.channels] == [
        "wss://stream.bybit.com/v5/public/linear",
        "wss://stream.bybit.com/v5/public/inverse",
    ] * 2
    assert [channel.kind for channel in LIVE.channels] == ["liquidations"] * 2 + ["market"] * 2
    assert all(channel.per_symbol for channel in LIVE.channels)


@pytest.mark.parametrize("channel", LIVE.channels, ids=lambda channel: channel.name)
def test_limits(channel):
    assert channel.limits.request_characters == 21_000
    assert channel.limits.topics_per_request == 10
    assert channel.limits.connections_per_s * 300 <= 500
    assert channel.ping_every_s <= 20
    assert channel.silence_s > 2 * channel.ping_every_s


def answer(number, success=True, words="", op="subscribe"):
    return {"success": success, "ret_msg": words, "conn_id": "c", "req_id": number, "op": op}


def test_a_request_and_its_confirmation():
    conversation = LINEAR.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("a"), Topic("b")], 1))
    assert request == {"op": "subscribe", "req_id": "1", "args": ["a", "b"]}
    assert heard(conversation, answer("1")) == Heard(confirmed=("a", "b"))
    assert heard(conversation, answer("1")) == Heard(), "once"
    assert heard(conversation, answer("2")) == Heard()


def test_a_refusal_is_of_the_whole_request():
    conversation = LINEAR.begin()
    conversation.subscribe([Topic("a"), Topic("b")], 1)
    conversation.subscribe([Topic("c")], 2)
    words = "error:handler not found,topic:b"
    assert heard(conversation, answer("1", False, words)) == Heard(refused=(("a", words), ("b", words)))
    assert heard(conversation, answer("2")) == Heard(confirmed=("c",))


def test_what_is_subscribed_already_is_subscribed():
    conversation = LINEAR.begin()
    conversation.subscribe([Topic("a")], 1)
    assert heard(conversation, answer("1", False, "error:already subscribed,topic:a")) == Heard(confirmed=("a",))


def test_the_ping_and_its_answer():
    conversation = LINEAR.begin()
    assert orjson.loads(conversation.ping(3, 0)) == {"op": "ping", "req_id": "3"}
    assert heard(conversation, answer("3", True, "pong", "ping")) == Heard()


@pytest.mark.parametrize("message", [b'{"topic":"allLiquidation.X","data":[]}', b'{ "ts":1, "topic": "kline.1.X"}'])
def test_topics_are_data(message):
    assert LINEAR.begin().hear(message) == Heard(data=True)


@pytest.mark.parametrize("message", [b"", b"pong", b"[]", b"\xff", b"{}", b'{"op":"subscribe","req_id":{}}'])
def test_rubbish_means_nothing(message):
    conversation = LINEAR.begin()
    conversation.subscribe([Topic("a")], 1)
    assert conversation.hear(message) == Heard()


def contract(**changes):
    row = {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC"}
    row |= {"quoteCoin": "USDT", "settleCoin": "USDT", "deliveryTime": "0"}
    return {key: value for key, value in (row | changes).items() if value is not ...}


def page(*rows, cursor=""):
    result = {"category": "linear", "list": list(rows), "nextPageCursor": cursor}
    return orjson.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1_790_000_000_000})


def test_contracts():
    delivery = "1798185600000"
    listed = [
        contract(),
        contract(symbol="BTCPERP", quoteCoin="USDC", settleCoin="USDC"),
        contract(symbol="BTCUSDT-25DEC26", contractType="LinearFutures", deliveryTime=delivery),
        contract(symbol="SHIB1000USDT", baseCoin="SHIB1000"),
        contract(symbol="NEWUSDT", baseCoin="NEW", status="PreLaunch"),
        contract(symbol="OLDUSDT", baseCoin="OLD", status="Closed"),
        contract(symbol="ETHBTC", quoteCoin="BTC"),
        contract(symbol="BTC-OPTION", contractType="Option"),
        contract(symbol="BTCUSD", contractType="InversePerpetual", quoteCoin="USD", settleCoin="BTC"),
        contract(
            symbol="BTCUSDZ26", contractType="InverseFutures", quoteCoin="USD", settleCoin="BTC", deliveryTime=delivery
        ),
    ]
    assert LIVE.metadata.read(REQUEST, page(*listed)) == [
        BTC,
        USDC,
        DATED,
        Instrument(
            "bybit", "SHIB1000USDT", "SHIB-USDT-PERP", "SHIB", "USDT", "USDT", "linear", asset_multiplier=1000.0
        ),
        COIN,
        Instrument("bybit", "BTCUSDZ26", "BTC-USD-20261225", "BTC", "USD", "BTC", "inverse", "2026-12-25"),
    ]


def test_the_list_is_read_page_by_page():
    second = LIVE.metadata.following(REQUEST, page(cursor="first%3D1"))
    assert second == Request(REQUEST.name, f"{REQUEST.url}&cursor=first%3D1")
    third = LIVE.metadata.following(second, page(cursor="first%3D2"))
    assert third == Request(REQUEST.name, f"{REQUEST.url}&cursor=first%3D2"), "not both cursors"
    assert LIVE.metadata.following(third, page()) is None
    assert [request.url.partition("category=")[2] for request in LIVE.metadata.requests] == [
        "linear&limit=1000",
        "inverse&limit=1000",
    ]


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"retCode":10006,"retMsg":"Too many visits!"}', b'{"retCode":0}', page(contract(symbol=...))],
)
def test_another_answer_is_no_list_of_contracts(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_the_exchanges_clock():
    answer = {"retCode": 0, "retMsg": "OK", "result": {"timeSecond": "1790000000"}, "time": 1_790_000_000_123}
    assert LIVE.clock.read(orjson.dumps(answer)) == 1_790_000_000_123
    for wrong in (b"{}", b"x", orjson.dumps(answer | {"retCode": 10000}), orjson.dumps(answer | {"time": None})):
        with pytest.raises(RefusedError):
            LIVE.clock.read(wrong)


def test_requests_for_readings():
    tickers, ratios = LIVE.polls
    assert (tickers.every_s, ratios.every_s) == (60, 300)
    assert [request.url for request in tickers.requests([BTC, USDC, COIN])] == [
        "https://api.bybit.com/v5/market/tickers?category=linear",
        "https://api.bybit.com/v5/market/tickers?category=inverse",
    ]
    assert [request.url.partition("?")[2] for request in ratios.requests([BTC, USDC, DATED, COIN])] == [
        "category=linear&symbol=BTCUSDT&period=5min&limit=2",
        "category=inverse&symbol=BTCUSD&period=5min&limit=2",
    ]
    assert tickers.requests([]) == ratios.requests([]) == []
