"""What is said to Pacifica and understood of its answers; its list of markets."""

import orjson
import pytest

from pipeline.feeds.live import Heard, Topic
from pipeline.feeds.pacifica import FEED
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


def confirmation(symbol):
    return {"channel": "subscribe", "data": {"source": "trades", "symbol": symbol}}


def test_a_market_is_a_topic_and_covers_itself_only():
    contracts = [
        Instrument("pacifica", "kPEPE", "PEPE-USDC-PERP", "PEPE", "USDC", "USDC", "linear", asset_multiplier=1000.0),
        Instrument("other", "BTC", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear"),
    ]
    assert CHANNEL.topics(contracts) == [Topic("kPEPE", "kPEPE")]
    assert CHANNEL.per_symbol
    assert (CHANNEL.limits.topics_per_connection, CHANNEL.limits.topics_per_request) == (20, 1)
    assert CHANNEL.limits.connection_age_s == 24 * 3600
    assert CHANNEL.url == "wss://ws.pacifica.fi/ws"


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("BTC", "BTC")], 1))
    assert request == {"method": "subscribe", "params": {"source": "trades", "symbol": "BTC"}}
    assert heard(conversation, confirmation("BTC")) == Heard(confirmed=("BTC",))


@pytest.mark.parametrize(
    "data", [{"source": "bbo", "symbol": "BTC"}, {"source": "trades"}, {"symbol": "BTC"}, {}, [], None, "BTC"]
)
def test_a_confirmation_of_something_else_confirms_nothing(data):
    assert heard(asked("BTC"), {"channel": "subscribe", "data": data}) == Heard()


@pytest.mark.parametrize("text", [b'{"channel":"trades","data":[]}', b'{ "data": [], "channel": "trades" }'])
def test_trades_are_data_also_if_there_are_none(text):
    assert CHANNEL.begin().hear(text) == Heard(data=True)


@pytest.mark.parametrize("document", [{"channel": "bbo", "data": {}}, {"channel": "unsubscribe", "data": {}}])
def test_other_messages_are_no_data(document):
    assert heard(CHANNEL.begin(), document) == Heard()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "Symbol not found"}, "Symbol not found"),
        ({"code": 400, "err": "Invalid subscription parameters.", "t": 1}, "400 Invalid subscription parameters."),
    ],
)
def test_a_refusal_names_no_market_so_it_means_the_only_open_one_or_none(answer, words):
    conversation = asked("BTC", "OLD")
    assert heard(conversation, answer) == Heard(), "either of two"
    heard(conversation, confirmation("BTC"))
    assert heard(conversation, answer) == Heard(refused=(("OLD", words),))
    assert heard(conversation, answer) == Heard(), "once"


def test_the_ping_and_its_answer():
    conversation = CHANNEL.begin()
    assert orjson.loads(conversation.ping(4, 1_790_000_000_000)) == {"method": "ping"}
    assert heard(conversation, {"channel": "pong"}) == Heard()
    assert CHANNEL.ping_every_s < 60, "a connection ends after 60 s without a message"


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"null", b'{"channel":7}', b'{"error":{}}', b'{"err":[]}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def market(symbol, **changes):
    fields = {"symbol": symbol, "tick_size": "1", "lot_size": "0.00001", "instrument_type": "perpetual"}
    return fields | {"base_asset": symbol, "created_at": 1_748_881_333_944} | changes


def read(*markets):
    page = {"success": True, "data": list(markets), "error": None, "code": None}
    return LIVE.metadata.read(REQUEST, orjson.dumps(page))


def test_the_list_of_markets():
    before_there_were_kinds = {name: value for name, value in market("ETH").items() if name != "instrument_type"}
    found = read(
        market("BTC"),
        before_there_were_kinds,
        market("kBONK", base_asset="BONK"),
        market("SOL-USDC", instrument_type="spot"),
        market("kFLOKI"),
        market("NVDA"),
    )
    assert [one.symbol for one in found] == ["BTC", "ETH", "kBONK", "NVDA"]
    assert found[0] == Instrument("pacifica", "BTC", "BTC-USDC-PERP", "BTC", "USDC", "USDC", "linear")
    assert (found[2].asset, found[2].asset_multiplier) == ("BONK", 1000.0)
    assert LIVE.metadata.following(REQUEST, b"") is None
    assert REQUEST.url == "https://api.pacifica.fi/api/v1/info"


def test_an_empty_list_is_a_list():
    assert read() == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"success":false,"data":null,"error":"no","code":500}',
        b'{"success":true}',
        b'{"success":true,"data":{}}',
        b'{"success":true,"data":["BTC"]}',
        b'{"success":true,"data":[{"symbol":"kFLOKI"}]}',
    ],
)
def test_what_is_no_list_of_markets_is_refused(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_no_time_of_the_server_is_documented():
    assert LIVE.clock is None
