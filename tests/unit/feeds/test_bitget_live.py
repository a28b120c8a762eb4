"""What is said to Bitget and understood of its answers; its lists of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.bitget import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
REQUEST = LIVE.metadata.requests[0]


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def arg(market):
    return {"instType": market, "topic": "liquidation"}


def asked(*markets):
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic(market) for market in markets], 1)
    return conversation


def test_each_kind_of_futures_is_a_topic_of_its_own():
    assert CHANNEL.topics([]) == [Topic("usdt-futures"), Topic("usdc-futures"), Topic("coin-futures")]
    assert not CHANNEL.per_symbol
    assert CHANNEL.url == "wss://ws.bitget.com/v3/ws/public"


def test_the_request_and_its_confirmations():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("usdt-futures"), Topic("coin-futures")], 1))
    assert request == {"op": "subscribe", "args": [arg("usdt-futures"), arg("coin-futures")]}
    for market in ("usdt-futures", "coin-futures"):
        assert heard(conversation, {"event": "subscribe", "arg": arg(market)}) == Heard(confirmed=(market,))


def test_rows_are_data():
    assert heard(CHANNEL.begin(), {"data": [], "arg": arg("usdt-futures"), "ts": 1}) == Heard(data=True)


def test_a_refusal_names_its_topic_or_means_all_that_are_open():
    conversation = asked("usdt-futures", "usdc-futures", "coin-futures")
    error = {"event": "error", "arg": arg("usdc-futures"), "code": "30001", "msg": "doesn't exist"}
    assert heard(conversation, error) == Heard(refused=(("usdc-futures", "30001 doesn't exist"),))
    heard(conversation, {"event": "subscribe", "arg": arg("usdt-futures")})
    error = {"event": "error", "code": 30007, "msg": "request over limit"}
    assert heard(conversation, error) == Heard(refused=(("coin-futures", "30007 request over limit"),))
    assert heard(conversation, error) == Heard(), "once"


def test_the_ping_is_a_word_and_so_is_its_answer():
    conversation = CHANNEL.begin()
    assert conversation.ping(1, 0) == "ping"
    assert conversation.hear(b"pong") == Heard()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"event":"subscribe"}', b'{"event":"error","arg":7}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def contract(**changes):
    fields = {
        "symbol": "BTCUSDT",
        "category": "USDT-FUTURES",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "online",
        "deliveryTime": "",
    }
    return fields | changes


def read(*rows):
    return LIVE.metadata.read(REQUEST, orjson.dumps({"code": "00000", "msg": "success", "data": list(rows)}))


def test_the_lists_of_contracts():
    assert [request.url.partition("?")[2] for request in LIVE.metadata.requests] == [
        "category=USDT-FUTURES",
        "category=USDC-FUTURES",
        "category=COIN-FUTURES",
    ]
    found = read(
        contract(),
        contract(symbol="1000BONKUSDT", baseCoin="1000BONK", deliveryTime="-1"),
        contract(symbol="BTCPERP", category="USDC-FUTURES", quoteCoin="USDC"),
        contract(symbol="BTCUSD", category="COIN-FUTURES", quoteCoin="USD"),
        contract(symbol="BTCUSDZ27", category="COIN-FUTURES", quoteCoin="USD", deliveryTime="1830240000000"),
        contract(symbol="GONEUSDT", status="offline"),
        contract(category="SPOT"),
        contract(symbol="ETHBTC", quoteCoin="BTC"),
    )
    assert found[0] == Instrument("bitget", "BTCUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear")
    assert (found[1].asset, found[1].asset_multiplier) == ("BONK", 1000.0)
    assert found[2].instrument == "BTC-USDC-PERP"
    assert (found[3].instrument, found[3].margin, found[3].settle) == ("BTC-USD-PERP", "inverse", "BTC")
    assert (found[4].instrument, found[4].expiry) == ("BTC-USD-20271231", "2027-12-31")
    assert len(found) == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"code":"40001","msg":"no"}',
        b'{"code":"00000"}',
        b'{"code":"00000","data":[{"symbol":"A"}]}',
    ],
)
def test_what_is_no_list_of_contracts_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_the_clock():
    assert LIVE.clock.read(b'{"code":"00000","data":{"serverTime":"1790000000628"}}') == 1_790_000_000_628
    for answer in (b"", b"{}", b'{"data":{}}', b'{"data":{"serverTime":"soon"}}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(answer)
