"""What is said to HTX and understood of its answers; its lists of contracts; its clock."""

import gzip

import orjson
import pytest

from pipeline.feeds.htx import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
LINEAR, COIN_SWAP, COIN_FUTURES = LIVE.channels
LINEAR_LIST, SWAP_LIST, FUTURES_LIST = LIVE.metadata.requests
EVERY = "public.*.liquidation_orders"


def heard(document, channel=LINEAR):
    return channel.begin().hear(gzip.compress(orjson.dumps(document)))


def test_three_addresses():
    assert [(channel.name, channel.url.rpartition("/")[2]) for channel in LIVE.channels] == [
        ("linear", "linear-swap-notification"),
        ("coin_swap", "swap-notification"),
        ("coin_futures", "notification"),
    ]
    assert LINEAR.topics([]) == COIN_SWAP.topics([]) == [Topic(EVERY)]


def test_dated_contracts_are_subscribed_to_by_coin():
    def made(symbol, margin, expiry, asset="BTC", exchange="htx"):
        return Instrument(exchange, symbol, "x", asset, "USD", asset, margin, expiry)

    contracts = [
        made("ETH270326", "inverse", "2027-03-26", "ETH"),
        made("BTC270326", "inverse", "2027-03-26"),
        made("BTC270625", "inverse", "2027-06-25"),
        made("SOL-USD", "inverse", None, "SOL"),
        made("XRP-USDT-270326", "linear", "2027-03-26", "XRP"),
        made("LTC270326", "inverse", "2027-03-26", "LTC", "okx"),
    ]
    assert COIN_FUTURES.topics(contracts) == [
        Topic("public.BTC.liquidation_orders"),
        Topic("public.ETH.liquidation_orders"),
    ]
    assert COIN_FUTURES.topics([]) == []


def test_the_request_and_its_confirmation():
    conversation = LINEAR.begin()
    assert conversation.open() == ()
    assert LINEAR.limits.topics_per_request == 1
    request = orjson.loads(conversation.subscribe([Topic(EVERY)], 3))
    assert request == {"op": "sub", "cid": "3", "topic": EVERY}
    answer = {"op": "sub", "cid": "3", "topic": EVERY, "ts": 1_670_903_745_088, "err-code": 0}
    assert heard(answer) == Heard(confirmed=(EVERY,))
    repeated = answer | {"err-code": 2014, "err-msg": "Repeated subscription"}
    assert heard(repeated) == Heard(confirmed=(EVERY,)), "it is subscribed to"


def test_a_refusal():
    answer = {"op": "sub", "cid": "3", "topic": EVERY, "ts": 1, "err-code": 2011, "err-msg": "invalid topic"}
    assert heard(answer) == Heard(refused=((EVERY, "2011 invalid topic"),))
    del answer["err-code"]
    assert heard(answer).refused, "an answer that does not say that all is well"


@pytest.mark.parametrize("time", ["1492420473058", 1492420473058])
def test_a_ping_is_answered_with_its_own_time_in_its_own_type(time):
    answer = heard({"op": "ping", "ts": time})
    assert [orjson.loads(reply) for reply in answer.replies] == [{"op": "pong", "ts": time}]
    assert LINEAR.begin().ping(1, 0) is None, "the server asks"


def test_rows_are_data_packed_or_not():
    notice = {"op": "notify", "topic": "public.BTC-USDT.liquidation_orders", "data": []}
    assert heard(notice) == Heard(data=True)
    assert LINEAR.begin().hear(orjson.dumps(notice)) == Heard(data=True)
    assert heard(notice | {"topic": "public.BTC-USDT.funding_rate"}) == Heard()


def test_the_server_says_that_it_closes():
    assert heard({"op": "close", "ts": 1}).closing
    assert heard({"op": "error", "ts": 1, "err-code": 2040}) == Heard()


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b"\x1f\x8b", gzip.compress(b"x", mtime=0)[:-3], b'{"op":"sub"}', b"\xff"]
)
def test_rubbish_means_nothing(said):
    assert LINEAR.begin().hear(said) == Heard()


def contract(**changes):
    fields = {"symbol": "BTC", "contract_code": "BTC-USDT", "contract_size": 0.001, "delivery_date": ""}
    fields |= {"contract_status": 1, "business_type": "swap", "trade_partition": "USDT", "pair": "BTC-USDT"}
    return fields | changes


def read(request, *contracts):
    return LIVE.metadata.read(request, orjson.dumps({"status": "ok", "data": list(contracts), "ts": 1}))


def test_contracts_of_each_list():
    assert read(LINEAR_LIST, contract(), contract(contract_code="BTC-USDT-270326", delivery_date="20270326")) == [
        Instrument("htx", "BTC-USDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", None, 0.001),
        Instrument("htx", "BTC-USDT-270326", "BTC-USDT-20270326", "BTC", "USDT", "USDT", "linear", "2027-03-26", 0.001),
    ]
    assert read(SWAP_LIST, contract(contract_code="BTC-USD", contract_size=100)) == [
        Instrument("htx", "BTC-USD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", None, 100.0)
    ]
    assert read(FUTURES_LIST, contract(contract_code="BTC270326", contract_size=100, delivery_date="20270326")) == [
        Instrument("htx", "BTC270326", "BTC-USD-20270326", "BTC", "USD", "BTC", "inverse", "2027-03-26", 100.0)
    ]


def test_each_list_is_asked_for_once():
    assert [LIVE.metadata.following(request, b"{}") for request in LIVE.metadata.requests] == [None] * 3
    assert "business_type=all" in LINEAR_LIST.url, "or dated contracts are left out"


def test_other_quotes_are_left_out_and_sizes_that_are_not_told_stay_unknown():
    assert read(LINEAR_LIST, contract(trade_partition="HUSD")) == []
    (unknown,) = read(LINEAR_LIST, contract(contract_size=None))
    assert unknown.contract_size is None


@pytest.mark.parametrize(
    ("request_", "answer", "expected"),
    [
        (LINEAR_LIST, b"<html>", "bad_json"),
        (LINEAR_LIST, b'{"status":"error","err_code":1017,"err_msg":"busy","ts":1}', "unexpected_message"),
        (LINEAR_LIST, b'{"status":"ok"}', "missing_field"),
        (LINEAR_LIST, orjson.dumps({"status": "ok", "data": [contract(delivery_date="soon")]}), "bad_time"),
        (FUTURES_LIST, orjson.dumps({"status": "ok", "data": [contract()]}), "missing_field"),
    ],
)
def test_what_is_no_list_of_contracts_is_refused(request_, answer, expected):
    with pytest.raises(RefusedError) as refusal:
        LIVE.metadata.read(request_, answer)
    assert refusal.value.reason == expected


def test_the_exchanges_clock():
    assert LIVE.clock.read(b'{"status":"ok","ts":1790000000123}') == 1_790_000_000_123
    with pytest.raises(RefusedError):
        LIVE.clock.read(b'{"status":"ok"}')
