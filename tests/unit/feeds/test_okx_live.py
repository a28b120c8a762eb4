"""What is said to OKX and understood of its answers; its contracts and their sizes; its requests; its clock."""

import orjson
import pytest

from pipeline.feeds.live import Heard, Topic
from pipeline.feeds.okx import FEED
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
ORDERS, CANDLES, FUNDING = LIVE.channels
REQUEST = LIVE.metadata.requests[0]
BTC = Instrument("okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", contract_size=0.01)
COIN = Instrument("okx", "BTC-USD-SWAP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0)
DATED = Instrument("okx", "XRP-USD-261225", "XRP-USD-20261225", "XRP", "USD", "XRP", "inverse", "2026-12-25", 10.0)
SWAP, FUTURES = Topic("liquidation-orders:SWAP"), Topic("liquidation-orders:FUTURES")


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def argument(kind):
    return {"channel": "liquidation-orders", "instType": kind}


def asked(*topics):
    conversation = ORDERS.begin()
    conversation.subscribe(topics, 1)
    return conversation


def test_one_topic_for_all_swaps_and_one_for_all_futures_on_one_connection():
    assert ORDERS.topics([]) == ORDERS.topics([BTC]) == [SWAP, FUTURES]
    assert (ORDERS.url, ORDERS.per_symbol) == ("wss://ws.okx.com:8443/ws/v5/public", False)


def test_candles_and_funding_are_subscribed_by_contract():
    assert CANDLES.topics([BTC, DATED]) == [
        Topic("candle1m:BTC-USDT-SWAP", "BTC-USDT-SWAP"),
        Topic("candle1m:XRP-USD-261225", "XRP-USD-261225"),
    ]
    assert FUNDING.topics([BTC, DATED]) == [Topic("funding-rate:BTC-USDT-SWAP", "BTC-USDT-SWAP")]
    assert CANDLES.url == "wss://ws.okx.com:8443/ws/v5/business"
    assert FUNDING.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert CANDLES.kind == FUNDING.kind == "market"
    request = orjson.loads(CANDLES.begin().subscribe(CANDLES.topics([BTC]), 3))
    assert request == {"id": "3", "op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT-SWAP"}]}


@pytest.mark.parametrize("channel", LIVE.channels, ids=lambda channel: channel.name)
def test_limits(channel):
    assert channel.ping_every_s < 25, "the server cuts after 30 s"
    assert channel.limits.connections_per_s <= 3
    symbols = [f"LONGESTNAME{number}-USDT-SWAP" for number in range(channel.limits.topics_per_request)]
    assert len(channel.begin().subscribe([Topic(f"funding-rate:{one}") for one in symbols], 1)) < 64 * 1024


def test_each_topic_is_confirmed_by_itself():
    conversation = ORDERS.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([SWAP, FUTURES], 1))
    assert request == {"id": "1", "op": "subscribe", "args": [argument("SWAP"), argument("FUTURES")]}
    for topic, kind in ((SWAP, "SWAP"), (FUTURES, "FUTURES")):
        confirmation = {"event": "subscribe", "arg": argument(kind), "connId": "c"}
        assert heard(conversation, confirmation) == Heard(confirmed=(topic.name,))


def error(**more):
    return {"event": "error", "code": "60018", "msg": "doesn't exist", "connId": "c", **more}


def test_a_refusal_is_of_its_request_or_of_all_that_is_open():
    words = "60018 doesn't exist"
    conversation = asked(SWAP, FUTURES)
    conversation.subscribe([Topic("liquidation-orders:OPTION")], 2)
    heard(conversation, {"event": "subscribe", "arg": argument("SWAP")})
    assert heard(conversation, error(id="1")) == Heard(refused=((FUTURES.name, words),))
    assert heard(conversation, error()) == Heard(refused=(("liquidation-orders:OPTION", words),))
    assert heard(conversation, error()) == Heard(), "once"


def test_a_refusal_may_name_its_topic():
    conversation = asked(SWAP, FUTURES)
    assert heard(conversation, error(arg=argument("FUTURES"))) == Heard(
        refused=((FUTURES.name, "60018 doesn't exist"),)
    )
    assert heard(conversation, error()) == Heard(refused=((SWAP.name, "60018 doesn't exist"),))


def test_the_ping_is_a_word_and_so_is_its_answer():
    conversation = ORDERS.begin()
    assert conversation.ping(1, 0) == "ping"
    assert conversation.hear(b"pong") == Heard()


def test_a_notice_says_that_the_connection_will_close():
    notice = {"event": "notice", "code": "64008", "msg": "The connection will soon be closed", "connId": "c"}
    assert heard(ORDERS.begin(), notice) == Heard(closing="64008 The connection will soon be closed")
    assert heard(ORDERS.begin(), {"event": "channel-conn-count", "channel": "x", "connCount": "2"}) == Heard()


