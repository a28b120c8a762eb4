"""What is said to Aster and understood of its answers; its list of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.aster import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

STREAM = "!forceOrder@arr"
LIVE = FEED.live
(CHANNEL,) = LIVE.channels
REQUEST = LIVE.metadata.requests[0]


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def asked(number=1):
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic(STREAM)], number)
    return conversation


def test_one_stream_is_the_whole_market():
    assert CHANNEL.topics([]) == (Topic(STREAM),)
    assert not CHANNEL.per_symbol
    assert CHANNEL.limits.connection_age_s == 86_400
    assert CHANNEL.url == "wss://fstream.asterdex.com/ws"


def test_the_request_and_its_confirmation_by_number():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic(STREAM)], 3))
    assert request == {"method": "SUBSCRIBE", "params": [STREAM], "id": 3}
    assert heard(conversation, {"result": None, "id": 2}) == Heard(), "an answer to something else"
    assert heard(conversation, {"result": None, "id": 3}) == Heard(confirmed=(STREAM,))


def test_orders_are_data_bare_and_wrapped():
    assert heard(CHANNEL.begin(), {"e": "forceOrder", "o": {}}) == Heard(data=True)
    assert heard(CHANNEL.begin(), {"stream": STREAM, "data": {}}) == Heard(data=True)


@pytest.mark.parametrize(
    "answer",
    [{"error": {"code": 2, "msg": "Invalid request"}, "id": 1}, {"code": 2, "msg": "Invalid request", "id": 1}],
)
def test_a_refusal_by_number(answer):
    conversation = asked()
    assert heard(conversation, answer) == Heard(refused=((STREAM, "2 Invalid request"),))
    assert heard(conversation, answer) == Heard(), "once"


def test_the_ping_asks_what_is_subscribed_and_a_lost_stream_ends_the_connection():
    conversation = asked()
    assert orjson.loads(conversation.ping(8, 0)) == {"method": "LIST_SUBSCRIPTIONS", "id": 8}
    assert heard(conversation, {"result": [], "id": 8}) == Heard(), "nothing is confirmed yet"
    heard(conversation, {"result": None, "id": 1})
    assert heard(conversation, {"result": [STREAM], "id": 9}) == Heard()
    assert heard(conversation, {"result": [], "id": 10}) == Heard(closing=f"no longer subscribed to {STREAM}")


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"result":null,"id":"1"}', b'{"result":[[]]}', b'{"id":1}', b"\xff"]
)
def test_rubbish_means_nothing(said):
    assert asked().hear(said) == Heard()


def symbol(**changes):
    fields = {
        "symbol": "BTCUSDT",
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
    }
    return fields | changes


def test_the_list_of_contracts():
    rows = [
        symbol(),
        symbol(symbol="1000PEPEUSDT", baseAsset="1000PEPE"),
        symbol(symbol="BTCUSD1", quoteAsset="USD1"),
        symbol(symbol="GONEUSDT", status="CLOSE"),
        symbol(symbol="ETHBTC", baseAsset="ETH", quoteAsset="BTC"),
        symbol(symbol="BTCUSDT_271231", contractType="CURRENT_QUARTER"),
    ]
    found = LIVE.metadata.read(REQUEST, orjson.dumps({"symbols": rows}))
    assert found[0] == Instrument("aster", "BTCUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear")
    assert (found[1].instrument, found[1].asset_multiplier) == ("PEPE-USDT-PERP", 1000.0)
    assert found[2].instrument == "BTC-USD1-PERP"
    assert len(found) == 3


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"code":-1003,"msg":"Too many"}', b'{"symbols":[{"symbol":"A"}]}'])
def test_what_is_no_list_of_contracts_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_the_clock():
    assert LIVE.clock.read(b'{"serverTime":1790000000628}') == 1_790_000_000_628
    for answer in (b"", b"{}", b'{"serverTime":"soon"}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(answer)
