"""What is said to Lighter and understood of its answers; its list of markets; its clock."""

import orjson
import pytest

from pipeline.feeds.lighter import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
REQUEST = LIVE.metadata.requests[0]


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def asked(*names):
    conversation = CHANNEL.begin()
    for number, name in enumerate(names, start=1):
        conversation.subscribe([Topic(name)], number)
    return conversation


def test_a_market_is_a_topic_and_covers_itself_only():
    contracts = [
        Instrument("lighter", "1", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear"),
        Instrument("other", "2", "X", "X", "USDC", "USDC", "linear"),
    ]
    assert CHANNEL.topics(contracts) == [Topic("trade/1", "1")]
    assert CHANNEL.per_symbol
    assert CHANNEL.url == "wss://mainnet.zklighter.elliot.ai/stream"


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    assert orjson.loads(conversation.subscribe([Topic("trade/1", "1")], 1)) == {
        "type": "subscribe",
        "channel": "trade/1",
    }
    answer = {"type": "subscribed/trade", "channel": "trade:1", "trades": []}
    assert heard(conversation, answer) == Heard(confirmed=("trade/1",))


def test_trades_are_data():
    assert heard(CHANNEL.begin(), {"type": "update/trade", "channel": "trade:1"}) == Heard(data=True)


def test_a_refusal_names_the_market_at_its_end():
    conversation = asked("trade/1", "trade/11")
    error = {"error": {"code": 30005, "message": "Invalid Channel: trade:11"}}
    assert heard(conversation, error) == Heard(refused=(("trade/11", "30005 Invalid Channel: trade:11"),))
    assert heard(conversation, error) == Heard(), "once"
    assert heard(conversation, {"error": {"code": 30009, "message": "Too Many Websocket Messages!"}}) == Heard()


def test_already_subscribed_is_subscribed():
    error = {"error": {"code": 30003, "message": "Already Subscribed to : trade:1"}}
    assert heard(asked("trade/1"), error) == Heard(confirmed=("trade/1",))


def test_pings_of_both_sides():
    conversation = CHANNEL.begin()
    assert orjson.loads(conversation.ping(1, 0)) == {"type": "ping"}
    assert heard(conversation, {"type": "ping"}) == Heard(replies=('{"type":"pong"}',))
    assert heard(conversation, {"type": "pong"}) == Heard()
    assert heard(conversation, {"type": "connected", "session_id": "s"}) == Heard()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"error":1}', b'{"type":"subscribed/trade"}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def test_the_list_of_markets():
    markets = [
        {"symbol": "BTC", "market_id": 1, "market_type": "perp", "status": "active"},
        {"symbol": "1000PEPE", "market_id": 7, "status": "active"},
        {"symbol": "1INCH", "market_id": 9, "market_type": "perp"},
        {"symbol": "ETH/USDC", "market_id": 2048, "market_type": "spot"},
    ]
    first, second, third = LIVE.metadata.read(REQUEST, orjson.dumps({"code": 200, "order_book_details": markets}))
    assert first == Instrument("lighter", "1", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear")
    assert (second.symbol, second.instrument, second.asset_multiplier) == ("7", "PEPE-USDC-PERP", 1000.0)
    assert (third.asset, third.asset_multiplier) == ("1INCH", 1.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"code":29500,"message":"internal"}',
        b'{"order_book_details":[1]}',
        b'{"order_book_details":[{"symbol":"A","market_id":"1"}]}',
        b'{"order_book_details":[{"market_id":1}]}',
    ],
)
def test_what_is_no_list_of_markets_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_the_clock_has_whole_seconds():
    assert LIVE.clock.read(b'{"status":200,"network_id":1,"timestamp":1790000000}') == 1_790_000_000_500
    for answer in (b"", b"{}", b'{"timestamp":1}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(answer)