@pytest.mark.parametrize("message", [b'{"arg":{"channel":"x"},"data":[]}', b'{ "data": [], "arg": {} }'])
def test_data(message):
    assert ORDERS.begin().hear(message) == Heard(data=True)


@pytest.mark.parametrize("message", [b"", b"hello", b"[]", b"\xff", b"{}", b'{"event":7}', b'{"arg":{}}'])
def test_rubbish_means_nothing(message):
    assert asked(SWAP).hear(message) == Heard()


def contract(**changes):
    row = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "instFamily": "BTC-USDT", "uly": "BTC-USDT", "ctVal": "0.01"}
    row |= {"ctMult": "1", "ctValCcy": "BTC", "ctType": "linear", "settleCcy": "USDT", "expTime": "", "state": "live"}
    return {key: value for key, value in (row | changes).items() if value is not ...}


def inverse(symbol, base, **changes):
    family = f"{base}-USD"
    fields = {"instId": symbol, "instFamily": family, "uly": family, "ctValCcy": "USD", "ctType": "inverse"}
    return contract(**fields, settleCcy=base, **changes)


def read(*rows):
    return LIVE.metadata.read(REQUEST, orjson.dumps({"code": "0", "msg": "", "data": list(rows)}))


def test_contracts_and_their_sizes():
    listed = [
        contract(),
        inverse("BTC-USD-SWAP", "BTC", ctVal="100"),
        inverse("XRP-USD-261225", "XRP", ctVal="5", ctMult="2", instType="FUTURES", expTime="1798185600000"),
        contract(instId="NEW-USDT-SWAP", state="preopen"),
        contract(instId="ETH-BTC-SWAP", uly="ETH-BTC", ctValCcy="ETH"),
        contract(instId="ODD-USDT-SWAP", uly="ODD-USDT", ctValCcy="USDT"),
        contract(instType="OPTION", instId="BTC-USD-261225-60000-C", ctType=""),
    ]
    assert read(*listed) == [BTC, COIN, DATED]


@pytest.mark.parametrize("change", [{"ctVal": ""}, {"ctMult": ...}, {"ctVal": "0"}, {"instId": ...}, {"settleCcy": ""}])
def test_a_contract_without_a_size_or_a_name_is_left_out_and_a_page_of_such_is_refused(change):
    assert read(contract(**change), inverse("BTC-USD-SWAP", "BTC", ctVal="100")) == [COIN]
    with pytest.raises(RefusedError):
        read(contract(**change))


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"code":"50011","msg":"Too Many Requests","data":[]}'])
def test_another_answer_is_no_list_of_contracts(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(REQUEST, answer)


def test_a_list_has_one_page_for_each_kind():
    assert [request.url.rpartition("=")[2] for request in LIVE.metadata.requests] == ["SWAP", "FUTURES"]
    assert LIVE.metadata.following(REQUEST, b"{}") is None


def test_the_exchanges_clock():
    assert LIVE.clock.read(b'{"code":"0","msg":"","data":[{"ts":"1790000000123"}]}') == 1_790_000_000_123
    for wrong in (b"{}", b"x", b'{"code":"0","data":[]}', b'{"code":"0","data":[{"ts":"x"}]}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(wrong)


def addresses(name, *instruments):
    (poll,) = (poll for poll in LIVE.polls if poll.name == name)
    return [request.url.partition("/api/v5/")[2] for request in poll.requests(instruments)]


def test_requests_for_readings():
    assert addresses("mark-price", BTC) == ["public/mark-price?instType=SWAP"]
    assert addresses("open-interest", BTC, DATED) == [
        "public/open-interest?instType=SWAP",
        "public/open-interest?instType=FUTURES",
    ]
    assert addresses("index-tickers", BTC, COIN) == [
        "market/index-tickers?quoteCcy=USDT",
        "market/index-tickers?quoteCcy=USD",
    ]
    assert addresses("long-short-account-ratio-contract", BTC, DATED) == [
        "rubik/stat/contracts/long-short-account-ratio-contract?instId=BTC-USDT-SWAP&period=5m&limit=2"
    ]
    assert [poll.requests([]) for poll in LIVE.polls] == [[]] * len(LIVE.polls)


def test_three_hundred_contracts_stay_within_the_budget():
    instruments = [Instrument("okx", f"C{n}-USDT-SWAP", "", "", "USDT", "USDT", "linear") for n in range(300)]
    per_s = sum(request.weight / poll.every_s for poll in LIVE.polls for request in poll.requests(instruments))
    (budget,) = LIVE.budgets.values()
    assert per_s < budget.weight / budget.per_s
