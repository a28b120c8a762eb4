"""What is said to dYdX and understood of its answers; its list of markets; its clock."""

import orjson
import pytest

from pipeline.feeds.dydx import FEED
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
        conversation.subscribe([Topic(name, name)], number)
    return conversation


def test_a_market_is_a_topic_and_covers_itself_only():
    contracts = [
        Instrument("dydx", "BTC-USD", "BTC-USD-PERP", "BTC", "USD", "USDC", "linear"),
        Instrument("other", "BTC-USD", "BTC-USD-PERP", "BTC", "USD", "USD", "linear"),
    ]
    assert CHANNEL.topics(contracts) == [Topic("BTC-USD", "BTC-USD")]
    assert CHANNEL.per_symbol
    assert (CHANNEL.limits.topics_per_connection, CHANNEL.limits.topics_per_request) == (32, 1)
    assert CHANNEL.url == "wss://indexer.dydx.trade/v4/ws"


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("BTC-USD", "BTC-USD")], 1))
    assert request == {"type": "subscribe", "channel": "v4_trades", "id": "BTC-USD", "batched": True}
    answer = {"type": "subscribed", "channel": "v4_trades", "id": "BTC-USD", "contents": {"trades": []}}
    assert heard(conversation, answer) == Heard(confirmed=("BTC-USD",))


@pytest.mark.parametrize("kind", ["channel_data", "channel_batch_data"])
def test_trades_are_data(kind):
    assert heard(CHANNEL.begin(), {"type": kind, "channel": "v4_trades", "id": "BTC-USD"}) == Heard(data=True)


def test_a_refusal_names_the_market_in_its_text():
    conversation = asked("LINK-USD", "X-USD")
    words = "Invalid subscription id for channel: (v4_trades-X-USD)"
    assert heard(conversation, {"type": "error", "message": words}) == Heard(refused=(("X-USD", words),))
    assert heard(conversation, {"type": "error", "message": words}) == Heard(), "once"
    assert heard(conversation, {"type": "error", "message": "Internal error"}) == Heard()


def test_the_ping_and_its_answer():
    conversation = CHANNEL.begin()
    assert orjson.loads(conversation.ping(4, 1_790_000_000_000)) == {"type": "ping", "id": 4}
    assert heard(conversation, {"type": "pong", "id": 4}) == Heard()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"null", b'{"type":7}', b'{"type":"subscribed"}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def test_the_list_of_markets():
    markets = {
        "BTC-USD": {"ticker": "BTC-USD", "status": "ACTIVE"},
        "WOLF,RAYDIUM,9XQ-USD": {"ticker": "WOLF,RAYDIUM,9XQ-USD", "status": "ACTIVE"},
        "OLD-USD": {"ticker": "OLD-USD", "status": "FINAL_SETTLEMENT"},
    }
    first, second = LIVE.metadata.read(REQUEST, orjson.dumps({"markets": markets}))
    assert first == Instrument("dydx", "BTC-USD", "BTC-USD-PERP", "BTC", "USD", "USDC", "linear")
    assert (second.symbol, second.asset) == ("WOLF,RAYDIUM,9XQ-USD", "WOLF")
    assert LIVE.metadata.following(REQUEST, b"") is None


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"errors":[]}', b'{"markets":[]}', b'{"markets":{"A-USD":1}}'])
def test_what_is_no_list_of_markets_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_the_clock():
    assert LIVE.clock.read(b'{"iso":"2026-09-21T14:13:20.628Z","epoch":1790000000.628}') == 1_790_000_000_628
    for answer in (b"", b"{}", b'{"epoch":1}', b'{"epoch":"soon"}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(answer)
