"""What is said to Bitfinex and understood of its answers; its lists of pairs and names."""

import orjson
import pytest

from pipeline.feeds.bitfinex import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
REQUEST = LIVE.metadata.requests[0]
KEY = "liq:global"


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def asked():
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic(KEY)], 1)
    return conversation


def test_one_topic_is_all_markets():
    assert CHANNEL.topics([]) == (Topic(KEY),)
    assert not CHANNEL.per_symbol
    assert CHANNEL.url == "wss://api-pub.bitfinex.com/ws/2"


def test_times_and_numbers_are_asked_for_first():
    (request,) = CHANNEL.begin().open()
    assert orjson.loads(request) == {"event": "conf", "flags": 98304}
    assert heard(CHANNEL.begin(), {"event": "conf", "status": "OK"}) == Heard()


def test_the_request_and_its_confirmation(shared_dir):
    conversation = CHANNEL.begin()
    request = orjson.loads(conversation.subscribe([Topic(KEY)], 1))
    assert request == {"event": "subscribe", "channel": "status", "key": KEY}
    recorded = (shared_dir / "reference" / "samples" / "bitfinex.jsonl").read_bytes().splitlines()
    assert [heard(conversation, line) for line in recorded] == [
        Heard(confirmed=(KEY,)),
        Heard(),
        Heard(data=True),
        Heard(data=True),
    ]


def test_heartbeats_with_time_and_number_are_no_data():
    assert heard(CHANNEL.begin(), [77, "hb", 12, 1_790_000_000_000]) == Heard()


@pytest.mark.parametrize("named", [{"key": KEY}, {}])
def test_a_refusal(named):
    conversation = asked()
    error = {"event": "error", "msg": "subscribe: limit", "code": 10305} | named
    assert heard(conversation, error) == Heard(refused=((KEY, "10305 subscribe: limit"),))


@pytest.mark.parametrize(
    ("code", "closing"),
    [
        (20051, "the server restarts"),
        (20060, "maintenance begins"),
        (20061, "maintenance has ended: subscribe anew"),
        (1, ""),
    ],
)
def test_notices_that_end_the_connection(code, closing):
    assert heard(CHANNEL.begin(), {"event": "info", "code": code, "msg": "x"}) == Heard(closing=closing)
    assert heard(CHANNEL.begin(), {"event": "info", "version": 2}) == Heard()


def test_the_ping_and_its_answer():
    assert orjson.loads(CHANNEL.begin().ping(5, 0)) == {"event": "ping", "cid": 5}
    assert heard(CHANNEL.begin(), {"event": "pong", "ts": 1_790_000_000_000, "cid": 5}) == Heard()


@pytest.mark.parametrize("said", [b"", b"{", b"[", b"[77]", b'{"event":"subscribed"}', b'{"event":[]}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def read(pairs, names=(), coins=()):
    return LIVE.metadata.read(REQUEST, orjson.dumps([pairs, names, coins]))


def test_the_lists_of_pairs_and_names():
    assert REQUEST.url.endswith("/v2/conf/pub:list:pair:futures,pub:map:currency:sym,pub:map:currency:undl")
    found = read(
        ["BTCF0:USTF0", "ALGF0:USTF0", "ETHF0:BTCF0", "TESTBTCF0:TESTUSDTF0", "LEOF0:USTF0"],
        [["UST", "USDt"], ["ALG", "ALGO"], ["LEO", "LEO-EOS"]],
        [["BTCF0", "BTC"], ["USTF0", "UST"], ["ALGF0", "ALG"]],
    )
    assert found[0] == Instrument("bitfinex", "tBTCF0:USTF0", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear")
    assert [one.instrument for one in found] == ["BTC-USDT-PERP", "ALGO-USDT-PERP", "LEO-USDT-PERP"]


@pytest.mark.parametrize("answer", [b"", b"{}", b'["error",10020,"limit: invalid"]', b"[[]]", b'[[],[["UST"]],[]]'])
def test_what_is_no_list_of_pairs_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)
